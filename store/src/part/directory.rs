//! Where each chunk of a row group lies in the file: read once from the small columns, held while there is room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{
    DataType, Field, Int32Type, Schema, SchemaRef, TimestampMillisecondType, UInt8Type, UInt32Type,
};
use parking_lot::{Mutex, RwLock};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::file::PartFile;
use super::times::{self, Times};
use super::writer;
use crate::codec::timestamps;

/// Bytes of directories that the process holds, over all parts; 40 bytes a chunk and the timestamps of a row group.
const HELD_BYTES_MAX: usize = 96 << 20;

/// A chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) t_min: i64,
    pub(super) t_max: i64,
    /// Position of its values in the file, and their length.
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) crc: u32,
    /// Which timestamps of the directory are its.
    ts: u32,
    pub(super) n: u16,
    pub(super) codec: u8,
}

/// The chunks of a row group.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) entries: Box<[Entry]>,
    /// Distinct timestamps, encoded.
    timestamps: BinaryArray,
    // No other directory of this process has it.
    number: u64,
}

impl Directory {
    /// The encoded timestamps of a chunk.
    pub(super) fn timestamps_of(&self, entry: &Entry) -> &[u8] {
        self.timestamps.value(entry.ts as usize)
    }

    /// The timestamps of a chunk, where they can be held decoded; `encoded` are what [`Directory::timestamps_of`] answers.
    pub(super) fn times_of(&self, entry: &Entry, encoded: &[u8]) -> Option<Arc<Times>> {
        if timestamps::are_regular(encoded) {
            // Decoded faster than found.
            return None;
        }
        times::held((self.number, entry.ts, entry.n), |out| {
            timestamps::decode(encoded, usize::from(entry.n), out).is_some()
        })
    }

    fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.timestamps.get_array_memory_size()
    }

    /// Reads the directory of row group `group`.
    pub(super) fn read(file: &PartFile, metadata: &ArrowReaderMetadata, group: usize) -> Result<Self, ParquetError> {
        let rows = usize::try_from(metadata.metadata().row_group(group).num_rows()).unwrap_or(0);
        let columns = ["t_min", "t_max", "n", "ts", "codec", "size", "crc"];
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone())
            .with_projection(ProjectionMask::columns(metadata.parquet_schema(), columns))
            .with_row_groups(vec![group])
            // One batch, so that there is one dictionary.
            .with_batch_size(rows.max(1))
            .build()?;
        let batch = reader.next().ok_or_else(|| general("row group is empty"))??;
        if batch.num_rows() != rows {
            return Err(general("row group is shorter than its footer says"));
        }
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| general("a column is missing"));
        let t_min = column("t_min")?.as_primitive::<TimestampMillisecondType>().values();
        let t_max = column("t_max")?.as_primitive::<TimestampMillisecondType>().values();
        let n = column("n")?.as_primitive::<UInt32Type>().values();
        let ts = column("ts")?.as_dictionary::<Int32Type>();
        let codec = column("codec")?.as_primitive::<UInt8Type>().values();
        let size = column("size")?.as_primitive::<UInt32Type>().values();
        let crc = column("crc")?.as_primitive::<UInt32Type>().values();
        let offsets = offsets(metadata, group, size, file.len())?;

        let timestamps = ts
            .values()
            .as_binary_opt::<i32>()
            .ok_or_else(|| general("timestamps are no bytes"))?
            .clone();
        let entries = (0..rows)
            .map(|i| {
                let key = u32::try_from(ts.keys().value(i))
                    .ok()
                    .filter(|&k| (k as usize) < timestamps.len());
                Ok(Entry {
                    t_min: t_min[i],
                    t_max: t_max[i],
                    offset: offsets[i],
                    size: size[i],
                    crc: crc[i],
                    ts: key.ok_or_else(|| general("a chunk has timestamps that do not exist"))?,
                    n: u16::try_from(n[i]).map_err(|_| general("a chunk has too many samples"))?,
                    codec: codec[i],
                })
            })
            .collect::<Result<_, ParquetError>>()?;
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            entries,
            timestamps,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// The schema to read chunk rows with: as written, but timestamps stay a dictionary.
pub(super) fn read_schema() -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary));
    let fields = writer::schema()
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "ts" => Arc::new(Field::new("ts", dictionary.clone(), false)),
            _ => Arc::clone(field),
        })
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// Where the values of each row begin.
///
/// A page of a required, plainly encoded, uncompressed column is a header and then, for each value, four bytes of length and the
/// value. The offset index gives position and size of pages, the sizes of values those of their bodies, so that what is left of
/// a page is its header.
fn offsets(
    metadata: &ArrowReaderMetadata,
    group: usize,
    sizes: &[u32],
    file_len: u64,
) -> Result<Vec<u64>, ParquetError> {
    let metadata = metadata.metadata();
    let column = metadata
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .position(|c| c.name() == "values");
    let column = column.ok_or_else(|| general("column `values` is missing"))?;
    let index = metadata.offset_index().and_then(|index| index.get(group)?.get(column));
    let pages = index
        .ok_or_else(|| general("column `values` has no offset index"))?
        .page_locations();

    let mut offsets = Vec::with_capacity(sizes.len());
    for (i, page) in pages.iter().enumerate() {
        let first = usize::try_from(page.first_row_index)
            .ok()
            .filter(|&first| first == offsets.len());
        let first = first.ok_or_else(|| general("pages of `values` do not follow each other"))?;
        let end = match pages.get(i + 1) {
            Some(next) => usize::try_from(next.first_row_index).unwrap_or(0),
            None => sizes.len(),
        };
        let sizes = sizes
            .get(first..end)
            .ok_or_else(|| general("pages of `values` do not follow each other"))?;
        let body: u64 = sizes.iter().map(|&size| 4 + u64::from(size)).sum();
        let (start, len) = (
            page.offset.cast_unsigned(),
            u64::from(page.compressed_page_size.cast_unsigned()),
        );
        let end = start.checked_add(len).filter(|&end| end <= file_len && body < len);
        let mut at = end.ok_or_else(|| general("a page of `values` and its sizes differ"))? - body;
        for &size in sizes {
            offsets.push(at + 4);
            at += 4 + u64::from(size);
        }
    }
    if offsets.len() == sizes.len() {
        Ok(offsets)
    } else {
        Err(general("pages of `values` end early"))
    }
}

fn general(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Place for the directory of one row group.
#[derive(Debug, Default)]
pub(super) struct Slot {
    held: RwLock<Option<Arc<Directory>>>,
    /// Used since the hand of the clock came by.
    used: AtomicBool,
}

impl Slot {
    /// The directory, by `read` where it is not held.
    pub(super) fn get<E>(self: &Arc<Self>, read: impl FnOnce() -> Result<Directory, E>) -> Result<Arc<Directory>, E> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(directory) = &*self.held.read() {
            return Ok(Arc::clone(directory));
        }
        // Two threads may read the same one; the later result replaces an equal one.
        let directory = Arc::new(read()?);
        let before = self.held.write().replace(Arc::clone(&directory));
        if before.is_none() {
            HELD.lock().add(self, directory.bytes());
        }
        Ok(directory)
    }
}

/// All slots that hold a directory; where they hold too much, the hand of a clock goes round and empties what was not used since
/// it came by last.
struct Held {
    slots: VecDeque<(Weak<Slot>, usize)>,
    bytes: usize,
}

static HELD: Mutex<Held> = Mutex::new(Held {
    slots: VecDeque::new(),
    bytes: 0,
});

impl Held {
    fn add(&mut self, slot: &Arc<Slot>, bytes: usize) {
        self.slots.push_back((Arc::downgrade(slot), bytes));
        self.bytes += bytes;
        // Twice round at most: the first time takes the marks away.
        for _ in 0..2 * self.slots.len() {
            if self.bytes <= HELD_BYTES_MAX {
                break;
            }
            let Some((weak, bytes)) = self.slots.pop_front() else {
                break;
            };
            match weak.upgrade() {
                Some(slot) if slot.used.swap(false, Ordering::Relaxed) => self.slots.push_back((weak, bytes)),
                Some(slot) => {
                    *slot.held.write() = None;
                    self.bytes -= bytes;
                }
                None => self.bytes -= bytes,
            }
        }
    }
}
