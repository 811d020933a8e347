//! What disks say of their own health, read with privileges that the agent itself does not have.
//!
//! ```text
//! foreshock-agent smart (root, a timer, no network) ─► one file of text ─► probe `disk_health` of the agent (no privileges)
//!   NVMe: log page 2 · ATA: SMART data and thresholds
//! ```
//! The helper takes no orders: it reads every disk once, writes the file whole, and ends.

mod ata;
mod command;
mod nvme;
mod report;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::clock;
use crate::file;
pub(crate) use report::{DiskHealth, Report};

/// Where the helper's unit writes and the agent reads.
pub const REPORT_PATH: &str = "/run/foreshock-agent-smart/report";

/// Disks of one host.
const DISKS_MAX: usize = 256;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum SmartError {
    /// The report cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Where it should go.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Reads every disk below `sys`, and writes what they say to `out`, whole or not at all. Disks that do not answer are told in the
/// log and left out; virtual ones have nothing to say.
///
/// Returns how many disks are in the report.
///
/// # Errors
/// When the report cannot be written.
pub fn write_report(sys: &Path, out: &Path) -> Result<usize, SmartError> {
    let report = report(sys);
    let failed = |source| SmartError::Write {
        path: out.to_owned(),
        source,
    };
    file::replace(out, report.text().as_bytes(), 0o644).map_err(failed)?;
    Ok(report.disks.len())
}

/// The report as text, for somebody who looks.
#[must_use]
pub fn report_text(sys: &Path) -> String {
    report(sys).text()
}

fn report(sys: &Path) -> Report {
    Report {
        unix_nanos: clock::unix_nanos(),
        disks: disks(sys),
    }
}

/// The report as it stands in a file.
pub(crate) fn read_report(path: &Path) -> io::Result<Report> {
    let text = fs::read_to_string(path)?;
    Report::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no report of disks"))
}

fn disks(sys: &Path) -> Vec<DiskHealth> {
    let mut found = Vec::new();
    for (folder, prefix, read) in [
        (
            "class/nvme",
            "nvme",
            nvme::read as fn(&File) -> io::Result<report::Values>,
        ),
        ("block", "sd", ata::read),
    ] {
        let Ok(entries) = fs::read_dir(sys.join(folder)) else {
            continue;
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        for name in names.into_iter().take(DISKS_MAX) {
            let values = File::open(Path::new("/dev").join(&name)).and_then(|device| read(&device));
            match values {
                Ok(values) => found.push(DiskHealth {
                    id: crate::probe::sysfs::storage::identity(&sys.join(folder).join(&name))
                        .unwrap_or_else(|| name.clone()),
                    slot: name,
                    values,
                }),
                Err(error) => tracing::info!(disk = name, %error, "the disk tells nothing of its health"),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
