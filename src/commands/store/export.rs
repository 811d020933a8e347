//! `foreshock store export`: samples out, for other tools.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use store::exchange::{Format, Selection, Writer, export};
use store::promql::parse_selector;
use store::{Matcher, TimeRange};

use super::place::Place;
use crate::clock::{parse_time, seconds};
use crate::commands::client::Client;

/// Write samples into a file that other tools read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to write, `-` for standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// parquet, jsonl, openmetrics (timestamps in seconds) or prometheus (in milliseconds); told by the file's name where possible.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Series to export, as '{host="a"}' or 'up{job=~"node.*"}'; of several, each series that meets any. All where none is given.
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// First instant, as RFC 3339 or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<i64>,
    /// Last instant.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<i64>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let format = arguments
        .format
        .or_else(|| Format::of_path(&arguments.out))
        .ok_or_else(|| anyhow!("cannot tell the format from {}: say --format", arguments.out.display()))?;
    let sets: Vec<Vec<Matcher>> = arguments
        .selectors
        .iter()
        .map(|text| parse_selector(text).with_context(|| format!("--match {text:?} is no selector")))
        .collect::<Result<_>>()?;
    let range = TimeRange::millis(arguments.from.unwrap_or(i64::MIN), arguments.to.unwrap_or(i64::MAX));
    if range.start > range.end {
        bail!("--from is later than --to");
    }
    if arguments.out == Path::new("-") {
        return write(arguments, format, sets, range, io::stdout());
    }
    let file = File::create_new(&arguments.out)
        .with_context(|| format!("cannot create {}: an export never overwrites", arguments.out.display()))?;
    let written = write(arguments, format, sets, range, file);
    if written.is_err() {
        // Half a file must not pass for a whole one.
        fs::remove_file(&arguments.out)
            .with_context(|| format!("cannot remove {}, which is not whole", arguments.out.display()))?;
    }
    written
}

fn write(
    arguments: &Arguments,
    format: Format,
    sets: Vec<Vec<Matcher>>,
    range: TimeRange,
    out: impl Write + Send,
) -> Result<()> {
    let out = BufWriter::with_capacity(1 << 20, out);
    match arguments.place.client()? {
        Some(client) => from_server(arguments, &client, format, out),
        None => from_directory(&arguments.place, format, Selection { sets, range }, out),
    }
}

fn from_directory(place: &Place, format: Format, selection: Selection, out: impl Write + Send) -> Result<()> {
    let opened = place.open(false)?;
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "  {bar:32} {human_pos}/{human_len} series {elapsed} (about {eta} left)",
    )?);
    let mut writer = Writer::new(format, out, opened.store.metadata())?;
    let exported = export(&opened.store.snapshot(), &selection, &mut writer, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
        true
    })?;
    let (_, left_out) = writer.finish()?;
    bar.finish_and_clear();
    if exported.histogram_series > 0 {
        tracing::warn!(
            series = exported.histogram_series,
            "native histograms were left out: no format of exports holds any; `foreshock store backup` does"
        );
    }
    if left_out > 0 {
        tracing::warn!(
            markers = left_out,
            "staleness markers were left out: {format} cannot say them"
        );
    }
    // Not to standard output, where the samples may go.
    tracing::info!(
        series = exported.series,
        samples = exported.samples - left_out,
        "exported"
    );
    opened.close()
}

fn from_server(arguments: &Arguments, client: &Client, format: Format, mut out: impl Write) -> Result<()> {
    let all = [r#"{__name__!=""}"#.to_owned()];
    let selectors = if arguments.selectors.is_empty() {
        &all[..]
    } else {
        &arguments.selectors
    };
    let mut query: Vec<(&str, String)> = vec![("format", format.to_string())];
    query.extend(selectors.iter().map(|selector| ("match[]", selector.clone())));
    for (name, at) in [("start", arguments.from), ("end", arguments.to)] {
        query.extend(at.map(|at| (name, seconds(at))));
    }
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("  {bytes} {bytes_per_sec} {elapsed}")?);
    let mut body = bar.wrap_read(client.stream("/api/v1/export", &query)?);
    let bytes = io::copy(&mut body, &mut out).context("the export broke off")?;
    out.flush().context("cannot write the export")?;
    bar.finish_and_clear();
    tracing::info!(bytes, "exported");
    Ok(())
}
