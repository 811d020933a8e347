//! The agent's command line.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use foreshock_agent::{Agent, AgentError, Config, Server, SpoolOptions, Target, check};
use tracing::Level;

/// Telemetry of this host, to Foreshock or any OTLP receiver.
#[derive(Debug, Parser)]
#[command(name = "foreshock-agent", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read this host and send what is read, until stopped.
    Run(Run),
    /// Say what can be read on this host and whether the server answers; exit codes as Nagios plugins.
    Check(Options),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    options: Options,
    /// Read once, print the readings and end; nothing is sent.
    #[arg(long, requires = "stdout")]
    once: bool,
    /// Print readings instead of sending them.
    #[arg(long, requires = "once")]
    stdout: bool,
    /// End after this time instead of running until stopped.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    for_: Option<Duration>,
}

#[derive(Debug, Args)]
struct Options {
    /// Server, such as http://127.0.0.1:9750, or the URL of any OTLP/HTTP metrics endpoint.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Time between readings.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    interval: Duration,
    /// Read each second while tasks wait for memory or disks.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    adaptive: Switch,
    /// Directory for batches while the server is away; they stay in memory without one.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Size of the spool's directory at most, in MiB; the oldest batches go first.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    spool_limit: u64,
    /// Age of batches in the spool at most, in hours.
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    spool_hours: u64,
    /// Endpoint whose latency is measured: http://, https:// or tcp://host:port. May be repeated.
    #[arg(long, value_name = "URL", num_args = 1..)]
    probe: Vec<Target>,
    /// Cgroup whose memory is measured, besides those nearest to their limit. May be repeated.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cgroup: Vec<String>,
    /// Name of this host, instead of the kernel's.
    #[arg(long, value_name = "NAME")]
    host_name: Option<String>,
    /// Tenant of the server that the readings belong to.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// File that holds the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File to which everything that is read is written as well.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Logs go to standard error: what is printed belongs to the command.
    let running = matches!(&cli.command, Command::Run(run) if !run.once);
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(if running { Level::INFO } else { Level::WARN })
        .with_target(false)
        .compact()
        .init();
    let result = match cli.command {
        Command::Run(run) => self::run(run).map(|()| ExitCode::SUCCESS),
        Command::Check(options) => self::check(options),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        if let Some(hint) = error.downcast_ref::<AgentError>().and_then(AgentError::hint) {
            tracing::error!("hint: {hint}");
        }
        // For a check this is Nagios' "unknown".
        ExitCode::from(3)
    })
}

fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell when even this cannot be printed.
    error.print().unwrap_or_default();
    if error.use_stderr() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn run(run: Run) -> anyhow::Result<()> {
    let config = config(run.options)?;
    if run.once {
        let text = Agent::new(config)?.read_once();
        return std::io::stdout().write_all(text.as_bytes()).context("cannot print");
    }
    if config.server.is_none() && config.record.is_none() {
        anyhow::bail!("there is nowhere to send to: give --server URL, --record FILE or --once --stdout");
    }
    let handle = Agent::new(config)?.start()?;
    match run.for_ {
        Some(time) => {
            std::thread::sleep(time);
            let stats = handle.stop();
            tracing::info!(?stats, "stopped");
        }
        None => handle.wait(),
    }
    Ok(())
}

fn check(options: Options) -> anyhow::Result<ExitCode> {
    let report = check::check(config(options)?)?;
    std::io::stdout()
        .write_all(report.text.as_bytes())
        .context("cannot print")?;
    Ok(ExitCode::from(report.status.exit_code()))
}

fn config(options: Options) -> anyhow::Result<Config> {
    let token = match &options.token_file {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read token file {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    let tenant = options.tenant;
    Ok(Config {
        server: options.server.map(|url| Server { url, token, tenant }),
        interval: options.interval,
        adaptive: options.adaptive == Switch::On,
        host_name: options.host_name,
        targets: options.probe,
        cgroups: options.cgroup,
        spool: SpoolOptions {
            dir: options.spool,
            disk_bytes_max: options.spool_limit.clamp(1, 1 << 20) << 20,
            age_max: Duration::from_secs(options.spool_hours.clamp(1, 24 * 365) * 3600),
            ..SpoolOptions::default()
        },
        record: options.record,
        ..Config::default()
    })
}

/// Reads `500ms`, `10s`, `5m`, `6h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number with a unit, such as 500ms, 10s, 5m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number with a unit, such as 10s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}
