//! A small file system that fills up until a write fails.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::running::{Event, Ready};
use super::warden::{Cleanup, Leash, tell};
use super::{Noise, flags};
use crate::clock;

/// Share of the file system that is used from the beginning.
const BASE_SHARE: f64 = 0.3;

/// Time between two writes.
const STEP: Duration = Duration::from_millis(250);

/// A file system that fills up.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Size of the file system, MiB; it is kept in memory.
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u64).range(8..=1024))]
    pub(crate) size: u64,
    /// Steady time before it begins to fill.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) warm_up: u64,
    /// Time from then until it is full.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) fill: u64,
    /// Where it is mounted; a new folder in the temporary directory by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Options {
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all = flags(&[
            ("size", self.size.to_string()),
            ("warm-up", self.warm_up.to_string()),
            ("fill", self.fill.to_string()),
        ]);
        if let Some(dir) = &self.dir {
            all.extend(flags(&[("dir", dir.display().to_string())]));
        }
        all
    }

    pub(super) fn cause(&self, leash: &Leash) -> Result<Cleanup> {
        let name = format!("foreshock-fault-{}", std::process::id());
        let dir = self.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
        let mount = Mount::create(&dir, self.size)?;
        let size = (self.size << 20) as f64;
        let path = dir.join("data");
        let mut file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut written = size * BASE_SHARE;
        file.write_all(&vec![0xa5; written as usize])
            .with_context(|| format!("cannot write {}", path.display()))?;
        let (began, began_ms) = (Instant::now(), clock::now_ms());
        tell(&Event::Ready(Ready {
            began_ms,
            expected_ms: Some(began_ms + ((self.warm_up + self.fill) * 1000) as i64),
            subject: format!("the file system at {} ({} MiB) fills up", dir.display(), self.size),
            mountpoint: Some(dir.display().to_string()),
            ..Ready::default()
        }));
        let mut noise = Noise::new(self.size ^ self.fill);
        let at_most = Duration::from_secs(self.warm_up + 2 * self.fill + 30);
        while leash.wait(STEP) {
            let age = began.elapsed();
            if age > at_most {
                tell(&Event::Ended {
                    why: "the file system did not fill in time".to_owned(),
                });
                break;
            }
            let share = (age.as_secs_f64() - self.warm_up as f64) / self.fill as f64;
            let wanted = size * (BASE_SHARE + share.max(0.0) * (1.0 - BASE_SHARE));
            let step = (wanted - written) * (1.0 + 0.3 * noise.normal()).clamp(0.0, 2.0);
            if step < 1.0 {
                continue;
            }
            if let Err(error) = file.write_all(&vec![0xa5; step as usize]) {
                tell(&Event::Failed {
                    at_ms: clock::now_ms(),
                    how: format!("a write to {} failed: {error}", path.display()),
                });
                break;
            }
            written += step;
        }
        Ok(Box::new(mount))
    }
}

/// A mounted file system, unmounted when this goes.
#[derive(Debug)]
struct Mount {
    dir: PathBuf,
    made: bool,
}

impl Mount {
    fn create(dir: &Path, mib: u64) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("mounting a small file system to fill needs root");
        }
        let made = !dir.exists();
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let options = format!("size={mib}m,nodev,nosuid,noexec");
        let result = tool(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(dir),
        );
        if let Err(error) = result {
            if made {
                fs::remove_dir(dir).unwrap_or_default();
            }
            return Err(error);
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            made,
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: an agent may be asking the file system for its state at this very moment.
        if let Err(error) = tool(Command::new("umount").arg("--lazy").arg(&self.dir)) {
            tracing::warn!(dir = %self.dir.display(), error = format!("{error:#}"), "cannot unmount the fault's file system");
            return;
        }
        if self.made {
            fs::remove_dir(&self.dir).unwrap_or_default();
        }
    }
}

fn tool(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
