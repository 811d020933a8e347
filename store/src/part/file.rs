//! A part's file, held open and read by position, from any thread.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// Runs what the Parquet library does with bytes of a file. It checks most of them, but on some damaged ones it panics (an offset
/// before its page, a length that overflows); that must cost this file alone.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ParquetError::General(
            "the file is damaged: a number in it cannot be".to_owned(),
        ))
    })
}

/// Bytes that a sequential reader asks for at a time.
const READ_AHEAD: usize = 64 << 10;

/// An open file without a cursor: unlike `File`, clones may read at the same time.
#[derive(Clone, Debug)]
pub(super) struct PartFile {
    file: Arc<File>,
    len: u64,
}

impl PartFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            len,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `into` with the bytes from `offset` on.
    pub(super) fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}

impl Length for PartFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for PartFile {
    type T = io::BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::with_capacity(
            READ_AHEAD,
            ReadFrom {
                file: self.clone(),
                at: start,
            },
        ))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Checked before memory is asked for: a damaged footer may claim any length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} of a file of {}",
                self.len
            )));
        }
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A reader that starts somewhere in a file.
#[derive(Debug)]
pub(super) struct ReadFrom {
    file: PartFile,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
