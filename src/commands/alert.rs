//! `foreshock alert`: the way that an alert takes, tried out.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use api::notify::{Outbox, Outcome, Receiver};
use store::State;

use crate::alerting;
use crate::clock::now_ms;
use crate::config::Config;

/// Try the way an alert takes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Send a test notification to a receiver, now, and say what it answered.
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
    let Command::Test { to, config } = command;
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
    let delivery = runtime.block_on(outbox.test(&state, now_ms(), &client, to))?;
    report(to, &delivery)
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn report(to: &str, delivery: &api::notify::Delivery) -> Result<()> {
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
