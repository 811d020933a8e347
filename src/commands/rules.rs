//! `foreshock rules`: rule files, before they are loaded.

mod replay;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::config::Config;

/// Check and test rule files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read rule files as the server would, and name every mistake.
    Check {
        /// Prometheus rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run unit tests of rules: files in the format of `promtool test rules`.
    Test {
        /// Files of tests; the rule files that they name lie beside them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Say what rules would have done: their expressions over stored history, with nobody told.
    Replay(Box<replay::Arguments>),
    /// Print the rules that the objectives of a configuration become, as a rule file each.
    Objectives {
        /// Configuration file (TOML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the built-in rules, to start from.
    Default,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check { files } => check(files),
        Command::Test { files } => test(files),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Objectives { config } => {
            for objective in &Config::read(Some(config))?.objective {
                let objective = objective.objective()?;
                print!("---\n# {}\n{}", objective.name, objective.rule_file()?);
            }
            Ok(())
        }
        Command::Default => {
            print!("{}", api::rule::DEFAULT_RULES);
            Ok(())
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn check(files: &[PathBuf]) -> Result<()> {
    let mut wrong = 0;
    for file in files {
        match api::rule::load_file(file) {
            Ok(groups) => {
                let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
                println!("{}: {rules} rules in {} groups", file.display(), groups.len());
            }
            Err(error) => {
                wrong += 1;
                println!("{}: {:#}", file.display(), anyhow::Error::from(error));
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} files cannot be loaded", files.len());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn test(files: &[PathBuf]) -> Result<()> {
    let mut failed = 0;
    for file in files {
        let name = file.display();
        match api::rule::test_file(file) {
            Ok(report) => {
                for warning in &report.warnings {
                    println!("{name}: warning: {warning}");
                }
                for failure in &report.failures {
                    println!("{name}: {failure}\n");
                }
                let (checks, tests, failures) = (report.checks, report.tests, report.failures.len());
                if report.failures.is_empty() {
                    println!("{name}: all {checks} checks of {tests} tests hold");
                } else {
                    failed += 1;
                    println!("{name}: {failures} failures in {checks} checks of {tests} tests");
                }
            }
            Err(error) => {
                failed += 1;
                let hint = error.hint();
                println!("{name}: {:#}", anyhow::Error::from(error));
                if let Some(hint) = hint {
                    println!("  hint: {hint}");
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} files fail", files.len());
    }
    Ok(())
}
