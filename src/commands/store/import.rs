//! `foreshock store import`: samples of other stores into this one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use store::exchange::{ExchangeError, Format, Found, Importer, Sink, Taken, Writer, read, read_parquet};
use store::{LabelsBuf, Metadata};

use super::place::Place;
use crate::commands::client::{Client, Sent};

/// Bring in samples that VictoriaMetrics, Prometheus or others have exported.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files to read, `-` for standard input; gzip and zstd are unpacked.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// jsonl, openmetrics (timestamps in seconds), prometheus (in milliseconds), csv or parquet; told by name or content where possible.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    place: Place,
}

/// What was read, of all files together.
#[derive(Debug, Default)]
struct Total {
    samples: u64,
    bad_lines: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    // All names before any work.
    let files: Vec<(&Path, Format)> = arguments
        .files
        .iter()
        .map(|path| Ok((path.as_path(), format_of(path, arguments.format)?)))
        .collect::<Result<_>>()?;
    match arguments.place.client()? {
        Some(client) => {
            let mut sink = Server::new(client)?;
            let total = files_into(&files, &mut sink)?;
            let taken = sink.finish()?;
            report(&total, &taken)
        }
        None => {
            let opened = arguments.place.open(true)?;
            let mut importer = Importer::new(&opened.store);
            let total = files_into(&files, &mut importer)?;
            let taken = importer.finish()?;
            let bar = ProgressBar::new_spinner().with_message("writing and merging parts");
            bar.enable_steady_tick(Duration::from_millis(100));
            opened.store.flush()?;
            opened.store.compact()?;
            bar.finish_and_clear();
            opened.close()?;
            report(&total, &taken)
        }
    }
}

fn files_into(files: &[(&Path, Format)], sink: &mut dyn Sink) -> Result<Total> {
    let mut total = Total::default();
    for &(path, format) in files {
        let found = file_into(path, format, sink).with_context(|| format!("cannot import {}", path.display()))?;
        for example in &found.examples {
            tracing::warn!(file = %path.display(), "{example}");
        }
        if found.bad_lines > 0 {
            tracing::warn!(file = %path.display(), lines = found.bad_lines, "lines that hold no sample were left out");
        }
        total.samples += found.samples;
        total.bad_lines += found.bad_lines;
    }
    Ok(total)
}

fn file_into(path: &Path, format: Format, sink: &mut dyn Sink) -> Result<Found> {
    let name = path.display().to_string();
    if format == Format::Parquet {
        let bar = ProgressBar::new(0).with_message(name);
        bar.set_style(style("{human_pos}/{human_len} rows")?);
        let file = File::open(path)?;
        let found = read_parquet(file, sink, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        return Ok(found);
    }
    let bar = if path == Path::new("-") {
        ProgressBar::no_length()
    } else {
        ProgressBar::new(std::fs::metadata(path)?.len())
    };
    bar.set_style(style("{bytes}/{total_bytes} {bytes_per_sec}")?);
    bar.set_message(name);
    let mut input = unpacked(bar.wrap_read(open(path)?))?;
    let found = read(format, &mut *input, sink)?;
    bar.finish_and_clear();
    Ok(found)
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path)?))
}

/// The input as it was before gzip or zstd.
fn unpacked(input: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    const BUFFER: usize = 256 << 10;
    let mut input = BufReader::with_capacity(BUFFER, input);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(
            BUFFER,
            flate2::bufread::MultiGzDecoder::new(input),
        ))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(BufReader::with_capacity(
            BUFFER,
            zstd::stream::read::Decoder::with_buffer(input)?,
        ))
    } else {
        Box::new(input)
    })
}

/// The format that is said, or that the file's name or content tells.
fn format_of(path: &Path, said: Option<Format>) -> Result<Format> {
    let stdin = path == Path::new("-");
    if stdin && said == Some(Format::Parquet) {
        bail!("Parquet is read from its end: it cannot come through standard input, name a file");
    }
    if let Some(format) = said.or_else(|| Format::of_path(path)) {
        return Ok(format);
    }
    let sniffed = if stdin {
        None
    } else {
        sniff(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    sniffed.ok_or_else(|| {
        anyhow!(
            "cannot tell the format of {}: say --format openmetrics (timestamps in seconds), prometheus (in milliseconds), jsonl or csv",
            path.display()
        )
    })
}

fn sniff(path: &Path) -> io::Result<Option<Format>> {
    let mut file = File::open(path)?;
    let mut start = [0; 64];
    let n = file.read(&mut start)?;
    let start = start[..n].trim_ascii_start();
    if start.starts_with(b"PAR1") {
        return Ok(Some(Format::Parquet));
    }
    if start.starts_with(b"{\"metric\"") {
        return Ok(Some(Format::Jsonl));
    }
    let length = file.metadata()?.len();
    let tail_from = length.saturating_sub(16);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(tail_from))?;
    file.take(16).read_to_end(&mut tail)?;
    Ok(tail.trim_ascii_end().ends_with(b"# EOF").then_some(Format::OpenMetrics))
}

fn style(what: &str) -> Result<ProgressStyle> {
    Ok(ProgressStyle::with_template(&format!(
        "  {{msg}} {{bar:32}} {what} {{elapsed}}"
    ))?)
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn report(total: &Total, taken: &Taken) -> Result<()> {
    println!("{} of {} samples imported", taken.accepted, total.samples);
    for refused in &taken.refused {
        println!(
            "  {} refused, {}: {}",
            refused.count,
            refused.reason.as_str(),
            refused.example
        );
    }
    if taken.unnamed > 0 {
        println!(
            "  {} of series without a good name: {}",
            taken.unnamed,
            taken.unnamed_example.as_deref().unwrap_or_default()
        );
    }
    if taken.accepted < total.samples || total.bad_lines > 0 {
        bail!(
            "{} samples were refused and {} lines could not be read",
            total.samples.saturating_sub(taken.accepted),
            total.bad_lines
        );
    }
    Ok(())
}

/// Sends what it is given to a running server, as JSON lines.
struct Server {
    client: Client,
    lines: Writer<Vec<u8>>,
    samples: usize,
    taken: Taken,
}

/// Samples of a request: some megabytes of JSON.
const REQUEST_SAMPLES: usize = 100_000;
/// So often a busy server is asked again before the import gives up: it says itself how long to wait.
const TRIES: u32 = 60;

impl Server {
    fn new(client: Client) -> Result<Self> {
        Ok(Self {
            client,
            lines: lines()?,
            samples: 0,
            taken: Taken::default(),
        })
    }

    fn send(&mut self) -> Result<()> {
        let (body, _) = std::mem::replace(&mut self.lines, lines()?).finish()?;
        self.samples = 0;
        let mut why = String::new();
        for _ in 0..TRIES {
            match self.client.send("/api/v1/import", "application/stream+json", &body)? {
                Sent::Taken(answer) => {
                    self.taken.accepted += answer["accepted"].as_u64().unwrap_or(0);
                    if let Some(detail) = answer["detail"].as_str().filter(|detail| !detail.is_empty()) {
                        tracing::warn!("{detail}");
                    }
                    return Ok(());
                }
                Sent::Later(wait, said) => {
                    tracing::debug!("{said}");
                    why = said;
                    sleep(wait);
                }
            }
        }
        bail!("asked {TRIES} times, {why}; import again later, what was sent already does no harm")
    }

    fn finish(mut self) -> Result<Taken> {
        if self.samples > 0 {
            self.send()?;
        }
        Ok(self.taken)
    }
}

fn lines() -> Result<Writer<Vec<u8>>> {
    Ok(Writer::new(
        Format::Jsonl,
        Vec::new(),
        std::collections::BTreeMap::new(),
    )?)
}

impl Sink for Server {
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
        for (timestamps, values) in timestamps.chunks(REQUEST_SAMPLES).zip(values.chunks(REQUEST_SAMPLES)) {
            self.lines.series(labels, timestamps, values)?;
            self.samples += values.len();
            if self.samples >= REQUEST_SAMPLES {
                self.send().map_err(|error| ExchangeError::Taker(error.into()))?;
            }
        }
        Ok(())
    }

    fn metadata(&mut self, metric: &str, _metadata: Metadata) -> Result<(), ExchangeError> {
        tracing::debug!(metric, "what the metric is stays behind: JSON lines cannot say it");
        Ok(())
    }
}
