//! `foreshock store`: what lies in a data directory, whether it is whole, and how samples get in and out in bulk.

mod backup;
mod delete;
mod export;
mod import;
mod place;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::clock::utc;

pub(super) use place::Place;

/// Look into a store, verify it, bring samples in, take them out.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Parts, levels, bytes per sample and WAL segments of each tenant.
    Inspect {
        /// Data directory.
        #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
        data: PathBuf,
        /// A line for each part.
        #[arg(long)]
        parts: bool,
    },
    /// Read every chunk of every part and every WAL record, and report what is damaged.
    Verify {
        /// Data directory.
        #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
        data: PathBuf,
        /// Move damaged parts aside, save what can be read of them, cut a torn WAL tail; no server may run meanwhile.
        #[arg(long)]
        repair: bool,
    },
    /// Bring in samples that VictoriaMetrics, Prometheus or others have exported.
    Import(import::Arguments),
    /// Write samples into a file that other tools read.
    Export(export::Arguments),
    /// Delete samples by series and time.
    Delete(delete::Arguments),
    /// Make a consistent copy of all tenants; a server may run and be written to meanwhile.
    Backup(backup::BackupArguments),
    /// Bring a backup into a data directory, every byte checked.
    Restore(backup::RestoreArguments),
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Inspect { data, parts } => inspect(data, *parts),
        Command::Verify { data, repair: true } => repair(data),
        Command::Verify { data, repair: false } => verify(data),
        Command::Import(arguments) => import::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Delete(arguments) => delete::run(arguments),
        Command::Backup(arguments) => backup::backup(arguments),
        Command::Restore(arguments) => backup::restore(arguments),
    }
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn inspect(data: &std::path::Path, parts: bool) -> Result<()> {
    for (tenant, dir) in tenants(data)? {
        let found = store::inspect(&dir)?;
        println!(
            "tenant {tenant}: {} samples in {} parts",
            found.samples(),
            found.parts.len()
        );
        println!(
            "  {:<10} {:>6} {:>10} {:>12} {:>12} {:>9}",
            "level", "parts", "chunks", "samples", "bytes", "B/sample"
        );
        for level in found.levels() {
            let ratio = level
                .bytes_per_sample()
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            println!(
                "  {:<10} {:>6} {:>10} {:>12} {:>12} {ratio:>9}",
                level.level, level.parts, level.chunks, level.samples, level.bytes
            );
        }
        for (minutes, parts, buckets, bytes) in rollups(&found) {
            let each = bytes as f64 / buckets as f64;
            println!("  rollups of {minutes} min: {parts} parts, {buckets} buckets, {bytes} bytes, {each:.2} a bucket");
        }
        for table in &found.tables {
            println!(
                "  table {:<10} {:>6} files, {} rows, {} bytes",
                table.table, table.files, table.rows, table.bytes
            );
        }
        println!(
            "  WAL: {} bytes in {} segments; state: {} bytes; files that nothing names: {}",
            found.wal_bytes(),
            found.segments.len(),
            found.state_bytes,
            found.unused.len()
        );
        for part in found.parts.iter().filter(|_| parts) {
            println!(
                "  part {:>6} {:<8} {} to {}: {} series, {} chunks, {} samples, {} bytes",
                part.id,
                part.level,
                utc(part.t_min),
                utc(part.t_max),
                part.series,
                part.chunks,
                part.samples,
                part.bytes
            );
        }
    }
    Ok(())
}

/// Minutes that buckets are long, number of parts, buckets and bytes, of all rollups of a length, the shorter ones first.
fn rollups(found: &store::Inspection) -> impl Iterator<Item = (i64, u64, u64, u64)> {
    let mut lengths: BTreeMap<i64, (u64, u64, u64)> = BTreeMap::new();
    for (resolution_ms, part) in &found.rollups {
        let (parts, buckets, bytes) = lengths.entry(resolution_ms / 60_000).or_default();
        *parts += 1;
        *buckets += part.samples;
        *bytes += part.bytes;
    }
    lengths
        .into_iter()
        .map(|(minutes, (parts, buckets, bytes))| (minutes, parts, buckets, bytes))
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn verify(data: &std::path::Path) -> Result<()> {
    let mut damaged = 0;
    for (tenant, dir) in tenants(data)? {
        let found = store::verify(&dir)?;
        println!(
            "tenant {tenant}: {} samples in {} parts and {} in {} WAL segments, {} rows in {} files of tables and {} in the WAL, {} problems",
            found.samples,
            found.parts,
            found.wal_samples,
            found.segments,
            found.rows,
            found.table_files,
            found.wal_rows,
            found.problems.len()
        );
        if found.rollups > 0 {
            println!("  {} buckets in {} parts of rollups", found.buckets, found.rollups);
        }
        for problem in &found.problems {
            println!("  {}: {}; {}", problem.path.display(), problem.what, problem.hint);
        }
        damaged += found.problems.len();
    }
    if damaged > 0 {
        bail!("{damaged} problems were found");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn repair(data: &std::path::Path) -> Result<()> {
    for (tenant, dir) in tenants(data)? {
        let done = store::repair(&dir)?;
        if done.is_clean() {
            println!("tenant {tenant}: nothing is wrong");
            continue;
        }
        println!("tenant {tenant}:");
        if done.manifest_made_again {
            println!("  the manifest was lost; it was made again from the parts");
        }
        for part in &done.parts {
            println!(
                "  {}; {} of its {} samples are saved in a new part, moved aside: {}",
                part.what,
                part.saved,
                part.samples,
                part.files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        for table in &done.tables {
            match &table.file {
                Some(file) => println!(
                    "  {}; its {} rows are lost, moved aside: {}",
                    table.what,
                    table.rows,
                    file.display()
                ),
                None => println!("  {}; its {} rows are lost", table.what, table.rows),
            }
        }
        if let Some((path, at)) = &done.torn_tail {
            println!(
                "  {} ended within a record, cut at byte {at}: nothing acknowledged is lost",
                path.display()
            );
        }
        for (path, at) in &done.damaged_segments {
            println!(
                "  {} is damaged at byte {at}: what follows in it is lost",
                path.display()
            );
        }
    }
    Ok(())
}

fn tenants(data: &std::path::Path) -> Result<Vec<(String, PathBuf)>> {
    let tenants = store::tenant_dirs(data).with_context(|| format!("cannot list the tenants in {}", data.display()))?;
    if tenants.is_empty() {
        bail!(
            "{} holds no tenant; is it a data directory of foreshock (--data)?",
            data.display()
        );
    }
    Ok(tenants)
}
