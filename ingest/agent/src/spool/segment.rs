//! Files of the spool.
//!
//! ```text
//! <id, 16 hex digits>.spool   magic "FSSPOOL2", then records: length of the bytes u32, CRC32C of time and bytes u32,
//!                             time u64 (nanoseconds since 1970 UTC), bytes; all little-endian
//! cursor                      segment u64, offset u64, CRC32C of both u32: the oldest batch that is not acknowledged
//! lock                        held by the agent that uses the directory
//! ```
//! The cursor is written after each acknowledgement and not synced: after a power cut some batches are sent twice, which
//! costs nothing, since a sample of the same series and time replaces itself, and a batch of events has an id.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BATCH_BYTES_MAX;
use crate::batch;

const MAGIC: &[u8; 8] = b"FSSPOOL2";
const HEADER_BYTES: u64 = 16;
/// Length and checksum; what follows them is covered by the checksum.
const UNCOVERED_BYTES: usize = 8;
const CURSOR_BYTES: usize = 20;

/// Where a batch lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) len: u32,
    /// When the batch was taken.
    pub(super) unix_nanos: u64,
    /// It tells of events.
    pub(super) events: bool,
}

/// One file of batches, appended to until it is full.
#[derive(Debug)]
pub(super) struct Segment {
    id: u64,
    file: Arc<File>,
    len: u64,
    unsynced: bool,
}

impl Segment {
    pub(super) fn create(dir: &Path, id: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path(dir, id))?;
        file.write_all_at(MAGIC, 0)?;
        Ok(Self {
            id,
            file: Arc::new(file),
            len: MAGIC.len() as u64,
            unsynced: true,
        })
    }

    /// Opens a segment and lists its batches. What follows the last whole batch is cut.
    pub(super) fn open(dir: &Path, id: u64) -> io::Result<(Self, Vec<Record>)> {
        let path = path(dir, id);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let size = file.metadata()?.len();
        let mut magic = [0; 8];
        let mut records = Vec::new();
        let mut end = 0;
        if file.read_exact_at(&mut magic, 0).is_ok() && magic == *MAGIC {
            end = MAGIC.len() as u64;
            while let Some(record) = record_at(&file, end, size) {
                end += HEADER_BYTES + u64::from(record.len);
                records.push(record);
            }
        }
        if end < size {
            tracing::warn!(path = %path.display(), bytes = size - end, "cut an incomplete batch off the spool");
            file.set_len(end)?;
        }
        if end == 0 {
            file.write_all_at(MAGIC, 0)?;
            end = MAGIC.len() as u64;
        }
        Ok((
            Self {
                id,
                file: Arc::new(file),
                len: end,
                unsynced: false,
            },
            records,
        ))
    }

    /// Adds a batch and returns its place. After an error the file is as before.
    pub(super) fn append(&mut self, unix_nanos: u64, bytes: &[u8]) -> io::Result<u64> {
        let time = unix_nanos.to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&time), bytes);
        let mut record = Vec::with_capacity(bytes.len() + HEADER_BYTES as usize);
        record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(&crc.to_le_bytes());
        record.extend_from_slice(&time);
        record.extend_from_slice(bytes);
        let offset = self.len;
        if let Err(error) = self.file.write_all_at(&record, offset) {
            // Half a record would end the segment for the next reader; without room to cut it, its checksum does the same.
            self.file.set_len(offset).unwrap_or_default();
            return Err(error);
        }
        self.len += record.len() as u64;
        self.unsynced = true;
        Ok(offset)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The file, if something was written since this was last asked.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.unsynced).then(|| self.file())
    }

    /// Removes the file. One that cannot be removed is found again, and passed over, at the next start.
    pub(super) fn remove(self, dir: &Path) {
        if let Err(error) = fs::remove_file(path(dir, self.id)) {
            tracing::warn!(segment = self.id, %error, "cannot remove a spool segment");
        }
    }
}

/// The batch at `offset`, if it is whole.
fn record_at(file: &File, offset: u64, size: u64) -> Option<Record> {
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, offset).ok()?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let fits = len as usize <= BATCH_BYTES_MAX && offset + HEADER_BYTES + u64::from(len) <= size;
    let batch = fits.then(|| read_record(file, offset, len)).flatten()?;
    Some(Record {
        offset,
        len,
        unix_nanos: little_endian(&header[UNCOVERED_BYTES..]),
        events: batch::is_events(&batch),
    })
}

/// The bytes of a batch; `None` when they cannot be read or are not those that were written.
pub(super) fn read_record(file: &File, offset: u64, len: u32) -> Option<Vec<u8>> {
    let mut record = vec![0; HEADER_BYTES as usize + len as usize];
    file.read_exact_at(&mut record, offset).ok()?;
    let crc = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
    if crc32c::crc32c(&record[UNCOVERED_BYTES..]) != crc {
        return None;
    }
    record.drain(..HEADER_BYTES as usize);
    Some(record)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Ids of the segments in the directory, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".spool"))
            .map(|id| u64::from_str_radix(id, 16));
        if let Some(Ok(id)) = id {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.spool"))
}

/// The place of the oldest batch that is not acknowledged, kept over restarts.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    position: (u64, u64),
}

impl Cursor {
    /// A cursor that is absent or broken stands at the beginning: everything is sent again.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("cursor"))?;
        let mut bytes = [0; CURSOR_BYTES];
        let position = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes).unwrap_or_default(),
            Err(_) => (0, 0),
        };
        Ok(Self { file, position })
    }

    pub(super) fn position(&self) -> (u64, u64) {
        self.position
    }

    pub(super) fn set(&mut self, position: (u64, u64)) {
        if self.position == position {
            return;
        }
        self.position = position;
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..8].copy_from_slice(&position.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.1.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        // A cursor that cannot be written costs batches that are sent twice and nothing else.
        self.file.write_all_at(&bytes, 0).unwrap_or_default();
    }
}

fn decode(bytes: &[u8; CURSOR_BYTES]) -> Option<(u64, u64)> {
    let crc = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    (crc32c::crc32c(&bytes[..16]) == crc).then(|| (little_endian(&bytes[..8]), little_endian(&bytes[8..16])))
}
