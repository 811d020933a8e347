//! `foreshock`: warns of a machine's failure before it happens. Server, demo and tools in one binary.

mod alerting;
mod availability;
mod clock;
mod commands;
mod config;
mod objectives;
mod own_metrics;
mod process;
mod runtime;
mod scoring;
mod security;
mod serve;
mod targets;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use api::access::TokenError;
use api::tls::TlsError;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::commands::{admin, agent, alert, backtest, demo, fault, query, rules, simulate, store, token, train};

#[derive(Debug, Parser)]
#[command(name = "foreshock", version, about, propagate_version = true)]
struct Arguments {
    /// What is logged to standard error: error, warn, info, debug, or a filter such as `foreshock_store=debug`.
    #[arg(long, global = true, default_value = "info", value_name = "FILTER")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: telemetry in; scores, alerts, queries and pages out.
    Serve(serve::Arguments),
    /// Show all of it within minutes: this host live, and a simulated fleet that fails.
    Demo(demo::Arguments),
    /// Train a model on a server's history and keep it in the registry.
    Train(train::Arguments),
    /// Show what alarms would have been raised over history, and what would have been missed.
    Backtest(backtest::Arguments),
    /// Evaluate a PromQL expression on a running server.
    Query(query::Arguments),
    /// Look into a store, verify it, bring samples in, take them out.
    #[command(subcommand)]
    Store(store::Command),
    /// Check rule files.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Try the way an alert takes.
    #[command(subcommand)]
    Alert(alert::Command),
    /// Stream a simulated fleet to a server.
    Simulate(simulate::Arguments),
    /// Manage tenants of a running server.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Manage the hosts that have joined a server.
    #[command(subcommand)]
    Agent(agent::Command),
    /// Manage who may use a server.
    #[command(subcommand)]
    Token(token::Command),
    /// Cause a real, bounded fault on this host.
    Fault(fault::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = log_to_stderr(&arguments.log) {
        return report(&error);
    }
    process::keep_few_arenas();
    process::allow_many_files();
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Backtest(arguments) => backtest::run(&arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Store(command) => store::run(&command),
        Command::Rules(command) => rules::run(&command),
        Command::Alert(command) => alert::run(&command),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Admin(command) => admin::run(&command),
        Command::Agent(command) => agent::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Fault(arguments) => fault::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    // Their frame-by-frame chatter would drown ours.
    let quiet = "hyper=warn,h2=warn,tower=warn,reqwest=warn,opentelemetry=warn,opentelemetry_sdk=warn";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))
        .map_err(|e| anyhow::anyhow!("--log {filter:?} is no log filter: {e}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    Ok(())
}

/// Prints the error with its causes, then what its reader can do.
#[expect(clippy::print_stderr, reason = "the last word of a command line program")]
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let store = cause
            .downcast_ref::<::store::StoreError>()
            .and_then(::store::StoreError::hint);
        let exchange = || {
            cause
                .downcast_ref::<::store::exchange::ExchangeError>()
                .and_then(::store::exchange::ExchangeError::hint)
        };
        let token = || cause.downcast_ref::<TokenError>().and_then(TokenError::hint);
        let tls = || cause.downcast_ref::<TlsError>().and_then(TlsError::hint);
        store
            .or_else(exchange)
            .or_else(token)
            .or_else(tls)
            .map(ToString::to_string)
    })
}

/// Where a data directory defaults to, one place for all commands.
fn default_data() -> PathBuf {
    config::Config::default().data
}
