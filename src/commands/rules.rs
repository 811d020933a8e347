//! `foreshock rules`: rule files, before they are loaded.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Check rule files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read rule files as the server would, and name every mistake.
    Check {
        /// Prometheus rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the built-in rules, to start from.
    Default,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check { files } => check(files),
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
