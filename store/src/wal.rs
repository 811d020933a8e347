//! The write-ahead log: every acknowledged sample is in a synced segment until a part holds it.
//!
//! ```text
//! <tenant>/wal/00000001.wal   header 16 bytes: "FSWAL" | version u8 | encryption u8 (0: none) | 0 | segment number u64
//!                             then records (`record`)
//! ```
//! Each segment can be read by itself: it defines every series that it mentions. So damage in one costs no other, and a segment
//! can be dropped as soon as the manifest lists the parts that hold its samples.
//!
//! A writer never continues a segment that it did not begin: after a start, a failed write or a failed sync the next record goes
//! to a new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, File};
use crate::error::StoreError;
use crate::head::HistogramSample;
use crate::metadata::Metadata;
use crate::series::SeriesId;
use record::{Columns, Decoder, Encoder, FRAME_BYTES, RECORD_BYTES_MAX, Sink, unframe};

pub(crate) mod record;
#[cfg(test)]
mod tests;

const MAGIC: &[u8; 5] = b"FSWAL";
/// Version 2 has records of histograms; a version 1 has none and reads alike.
const VERSION: u8 = 2;
const VERSION_OLDEST: u8 = 1;
const HEADER_BYTES: usize = 16;

/// Writes segments.
#[derive(Debug)]
pub(crate) struct Wal {
    dir: PathBuf,
    segment_bytes: u64,
    // Whether a commit syncs; else `sync` does, when it is called.
    sync_at_commit: bool,
    // Whether the open segment holds bytes that are not synced.
    unsynced: bool,
    // The last segment that ended with acknowledged records of which nobody knows whether the disk has them: until it is released.
    doubtful: Option<u64>,
    encoder: Encoder,
    // Records that are not written yet.
    buffer: Vec<u8>,
    // Numbers and sizes of all segments, the one being written last.
    segments: Vec<(u64, u64)>,
    next_number: u64,
    open: Option<File>,
    closed: bool,
    written_bytes: u64,
    // Where the records in `buffer` began; left behind by a writer that never came to `commit`.
    begun: Option<record::Mark>,
}

impl Wal {
    /// A writer whose first segment comes after `found` and is at least `from`.
    pub(crate) fn new(dir: &Path, segment_bytes: u64, found: Vec<(u64, u64)>, from: u64) -> Self {
        let next_number = found.last().map_or(1, |(number, _)| number + 1).max(from);
        Self {
            dir: dir.to_owned(),
            segment_bytes,
            sync_at_commit: true,
            unsynced: false,
            doubtful: None,
            encoder: Encoder::new(),
            buffer: Vec::new(),
            segments: found,
            next_number,
            open: None,
            closed: false,
            written_bytes: 0,
            begun: None,
        }
    }

    /// The same, which leaves it to [`Wal::sync`] to make durable what was committed.
    pub(crate) fn synced_apart(mut self) -> Self {
        self.sync_at_commit = false;
        self
    }

    /// Gathers samples to write.
    pub(crate) fn samples<'l>(&mut self, samples: Columns<'_>, labels_of: impl Fn(SeriesId) -> &'l [u8]) {
        self.encoder.samples(samples, labels_of, &mut self.buffer);
    }

    /// Gathers histograms to write.
    pub(crate) fn histograms<'l>(&mut self, samples: &[HistogramSample], labels_of: impl Fn(SeriesId) -> &'l [u8]) {
        if !samples.is_empty() {
            self.encoder.histograms(samples, labels_of, &mut self.buffer);
        }
    }

    /// Gathers what a metric is.
    pub(crate) fn metadata(&mut self, metric: &str, metadata: &Metadata) {
        self.encoder.metadata(metric, metadata, &mut self.buffer);
    }

    /// Gathers rows of a table: its name, the id of the batch, an Arrow stream.
    pub(crate) fn rows(&mut self, record: (&str, &[u8], &[u8])) {
        self.encoder.rows(record, &mut self.buffer);
    }

    /// Starts gathering; everything from here on is committed together.
    pub(crate) fn begin(&mut self) {
        self.buffer.clear();
        if let Some(mark) = self.begun.take() {
            self.encoder.rewind(&mark);
        }
        if self.open.is_some()
            && self
                .segments
                .last()
                .is_some_and(|(_, bytes)| *bytes >= self.segment_bytes)
        {
            self.end_segment();
        }
        if self.open.is_none() {
            self.encoder.begin_segment();
        }
        self.begun = Some(self.encoder.mark());
    }

    /// Writes what was gathered and syncs it: when this returns, it survives a power cut, unless syncing was left to
    /// [`Wal::sync`].
    ///
    /// # Errors
    /// Then nothing of it counts, though a later start may find some of it.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        let mark = self.begun.take();
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.write_and_sync();
        if let (Err(_), Some(mark)) = (&result, &mark) {
            self.encoder.rewind(mark);
        }
        // A huge batch must not keep its memory for good.
        self.buffer.clear();
        self.buffer.shrink_to(4 << 20);
        result
    }

    /// Takes nothing more: every later commit fails.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    fn write_and_sync(&mut self) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        if self.open.is_none() {
            self.create_segment()?;
        }
        let (Some(file), Some((number, bytes))) = (&self.open, self.segments.last_mut()) else {
            return Ok(());
        };
        if let Err(error) = file.write_all_at(&self.buffer, *bytes) {
            let path = segment_path(&self.dir, *number);
            // What was written in part is cut off. Where even that fails the segment ends here, and a start cuts it.
            if file.set_len(*bytes).is_err() {
                self.open = None;
                if std::mem::take(&mut self.unsynced) {
                    self.doubtful = Some(*number);
                }
            }
            return Err(StoreError::io("write", &path, error));
        }
        if !self.sync_at_commit {
            self.unsynced = true;
        } else if let Err(error) = file.sync_data() {
            let path = segment_path(&self.dir, *number);
            // After a failed sync the kernel may have dropped the pages and call the next sync a success. Only a new file is
            // a fresh start.
            if let Err(error) = file.set_len(*bytes) {
                tracing::warn!(path = %path.display(), %error, "cannot cut a segment that failed to sync");
            }
            self.open = None;
            return Err(StoreError::io("sync", &path, error));
        }
        *bytes += self.buffer.len() as u64;
        self.written_bytes += self.buffer.len() as u64;
        Ok(())
    }

    fn create_segment(&mut self) -> Result<(), StoreError> {
        let number = self.next_number;
        let path = segment_path(&self.dir, number);
        let create = || {
            let file = disk::create(&path)?;
            file.write_all_at(&header(number, VERSION), 0)?;
            Ok(file)
        };
        let file = create().map_err(|e| StoreError::io("create", &path, e))?;
        // The name must be durable before the first record in it is acknowledged.
        disk::sync_dir(&self.dir).map_err(|e| StoreError::io("sync", &self.dir, e))?;
        self.next_number += 1;
        self.segments.push((number, HEADER_BYTES as u64));
        self.open = Some(file);
        Ok(())
    }

    /// Makes durable what was committed since the last call, where a commit does not do so itself.
    ///
    /// # Errors
    /// Then nobody knows how much of it the disk has, and later records go to a new segment. What the file holds stays there: it
    /// was acknowledged. Every call fails from then on until parts hold it ([`Wal::release_before`]).
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unsynced)
            && let (Some(file), Some((number, _))) = (&self.open, self.segments.last())
            && let Err(error) = file.sync_data()
        {
            let path = segment_path(&self.dir, *number);
            self.doubtful = Some(*number);
            self.open = None;
            return Err(StoreError::io("sync", &path, error));
        }
        match self.doubtful {
            Some(number) => {
                let earlier = io::Error::other("an earlier write or sync of it failed");
                Err(StoreError::io("sync", &segment_path(&self.dir, number), earlier))
            }
            None => Ok(()),
        }
    }

    /// Ends the present segment, after which nothing syncs it any more.
    fn end_segment(&mut self) {
        if let Err(error) = self.sync() {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "a power cut may now take what was acknowledged since the last sync of the WAL"
            );
        }
        self.open = None;
    }

    /// Ends the present segment and answers the number from which on later records are.
    pub(crate) fn cut(&mut self) -> u64 {
        self.end_segment();
        self.next_number
    }

    /// Forgets the segments before `number` and answers their paths, to be removed.
    pub(crate) fn release_before(&mut self, number: u64) -> Vec<PathBuf> {
        self.doubtful = self.doubtful.filter(|doubtful| *doubtful >= number);
        let kept = self.segments.partition_point(|(n, _)| *n < number);
        self.segments
            .drain(..kept)
            .map(|(n, _)| segment_path(&self.dir, n))
            .collect()
    }

    /// Number of segments and their bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (
            self.segments.len() as u64,
            self.segments.iter().map(|(_, bytes)| bytes).sum(),
        )
    }

    /// Bytes written since this writer was made.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.wal"))
}

fn header(number: u64, version: u8) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..5].copy_from_slice(MAGIC);
    header[5] = version;
    header[8..].copy_from_slice(&number.to_le_bytes());
    header
}

/// The segments in `dir` with numbers from `from` on and below `end`.
///
/// # Errors
/// When the directory cannot be listed.
pub(crate) fn segment_paths(dir: &Path, from: u64, end: u64) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| StoreError::io("list", dir, e))? {
        let path = entry.map_err(|e| StoreError::io("list", dir, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".wal")?.parse::<u64>().ok());
        if number.is_some_and(|number| (from..end).contains(&number)) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The number of the first segment in `dir`; `None` where there is none.
///
/// # Errors
/// When the directory exists and cannot be listed.
pub(crate) fn first_segment(dir: &Path) -> io::Result<Option<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut first: Option<u64> = None;
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".wal")?.parse().ok());
        first = first.into_iter().chain(number).min();
    }
    Ok(first)
}

/// What replaying found beside the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Numbers and sizes of the segments that remain.
    pub(crate) segments: Vec<(u64, u64)>,
    /// Where the last segment was cut.
    pub(crate) torn_tail: Option<(PathBuf, u64)>,
    /// From where on a segment could not be read.
    pub(crate) damaged: Vec<(PathBuf, u64)>,
}

/// Reads all segments from number `from` on in order; older ones, which parts hold, are removed.
///
/// # Errors
/// Only where files cannot be read, cut or removed. Damage is reported and passed over: the rest of its segment is lost.
pub(crate) fn replay(dir: &Path, from: u64, sink: &mut impl Sink) -> Result<Replayed, StoreError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| StoreError::io("list", dir, e))? {
        let entry = entry.map_err(|e| StoreError::io("list", dir, e))?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|n| n.strip_suffix(".wal"))
            .and_then(|n| n.parse::<u64>().ok());
        match number {
            Some(number) if number >= from => numbers.push(number),
            Some(_) => disk::remove_file(&entry.path()).map_err(|e| StoreError::io("remove", &entry.path(), e))?,
            None => tracing::warn!(path = %entry.path().display(), "not a WAL segment, left alone"),
        }
    }
    numbers.sort_unstable();
    let mut replayed = Replayed::default();
    for (i, &number) in numbers.iter().enumerate() {
        let path = segment_path(dir, number);
        let bytes = fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
        sink.segment(number);
        let end = read_segment(&bytes, number, sink);
        let mut size = bytes.len() as u64;
        if let End::Broken { at, more } = end {
            let last = i + 1 == numbers.len();
            if last && !more {
                tracing::warn!(path = %path.display(), offset = at, "WAL segment ends within a record: cut there");
                size = at as u64;
                disk::cut(&path, size).map_err(|e| StoreError::io("cut", &path, e))?;
                replayed.torn_tail = Some((path.clone(), size));
            } else {
                tracing::error!(path = %path.display(), offset = at, "WAL segment is damaged: what follows in it is lost");
                replayed.damaged.push((path.clone(), at as u64));
            }
        }
        if size <= HEADER_BYTES as u64 {
            // Begun, but nothing in it was ever acknowledged.
            disk::remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        } else {
            replayed.segments.push((number, size));
            if i + 1 == numbers.len() {
                // A process that was killed may have left its last record written and not synced. It is about to be seen, so it
                // has to last.
                disk::sync(&path).map_err(|e| StoreError::io("sync", &path, e))?;
            }
        }
    }
    Ok(replayed)
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// At byte `at` there is no whole record; `more` when a good one follows it, so that this is no tail cut by a crash.
    Broken {
        at: usize,
        more: bool,
    },
}

fn read_segment(bytes: &[u8], number: u64, sink: &mut impl Sink) -> End {
    let known = (VERSION_OLDEST..=VERSION).any(|version| bytes.starts_with(&header(number, version)));
    if !known {
        let more = bytes.get(HEADER_BYTES..).is_some_and(|rest| unframe(rest).is_some());
        return End::Broken { at: 0, more };
    }
    let mut rest = &bytes[HEADER_BYTES..];
    let mut decoder = Decoder::default();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let Some((record, after)) = unframe(rest) else {
            return End::Broken {
                at,
                more: record_after(rest),
            };
        };
        if decoder.record(record, sink).is_none() {
            // The checksum is good and yet it makes no sense: written wrongly, and certainly no torn tail.
            return End::Broken { at, more: true };
        }
        rest = after;
    }
    End::Whole
}

/// Whether a good record follows the damaged one at the start of `bytes`, as far as its length can be believed.
fn record_after(bytes: &[u8]) -> bool {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let length = u32::from_le_bytes(*length) as usize;
    length <= RECORD_BYTES_MAX
        && bytes
            .get(FRAME_BYTES + length..)
            .is_some_and(|rest| unframe(rest).is_some())
}
