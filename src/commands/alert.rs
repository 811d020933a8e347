//! `foreshock alert`: the way that an alert takes, tried out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::notify::{Outbox, Outcome, Receiver, Tested};
use store::State;

use crate::alerting;
use crate::clock::now_ms;
use crate::config::Config;

/// Try the way an alert takes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read the configuration of notifications, templates included, and say what is wrong with it or not used.
    Check {
        /// The server's configuration file.
        #[arg(long, value_name = "FILE", required_unless_present = "alertmanager_config")]
        config: Option<PathBuf>,
        /// A configuration of Alertmanager, instead of the one that the server's names.
        #[arg(long, value_name = "FILE")]
        alertmanager_config: Option<PathBuf>,
    },
    /// Send a test notification to a receiver, now, and say what it answered, and in which words of its own it was.
    Test {
        /// Name of the receiver, as in the configuration.
        #[arg(long, value_name = "NAME")]
        to: String,
        /// The server's configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check {
            config,
            alertmanager_config,
        } => check(config.as_deref(), alertmanager_config.as_deref()),
        Command::Test { to, config } => test(to, config),
    }
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn check(config: Option<&Path>, alertmanager_config: Option<&Path>) -> Result<()> {
    let mut config = Config::read(config)?;
    if let Some(file) = alertmanager_config {
        config.alertmanager_config = Some(file.to_owned());
    }
    let (settings, warnings) = alerting::settings_and_warnings(&config)?;
    for warning in warnings {
        println!("{warning}");
    }
    for receiver in &settings.receivers {
        let words = if receiver.has_own_words() {
            "in words of its own"
        } else {
            "in Foreshock's words"
        };
        println!(
            "{}: {} at {}, {words}",
            receiver.id(),
            receiver.kind(),
            receiver.place()
        );
    }
    Ok(())
}

fn test(to: &str, config: &Path) -> Result<()> {
    let config = Config::read(Some(config))?;
    let settings = alerting::settings(&config)?;
    let known: Vec<&str> = settings.receivers.iter().map(Receiver::id).collect();
    if settings
        .receivers
        .iter()
        .all(|receiver| receiver.id() != to && receiver.name() != to)
    {
        bail!(
            "there is no receiver {to:?}; the configuration names: {}",
            known.join(", ")
        );
    }
    let dir = config.data.join("tenants").join(api::DEFAULT_TENANT);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // The tenant's own file, so that the attempt stands in the delivery log as well; SQLite lets a running server share it.
    let state = State::open(&dir.join("state.sqlite"))?;
    let outbox = Outbox::open(&state, settings)?;
    let client = api::notify::client().context("cannot set up the delivery of notifications")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start I/O")?;
    let tested = runtime.block_on(outbox.test(&state, now_ms(), &client, to))?;
    report(to, &tested)
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn report(to: &str, tested: &Tested) -> Result<()> {
    let delivery = &tested.delivery;
    for (key, text) in &tested.words {
        // The lines of one text stand together.
        println!("{key}: {}", text.trim_end().replace('\n', "\n    "));
    }
    let status = delivery
        .status
        .map_or_else(|| "no HTTP status".to_owned(), |status| format!("HTTP {status}"));
    println!(
        "{to}: {status} after {} ms: {}",
        (delivery.seconds * 1_000.0).round(),
        if delivery.text.is_empty() {
            "taken"
        } else {
            &delivery.text
        }
    );
    match delivery.outcome {
        Outcome::Delivered => Ok(()),
        _ => bail!("the receiver did not take the notification"),
    }
}
