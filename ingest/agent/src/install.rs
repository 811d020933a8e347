//! Installing the agent as a systemd service, and taking it away again: decided as a list of steps, then done.
//!
//! The unit runs under a user that systemd makes for it (`DynamicUser`), so that nothing is left behind in `/etc/passwd`, and
//! allows what the probes need and no more; `systemd-analyze security` rates it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::ScrapeAccess;
use crate::enrol::{Join, JoinError};
use crate::file;
use crate::transport::without_user;

const UNIT: &str = "foreshock-agent.service";
const SMART_UNIT: &str = "foreshock-agent-smart.service";
const SMART_TIMER: &str = "foreshock-agent-smart.timer";

/// What is to be installed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Install {
    /// The folder that stands for `/`, for images and tests; systemd is told nothing where it is another.
    pub root: Option<PathBuf>,
    /// The agent's own binary.
    pub binary: PathBuf,
    /// Arguments of `foreshock-agent run`, other than the spool and the files below.
    pub arguments: Vec<String>,
    /// File with the token, copied to where the service alone can read it.
    pub token_file: Option<PathBuf>,
    /// Where this host is to join, with its certificate kept in [`Install::identity_file`].
    pub join: Option<Join>,
    /// File with certificates, copied likewise.
    pub ca_file: Option<PathBuf>,
    /// File with the address of a proxy and its password, copied as the token's.
    pub proxy_file: Option<PathBuf>,
    /// Files for targets to scrape: tokens and passwords copied as the server's token, certificates as those of the server.
    pub scrape_access: ScrapeAccess,
    /// Whether a timer asks the disks how they are, as root.
    pub disk_health: bool,
}

/// Why it cannot be installed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server gave no certificate.
    #[error("cannot join")]
    Join(#[from] JoinError),
    /// A command of systemd.
    #[error("`{command}` failed{}", said(.output))]
    Command {
        /// As it was run.
        command: String,
        /// What it printed.
        output: String,
    },
}

fn said(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}

impl InstallError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("installing needs root: run it with sudo; --dry-run shows what it would do")
            }
            Self::Command { .. } => {
                Some("is this host booted with systemd? --root DIR installs into an image without starting")
            }
            Self::Join(JoinError::Refused { .. }) => {
                Some("`foreshock token create --scope join --ttl 1h` on the server's machine makes a join token")
            }
            Self::File { .. } | Self::Join(JoinError::Server(_)) => None,
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write a text.
    Write {
        /// Where.
        path: PathBuf,
        /// The permissions.
        mode: u32,
        /// What.
        text: String,
    },
    /// Copy a file.
    Copy {
        /// Which.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
        /// The permissions.
        mode: u32,
    },
    /// Get a certificate for this host, unless it has one.
    Join(Box<Join>),
    /// Remove a file or folder, if it is there.
    Remove(PathBuf),
    /// Run a command; when it may fail, its failure is no reason to stop.
    Run {
        /// Command and arguments.
        command: Vec<&'static str>,
        /// Whether it may fail.
        may_fail: bool,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, mode, text } => {
                writeln!(f, "write {} (mode {mode:04o}):", path.display())?;
                for line in text.lines() {
                    writeln!(f, "    {line}")?;
                }
                Ok(())
            }
            Self::Copy { from, to, mode } => {
                writeln!(f, "copy {} to {} (mode {mode:04o})", from.display(), to.display())
            }
            Self::Join(join) => writeln!(
                f,
                "join {} as {}, and keep the certificate in {} (mode 0600), unless there is one",
                without_user(&join.server.url),
                join.host.name,
                join.server
                    .identity
                    .file
                    .as_deref()
                    .unwrap_or(Path::new("nowhere"))
                    .display()
            ),
            Self::Remove(path) => writeln!(f, "remove {}", path.display()),
            Self::Run { command, .. } => writeln!(f, "run {}", command.join(" ")),
        }
    }
}

/// Where everything goes.
struct Places {
    binary: PathBuf,
    config: PathBuf,
    unit: PathBuf,
    /// The unit that asks the disks, and its timer.
    smart: [PathBuf; 2],
    state: [PathBuf; 3],
}

impl Places {
    fn below(root: Option<&Path>) -> Self {
        let at = |path: &str| root.unwrap_or(Path::new("/")).join(path);
        Self {
            binary: at("usr/local/bin/foreshock-agent"),
            config: at("etc/foreshock-agent"),
            unit: at("etc/systemd/system").join(UNIT),
            smart: [SMART_UNIT, SMART_TIMER].map(|unit| at("etc/systemd/system").join(unit)),
            state: [
                // With a dynamic user the folder is below private, and a link to it where it is usually looked for.
                at("var/lib/foreshock-agent"),
                at("var/lib/private/foreshock-agent"),
                at("run/foreshock-agent-smart"),
            ],
        }
    }
}

/// The credentials that the service is given, by name, with what stands before the file's path where the service is told of it; that
/// of packages reads a join token as well.
const TOKEN: (&str, &str) = ("token", "--token-file ");
const IDENTITY: (&str, &str) = ("identity.pem", "--identity-from ");
const PROXY: (&str, &str) = ("proxy", "--proxy-file ");
#[cfg(test)]
const JOIN: (&str, &str) = ("join", "--join-file ");

impl Install {
    /// Where the certificate is kept that a host gets when it is installed.
    #[must_use]
    pub fn identity_file(root: Option<&Path>) -> PathBuf {
        Places::below(root).config.join(IDENTITY.0)
    }

    /// What installing takes, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let places = Places::below(self.root.as_deref());
        let mut steps = Vec::new();
        if self.binary != places.binary {
            steps.push(Step::Copy {
                from: self.binary.clone(),
                to: places.binary.clone(),
                mode: 0o755,
            });
        }
        for (from, name, mode) in [
            (&self.token_file, TOKEN.0, 0o600),
            (&self.proxy_file, PROXY.0, 0o600),
            (&self.ca_file, "ca.pem", 0o644),
        ] {
            if let Some(from) = from {
                steps.push(Step::Copy {
                    from: from.clone(),
                    to: places.config.join(name),
                    mode,
                });
            }
        }
        let mut secrets = Vec::new();
        let ScrapeAccess {
            tokens,
            passwords,
            authorities,
        } = &self.scrape_access;
        for (kind, files) in [("token", tokens), ("password", passwords)] {
            for file in files {
                let name = format!("scrape-{}.{kind}", file.job);
                steps.push(Step::Copy {
                    from: file.path.clone(),
                    to: places.config.join(&name),
                    mode: 0o600,
                });
                secrets.push((name, format!("--scrape-{kind} {}=", file.job)));
            }
        }
        let mut arguments = self.arguments.clone();
        for file in authorities {
            let name = format!("scrape-{}.pem", file.job);
            let given = format!("{}=/etc/foreshock-agent/{name}", file.job);
            arguments.extend(["--scrape-ca".to_owned(), given]);
            steps.push(Step::Copy {
                from: file.path.clone(),
                to: places.config.join(name),
                mode: 0o644,
            });
        }
        steps.extend(self.join.clone().map(|join| Step::Join(Box::new(join))));
        let mut credentials = Vec::new();
        if self.token_file.is_some() {
            credentials.push(TOKEN);
        }
        if self.proxy_file.is_some() {
            credentials.push(PROXY);
        }
        // An update does not join again.
        if self.join.is_some() || places.config.join(IDENTITY.0).exists() {
            credentials.push(IDENTITY);
        }
        credentials.extend(secrets.iter().map(|(name, option)| (name.as_str(), option.as_str())));
        if self.ca_file.is_some() {
            arguments.extend(["--ca-file".to_owned(), "/etc/foreshock-agent/ca.pem".to_owned()]);
        }
        steps.push(Step::Write {
            path: places.unit,
            mode: 0o644,
            text: unit("/usr/local/bin/foreshock-agent", &arguments, &credentials),
        });
        let mut commands = vec![
            vec!["systemctl", "daemon-reload"],
            vec!["systemctl", "enable", UNIT],
            vec!["systemctl", "restart", UNIT],
        ];
        if self.disk_health {
            let texts = [smart_unit("/usr/local/bin/foreshock-agent"), TIMER.to_owned()];
            steps.extend(places.smart.into_iter().zip(texts).map(|(path, text)| Step::Write {
                path,
                mode: 0o644,
                text,
            }));
            commands.push(vec!["systemctl", "enable", "--now", SMART_TIMER]);
        }
        if self.root.is_none() {
            for command in commands {
                steps.push(Step::Run {
                    command,
                    may_fail: false,
                });
            }
        }
        steps
    }
}

/// What taking the agent away takes, in order: everything that [`Install::steps`] made, and what the service wrote.
#[must_use]
pub fn removal(root: Option<&Path>) -> Vec<Step> {
    let places = Places::below(root);
    let mut steps = Vec::new();
    if root.is_none() {
        for unit in [SMART_TIMER, UNIT] {
            steps.push(Step::Run {
                command: vec!["systemctl", "disable", "--now", unit],
                may_fail: true,
            });
        }
    }
    let paths = places.smart.into_iter().chain([places.unit, places.config]);
    let paths = paths.chain(places.state).chain([places.binary]);
    steps.extend(paths.map(Step::Remove));
    if root.is_none() {
        steps.push(Step::Run {
            command: vec!["systemctl", "daemon-reload"],
            may_fail: true,
        });
    }
    steps
}

impl Step {
    /// Does it; false when there was nothing to do.
    ///
    /// # Errors
    /// What the kernel or the command says.
    pub fn apply(&self) -> Result<bool, InstallError> {
        match self {
            Self::Write { path, mode, text } => write(path, text.as_bytes(), *mode).map(|()| true),
            Self::Copy { from, to, mode } => {
                let bytes = fs::read(from).map_err(|source| InstallError::File {
                    what: "read",
                    path: from.clone(),
                    source,
                })?;
                write(to, &bytes, *mode).map(|()| true)
            }
            Self::Join(join) => Ok(join.apply()?),
            Self::Remove(path) => remove(path),
            Self::Run { command, may_fail } => {
                let failed = |output: String| InstallError::Command {
                    command: command.join(" "),
                    output,
                };
                let done = Command::new(command[0])
                    .args(&command[1..])
                    .output()
                    .map_err(|error| failed(error.to_string()));
                match done {
                    Ok(done) if done.status.success() => Ok(true),
                    _ if *may_fail => Ok(false),
                    Ok(done) => Err(failed(String::from_utf8_lossy(&done.stderr).into_owned())),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    file::place(path, bytes, mode).map_err(|source| InstallError::File {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

fn remove(path: &Path) -> Result<bool, InstallError> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    removed.map(|()| true).map_err(|source| InstallError::File {
        what: "remove",
        path: path.to_owned(),
        source,
    })
}

/// The unit. What stands in it beyond the usual is what a probe needs: `CAP_SYSLOG` and `/dev/kmsg` for the kernel's log, the
/// NVIDIA devices, all of `/proc`, home directories where they are file systems of their own (to ask for their space; what lies in them
/// is their owners'), and `adjtimex`, which reads the clock's state and without `CAP_SYS_TIME` sets nothing.
#[must_use]
fn unit(binary: &str, arguments: &[String], credentials: &[(&str, &str)]) -> String {
    let mut command = format!("{binary} run --spool /var/lib/foreshock-agent");
    for argument in arguments {
        command.push(' ');
        command.push_str(&quoted(argument));
    }
    let (read, load) = given(credentials);
    service(&(command + &read), &load)
}

/// Arguments that read credentials, and the unit's lines that load them. Their folder is one that nobody else can read; by this
/// variable also systemd 247 names it, `%d` came later.
fn given(credentials: &[(&str, &str)]) -> (String, String) {
    let read = credentials
        .iter()
        .map(|(name, option)| format!(" {option}${{CREDENTIALS_DIRECTORY}}/{name}"))
        .collect();
    let load = credentials
        .iter()
        .map(|(name, _)| format!("LoadCredential={name}:/etc/foreshock-agent/{name}\n"))
        .collect();
    (read, load)
}

/// The unit of this command, with what it reads besides.
fn service(command: &str, inputs: &str) -> String {
    format!(
        "\
[Unit]
Description=Foreshock agent: telemetry of this host
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
{inputs}Restart=always
RestartSec=5
DynamicUser=yes
StateDirectory=foreshock-agent
StateDirectoryMode=0700
UMask=0077
AmbientCapabilities=CAP_SYSLOG
CapabilityBoundingSet=CAP_SYSLOG
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectHostname=yes
PrivateTmp=yes
PrivateMounts=yes
DevicePolicy=closed
DeviceAllow=/dev/kmsg r
DeviceAllow=char-nvidia* rw
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallFilter=adjtimex
SystemCallErrorNumber=EPERM
MemoryHigh=32M
MemoryMax=64M
CPUQuota=10%
TasksMax=96
IOSchedulingClass=idle
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"
    )
}

/// The unit that asks the disks. It is root with two capabilities, which those questions need (`CAP_SYS_ADMIN` for NVMe's log,
/// `CAP_SYS_RAWIO` for ATA's commands), sees no other devices, no network and no processes, and takes no orders.
#[must_use]
pub fn smart_unit(binary: &str) -> String {
    format!(
        "\
[Unit]
Description=Foreshock agent: what this host's disks say of their health

[Service]
Type=oneshot
ExecStart={binary} smart --out {report}
TimeoutStartSec=600
RuntimeDirectory=foreshock-agent-smart
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
UMask=0022
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_RAWIO
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
PrivateTmp=yes
PrivateMounts=yes
PrivateNetwork=yes
IPAddressDeny=any
DevicePolicy=closed
DeviceAllow=block-sd r
DeviceAllow=char-nvme r
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
MemoryMax=64M
TasksMax=8
IOSchedulingClass=idle
",
        report = crate::smart::REPORT_PATH
    )
}

/// The timer of that unit: soon after the start, then every ten minutes, as disks' own counters change slowly.
const TIMER: &str = "\
[Unit]
Description=Foreshock agent: ask the disks how they are, every ten minutes

[Timer]
OnActiveSec=15s
OnUnitInactiveSec=10min
AccuracySec=30s

[Install]
WantedBy=timers.target
";

/// An argument as systemd.syntax(7) wants it: in quotes where it holds more than plain characters, `$` and `%` doubled.
fn quoted(argument: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%[]".contains(c);
    let escaped = argument.replace('%', "%%").replace('$', "$$");
    if !argument.is_empty() && argument.chars().all(safe) {
        return escaped;
    }
    let mut text = String::from("\"");
    for c in escaped.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
