//! Recordings: what the agent would send, kept in a file.
//!
//! A recording is a zstd stream of `ExportMetricsServiceRequest` messages, each preceded by its length as a protobuf varint
//! (the usual length-delimited form, which any OTLP tool can read). Recordings of real faults test prediction and alerts.
//!
//! ```no_run
//! for batch in foreshock_agent::recording::read("memory-leak.otlp.zst".as_ref())? {
//!     let batch = batch?;
//!     println!("{} ms: {} bytes", batch.unix_millis, batch.body.len());
//! }
//! # Ok::<(), foreshock_agent::recording::RecordingError>(())
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use wire::otlp::read::{self as otlp, Data};

use crate::spool::BATCH_BYTES_MAX;

/// Batches between two points at which a file cut short by a kill can be read up to.
const BATCHES_PER_FLUSH: u32 = 10;

/// zstd's level: a recording is written once and read often.
const LEVEL: i32 = 9;

/// A recording that cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be created, opened or read.
    #[error("cannot use recording {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is no recording, or a damaged one.
    #[error("{path} is no recording: batch {batch} is {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Number of the batch, from 0.
        batch: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Writes a recording.
pub struct Recorder {
    path: PathBuf,
    encoder: zstd::stream::write::Encoder<'static, File>,
    unflushed: u32,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Creates the file, in place of an older one.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::File {
            path: path.to_path_buf(),
            source,
        };
        let file = File::create(path).map_err(failed)?;
        let encoder = zstd::stream::write::Encoder::new(file, LEVEL).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            encoder,
            unflushed: 0,
        })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, body: &[u8]) -> Result<(), RecordingError> {
        let mut length = Vec::with_capacity(5);
        wire::protobuf::put_varint(&mut length, body.len() as u64);
        let mut written = self
            .encoder
            .write_all(&length)
            .and_then(|()| self.encoder.write_all(body));
        self.unflushed += 1;
        if self.unflushed >= BATCHES_PER_FLUSH {
            self.unflushed = 0;
            written = written.and_then(|()| self.encoder.flush());
        }
        written.map_err(|source| self.failed(source))
    }

    /// Ends the recording; without this the last few batches are missing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<(), RecordingError> {
        let path = self.path;
        let file = self.encoder.finish();
        file.and_then(|file| file.sync_all())
            .map_err(|source| RecordingError::File { path, source })
    }

    fn failed(&self, source: io::Error) -> RecordingError {
        RecordingError::File {
            path: self.path.clone(),
            source,
        }
    }
}

/// One batch of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Time of the batch's first point, milliseconds since 1970 UTC; 0 for a batch without points.
    pub unix_millis: i64,
    /// An `ExportMetricsServiceRequest`, as it would be posted to `/v1/metrics`.
    pub body: Vec<u8>,
}

/// The batches of a recording in the order in which they were taken.
pub struct Batches {
    path: PathBuf,
    decoder: zstd::stream::read::Decoder<'static, BufReader<File>>,
    number: u64,
    ended: bool,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches")
            .field("path", &self.path)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Opens a recording. A tail that was cut short, since the recorder was killed, ends it without an error.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: &Path) -> Result<Batches, RecordingError> {
    let failed = |source| RecordingError::File {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let decoder = zstd::stream::read::Decoder::new(file).map_err(failed)?;
    Ok(Batches {
        path: path.to_path_buf(),
        decoder,
        number: 0,
        ended: false,
    })
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = self.batch();
        self.ended = !matches!(batch, Ok(Some(_)));
        self.number += 1;
        batch.transpose()
    }
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Batch>, RecordingError> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut body = vec![0; length];
        match self.decoder.read_exact(&mut body) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => {
                return Err(RecordingError::File {
                    path: self.path.clone(),
                    source,
                });
            }
        }
        match first_time(&body) {
            Ok(nanos) => Ok(Some(Batch {
                unix_millis: (nanos / 1_000_000) as i64,
                body,
            })),
            Err(_) => Err(self.damaged("no OTLP metrics request")),
        }
    }

    fn length(&mut self) -> Result<Option<usize>, RecordingError> {
        let mut length = 0usize;
        for shift in (0..35).step_by(7) {
            let mut byte = [0];
            match self.decoder.read_exact(&mut byte) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(source) => {
                    return Err(RecordingError::File {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return if length <= BATCH_BYTES_MAX {
                    Ok(Some(length))
                } else {
                    Err(self.damaged("too long"))
                };
            }
        }
        Err(self.damaged("without a length"))
    }

    fn damaged(&self, what: &'static str) -> RecordingError {
        RecordingError::Damaged {
            path: self.path.clone(),
            batch: self.number,
            what,
        }
    }
}

/// Time of the first number point, nanoseconds since 1970; 0 without one.
fn first_time(body: &[u8]) -> Result<u64, wire::DecodeError> {
    for resource in otlp::request(body) {
        for scope in resource?.scopes() {
            for metric in scope?.metrics() {
                let (Some(Data::Gauge(points)) | Some(Data::Sum { points, .. })) = metric?.data else {
                    continue;
                };
                if let Some(point) = points.numbers().next() {
                    return Ok(point?.time_unix_nano);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue as metric;
    use wire::otlp::write::RequestWriter;

    fn body(second: u64) -> Vec<u8> {
        let mut writer = RequestWriter::new(&[("host.name", "h")], "test");
        writer
            .metric(&metric::UPTIME.def)
            .point(&[], 0, second * 1_000_000_000, second as f64);
        writer.finish()
    }

    fn times(path: &Path) -> Vec<i64> {
        read(path)
            .expect("open")
            .map(|batch| batch.expect("batch").unix_millis)
            .collect()
    }

    #[test]
    fn what_was_recorded_is_read_with_its_times() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("r.otlp.zst");
        let mut recorder = Recorder::create(&path).expect("create");
        (1..=25).for_each(|second| recorder.write(&body(second)).expect("write"));
        recorder.finish().expect("finish");
        assert_eq!(times(&path), (1..=25).map(|second| second * 1000).collect::<Vec<_>>());
        let first = read(&path).expect("open").next().expect("one").expect("batch");
        assert_eq!(first.body, body(1));
    }

    #[test]
    fn a_recorder_that_was_killed_leaves_all_but_the_last_few() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("r.otlp.zst");
        let mut recorder = Recorder::create(&path).expect("create");
        (1..=25).for_each(|second| recorder.write(&body(second)).expect("write"));
        // What has reached the file so far is what a kill would leave.
        assert_eq!(times(&path).len(), 20);
        drop(recorder);
    }

    #[test]
    fn a_file_that_is_no_recording_says_so() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("r.otlp.zst");
        std::fs::write(&path, "not zstd at all").expect("write");
        assert!(read(&path).expect("open").any(|batch| batch.is_err()));
        let mut encoder = zstd::stream::write::Encoder::new(File::create(&path).expect("create"), 1).expect("zstd");
        encoder.write_all(&[3, 0xff, 0xff, 0xff]).expect("write");
        encoder.finish().expect("finish");
        let error = read(&path).expect("open").next().expect("one").expect_err("damaged");
        assert_eq!(
            error.to_string(),
            format!("{} is no recording: batch 0 is no OTLP metrics request", path.display())
        );
    }
}
