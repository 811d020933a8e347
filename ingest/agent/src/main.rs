//! The agent's command line.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use foreshock_agent::install::{self, Install, InstallError};
use foreshock_agent::proxy::has_user;
use foreshock_agent::{
    Agent, AgentError, Config, Every, Identity, Join, Paths, Pin, ScrapeAccess, ScrapeFile, ScrapeTarget, Server,
    SpoolOptions, Target, Trust, check, expected, smart,
};
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
    /// Install this binary as a systemd service that runs with the same options, or take it away.
    Install(Installation),
    /// Ask this host's disks how they are, which needs root, and write it where the agent finds it; a timer does this.
    Smart(Smart),
    /// List the GPUs, disks and adapters that this host is expected to have, whose absence is told; or forget one that is gone.
    Devices(DevicesArgs),
    /// Say what can be read on this host and whether the server answers; exit codes as Nagios plugins.
    Check(Checking),
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
struct Installation {
    #[command(flatten)]
    options: Options,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take the service away, with its settings, its spool and the binary.
    #[arg(long)]
    uninstall: bool,
    /// Ask the disks how they are as well, by a timer of root's.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    disk_health: Switch,
    /// Folder that stands for / (an image that is being built); nothing is started.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Checking {
    #[command(flatten)]
    options: Options,
    /// For whom: nagios (0 well, 1 warning, 2 critical, 3 unknown), or node-problem-detector (0 well, 1 problem, 2 unknown, one line).
    #[arg(long = "for", value_enum, default_value_t = Asker::Nagios)]
    asker: Asker,
}

#[derive(Debug, Args)]
struct DevicesArgs {
    /// Directory of the agent's spool, where they are kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/foreshock-agent")]
    spool: PathBuf,
    /// Identity of a device that is gone on purpose, to be missed no longer. May be repeated.
    #[arg(long, value_name = "ID", num_args = 1..)]
    forget: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asker {
    Nagios,
    NodeProblemDetector,
}

#[derive(Debug, Args)]
struct Smart {
    /// File to write; what the disks say is printed without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Options {
    /// Server, such as http://127.0.0.1:9750, or the URL of any OTLP/HTTP metrics endpoint.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Time between readings.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    interval: Duration,
    /// Read a probe less often than that, such as cgroup=60s (its names are those of foreshock.agent.probe.duration). May be repeated.
    #[arg(long, value_name = "PROBE=TIME", num_args = 1.., value_parser = every)]
    every: Vec<Every>,
    /// Read each second while tasks wait for memory or disks, or the server warns of this host.
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
    /// Endpoint whose latency is measured: http://, https://, tcp://host:port or dns://name. May be repeated.
    #[arg(long, value_name = "URL", num_args = 1..)]
    probe: Vec<Target>,
    /// Metrics that a program on this host shows to Prometheus, such as node=http://localhost:9100/metrics, passed on each --interval
    /// (or --every scrape.node=60s). May be repeated.
    #[arg(long, value_name = "NAME=URL", num_args = 1..)]
    scrape: Vec<ScrapeTarget>,
    /// File that holds the bearer token which the targets of a name want. May be repeated.
    #[arg(long, value_name = "NAME=FILE", num_args = 1..)]
    scrape_token: Vec<ScrapeFile>,
    /// File that holds user:password, which the targets of a name want. May be repeated.
    #[arg(long, value_name = "NAME=FILE", num_args = 1..)]
    scrape_password: Vec<ScrapeFile>,
    /// File of certificates (PEM) that alone may vouch for the targets of a name, instead of the web's authorities. May be repeated.
    #[arg(long, value_name = "NAME=FILE", num_args = 1..)]
    scrape_ca: Vec<ScrapeFile>,
    /// CPU time of each logical CPU, in the place of all together: eight series each.
    #[arg(long)]
    cpu_per_core: bool,
    /// Cgroup whose memory is measured, besides those nearest to their limit. May be repeated.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cgroup: Vec<String>,
    /// File of certificates, or folder of such files, whose end is told. May be repeated.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    certificate: Vec<PathBuf>,
    /// Name of this host, instead of the kernel's.
    #[arg(long, value_name = "NAME")]
    host_name: Option<String>,
    /// Tenant of the server that the readings belong to.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// File that holds the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A join token: this host then gets a certificate of its own, by which it is known from then on.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "FORESHOCK_JOIN",
        hide_env_values = true,
        conflicts_with = "join_file"
    )]
    join: Option<String>,
    /// File that holds it; an empty one is none.
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// File in which key and certificate of this host are kept; identity.pem of the spool unless told.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Another such file, which is read only: what `install` has got for this host.
    #[arg(long, value_name = "FILE", hide = true)]
    identity_from: Option<PathBuf>,
    /// File of certificates (PEM) that alone may vouch for the server, instead of the web's authorities.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Fingerprint of the authority that the server made for itself, as it prints it at its start: sha256:...
    #[arg(long, value_name = "PIN", conflicts_with = "ca_file")]
    pin: Option<Pin>,
    /// Proxy, instead of the one that HTTPS_PROXY and the like name: http://host:port or https://host:port.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// File that holds it, for one that wants a password: http://user:password@host:port. An empty one is none.
    #[arg(long, value_name = "FILE", conflicts_with = "proxy")]
    proxy_file: Option<PathBuf>,
    /// Where the host's / is mounted, for an agent in a container that watches its host.
    #[arg(long, value_name = "DIR", default_value = "/")]
    host_root: PathBuf,
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
    let running = match &cli.command {
        Command::Run(run) => !run.once,
        // Who looks by hand is told which disks say nothing.
        Command::Smart(smart) => smart.out.is_none(),
        _ => false,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(if running { Level::INFO } else { Level::WARN })
        .with_target(false)
        .compact()
        .init();
    // What a check that could not run ends with: Nagios' "unknown", or that of node-problem-detector.
    let mut unknown = 3;
    let result = match cli.command {
        Command::Run(run) => self::run(run).map(|()| ExitCode::SUCCESS),
        Command::Install(installation) => install(installation).map(|()| ExitCode::SUCCESS),
        Command::Smart(options) => smart(&options).map(|()| ExitCode::SUCCESS),
        Command::Devices(args) => devices(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(checking) => {
            unknown = match checking.asker {
                Asker::Nagios => unknown,
                Asker::NodeProblemDetector => 2,
            };
            self::check(checking)
        }
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        let hint = error.downcast_ref::<AgentError>().and_then(AgentError::hint);
        if let Some(hint) = hint.or_else(|| error.downcast_ref::<InstallError>().and_then(InstallError::hint)) {
            tracing::error!("hint: {hint}");
        }
        ExitCode::from(unknown)
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

fn install(installation: Installation) -> anyhow::Result<()> {
    let Installation {
        options,
        dry_run,
        uninstall,
        disk_health,
        root,
    } = installation;
    let steps = if uninstall {
        install::removal(root.as_deref())
    } else {
        if options.server.is_none() {
            anyhow::bail!("an agent that is installed needs --server URL");
        }
        if options.proxy.as_deref().is_some_and(has_user) {
            anyhow::bail!(
                "a password in a unit can be read by everybody on the host: give the proxy's address as --proxy-file FILE"
            );
        }
        let (token_file, ca_file) = (options.token_file.clone(), options.ca_file.clone());
        let proxy_file = options.proxy_file.clone();
        let arguments = arguments(&options);
        let options = Options {
            identity: options.identity.or(Some(Install::identity_file(root.as_deref()))),
            ..options
        };
        let config = config(options)?;
        let scrape_access = config.scrape_access.clone();
        let server = config.server.clone().filter(|server| server.identity.join.is_some());
        // What the service would refuse at its start is refused here.
        let host = Agent::new(config)?.host().clone();
        let join = server.map(|server| Join { server, host });
        Install {
            join,
            root,
            binary: std::env::current_exe().context("cannot tell where this binary is")?,
            arguments,
            token_file,
            ca_file,
            proxy_file,
            scrape_access,
            disk_health: disk_health == Switch::On,
        }
        .steps()
    };
    let mut out = std::io::stdout();
    for step in &steps {
        if dry_run || step.apply()? {
            // Of what was done the first line is enough; the unit's text can be read where it lies.
            let text = step.to_string();
            let lines = if dry_run { usize::MAX } else { 1 };
            let said: Vec<&str> = text.lines().take(lines).collect();
            writeln!(out, "{}", said.join("\n").trim_end_matches(':')).context("cannot print")?;
        }
    }
    Ok(())
}

/// The options as the service is to be given them, those apart that become files of its own.
fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    if let Some(server) = &options.server {
        add("--server", server.clone());
    }
    add("--interval", format!("{}ms", options.interval.as_millis()));
    for Every { probe, time } in &options.every {
        add("--every", format!("{probe}={}ms", time.as_millis()));
    }
    if options.adaptive == Switch::Off {
        add("--adaptive", "off".to_owned());
    }
    add("--spool-limit", options.spool_limit.to_string());
    add("--spool-hours", options.spool_hours.to_string());
    if let Some(pin) = options.pin {
        add("--pin", pin.to_string());
    }
    for (flag, value) in [
        ("--host-name", &options.host_name),
        ("--tenant", &options.tenant),
        ("--proxy", &options.proxy),
    ] {
        if let Some(value) = value {
            add(flag, value.clone());
        }
    }
    options
        .probe
        .iter()
        .for_each(|target| add("--probe", target.to_string()));
    options
        .scrape
        .iter()
        .for_each(|target| add("--scrape", target.to_string()));
    options.cgroup.iter().for_each(|cgroup| add("--cgroup", cgroup.clone()));
    let certificates = options.certificate.iter();
    certificates.for_each(|path| add("--certificate", path.display().to_string()));
    if options.cpu_per_core {
        arguments.push("--cpu-per-core".to_owned());
    }
    arguments
}

fn smart(options: &Smart) -> anyhow::Result<()> {
    let sys = Paths::default().sys;
    match &options.out {
        Some(out) => {
            smart::write_report(&sys, out)?;
            Ok(())
        }
        None => std::io::stdout()
            .write_all(smart::report_text(&sys).as_bytes())
            .context("cannot print"),
    }
}

fn devices(args: &DevicesArgs) -> anyhow::Result<()> {
    let said = if args.forget.is_empty() {
        expected::show(&args.spool)?
    } else {
        expected::forget(&args.spool, &args.forget)?;
        "forgotten within five minutes, if the agent runs, or when it starts\n".to_owned()
    };
    std::io::stdout().write_all(said.as_bytes()).context("cannot print")
}

fn check(checking: Checking) -> anyhow::Result<ExitCode> {
    let report = check::check(config(checking.options)?)?;
    let (code, text) = match checking.asker {
        Asker::Nagios => (report.status.exit_code(), report.text),
        Asker::NodeProblemDetector => report.node_problem(),
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot print")?;
    Ok(ExitCode::from(code))
}

fn config(options: Options) -> anyhow::Result<Config> {
    let token = options.token_file.as_deref().map(token).transpose()?.flatten();
    let join = match options.join {
        Some(join) => Some(join.trim().to_owned()).filter(|join| !join.is_empty()),
        None => options.join_file.as_deref().map(self::token).transpose()?.flatten(),
    };
    let identity = Identity {
        join,
        file: options
            .identity
            .or_else(|| options.spool.as_ref().map(|spool| spool.join("identity.pem"))),
        given: options.identity_from,
        ..Identity::default()
    };
    let proxy = match options.proxy {
        None => options.proxy_file.as_deref().map(self::token).transpose()?.flatten(),
        given => given,
    };
    let tenant = options.tenant;
    let trust = Trust {
        ca_file: options.ca_file,
        pin: options.pin,
    };
    Ok(Config {
        server: options.server.map(|url| Server {
            url,
            token,
            identity,
            tenant,
            trust,
            proxy,
        }),
        interval: options.interval,
        every: options.every,
        adaptive: options.adaptive == Switch::On,
        host_name: options.host_name,
        targets: options.probe,
        scrape: options.scrape,
        scrape_access: ScrapeAccess {
            tokens: options.scrape_token,
            passwords: options.scrape_password,
            authorities: options.scrape_ca,
        },
        cpu_per_core: options.cpu_per_core,
        cgroups: options.cgroup,
        certificates: options.certificate,
        spool: SpoolOptions {
            dir: options.spool,
            disk_bytes_max: options.spool_limit.clamp(1, 1 << 20) << 20,
            age_max: Duration::from_secs(options.spool_hours.clamp(1, 24 * 365) * 3600),
            ..SpoolOptions::default()
        },
        record: options.record,
        paths: Paths::below(&options.host_root),
    })
}

/// What a file of a token, or of a proxy, holds. Packages make empty ones, for whoever has something to put in them.
fn token(path: &std::path::Path) -> anyhow::Result<Option<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
}

/// Reads `cgroup=60s`.
fn every(text: &str) -> Result<Every, String> {
    let (probe, time) = text
        .split_once('=')
        .ok_or("write a probe and a time, such as cgroup=60s")?;
    Ok(Every {
        probe: probe.to_owned(),
        time: duration(time)?,
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
