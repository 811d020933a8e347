//! `foreshock store backup` and `restore`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use store::{Backup, Clock, StoreError, StoreOptions, Tenants};

use crate::clock::{now_ms, utc};
use crate::commands::client::{AccessArguments, Client};

/// Make a consistent copy of all tenants; a server may run and be written to meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArguments {
    /// Data directory; no server may run on it.
    #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// A running server's address, instead of a data directory: the server makes the backup in the folder `backups` of its data.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "out", "tenants"])]
    server: Option<String>,
    #[command(flatten)]
    access: AccessArguments,
    /// The directory to make; it must not exist.
    #[arg(long, value_name = "DIR", required_unless_present = "server")]
    out: Option<PathBuf>,
    /// Only this tenant; may be given several times.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<String>,
}

/// Bring a backup into a data directory. Every byte is compared with its checksum, and nothing is overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArguments {
    /// The backup's directory.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Data directory; no server may run on it.
    #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// Only this tenant; may be given several times.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(super) fn backup(arguments: &BackupArguments) -> Result<()> {
    if let Some(url) = &arguments.server {
        let client = Client::with(url, "default", &arguments.access)?;
        let made = client.post("/api/v1/admin/store/backup", &serde_json::Value::Null)?;
        println!(
            "{}: {} files, {} bytes",
            made["path"].as_str().unwrap_or("?"),
            made["files"],
            made["bytes"]
        );
        return Ok(());
    }
    let out = arguments.out.as_deref().context("--out is missing")?;
    let options = StoreOptions {
        background: false,
        clock: Clock::new(now_ms),
        ..StoreOptions::default()
    };
    let tenants = Tenants::open(&arguments.data, options).map_err(|error| {
        let held = matches!(error, StoreError::Locked { .. });
        let error = anyhow::Error::new(error);
        if held {
            error.context("a server holds the data directory: ask it with --server http://127.0.0.1:9750")
        } else {
            error
        }
    })?;
    let bar = bytes()?;
    let made = tenants.backup(out, &arguments.tenants, now_ms(), &mut |done, all| {
        show(&bar, done, all)
    })?;
    bar.finish_and_clear();
    println!("{}", summary(&made));
    tenants.close().context("the store did not close cleanly")
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(super) fn restore(arguments: &RestoreArguments) -> Result<()> {
    let bar = bytes()?;
    let restored = store::restore(
        &arguments.from,
        &arguments.data,
        &arguments.tenants,
        &mut |done, all| {
            show(&bar, done, all);
        },
    )?;
    bar.finish_and_clear();
    println!("{}; restored into {}", summary(&restored), arguments.data.display());
    Ok(())
}

fn summary(backup: &Backup) -> String {
    format!(
        "{} of {}: {} files, {} bytes, tenants {}",
        backup.path.display(),
        utc(backup.created_ms),
        backup.files,
        backup.bytes,
        backup.tenants.join(", ")
    )
}

fn bytes() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "  {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {elapsed}",
    )?);
    Ok(bar)
}

fn show(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all);
    bar.set_position(done);
}
