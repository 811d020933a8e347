//! `foreshock store`: what lies in a data directory, and whether it is whole. Reads only; a server may run meanwhile.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::clock::utc;

/// Look into a data directory, or verify it.
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
    },
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Inspect { data, parts } => inspect(data, *parts),
        Command::Verify { data } => verify(data),
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

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn verify(data: &std::path::Path) -> Result<()> {
    let mut damaged = 0;
    for (tenant, dir) in tenants(data)? {
        let found = store::verify(&dir)?;
        println!(
            "tenant {tenant}: {} samples in {} parts and {} in {} WAL segments, {} problems",
            found.samples,
            found.parts,
            found.wal_samples,
            found.segments,
            found.problems.len()
        );
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
