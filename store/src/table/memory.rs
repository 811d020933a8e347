//! Rows that are in no file yet.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

/// Batches grow together up to this many rows and bytes, so that many small ones cost no more than their rows.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: u64 = 8 << 20;

/// Rows of one table, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Memory {
    batches: Vec<RecordBatch>,
    // Bytes of each of them, about.
    sizes: Vec<u64>,
    rows: u64,
    bytes: u64,
}

impl Memory {
    /// Adds rows; `bytes` is what they take, about.
    pub(super) fn push(&mut self, rows: RecordBatch, bytes: u64) {
        self.rows += rows.num_rows() as u64;
        self.bytes += bytes;
        self.batches.push(rows);
        self.sizes.push(bytes);
        // Neighbours of like size become one: each row is copied a few times at most, and few batches are left.
        while let ([.., a, b], [.., x, y]) = (self.batches.as_slice(), self.sizes.as_slice()) {
            let size = x + y;
            if a.num_rows() > 2 * b.num_rows() || a.num_rows() + b.num_rows() > BATCH_ROWS || size > BATCH_BYTES {
                break;
            }
            // They have one schema, and so many bytes fit into any offset: should it fail nevertheless, two are as good.
            let Ok(both) = concat_batches(&a.schema(), [a, b]) else {
                break;
            };
            self.batches.truncate(self.batches.len() - 2);
            self.sizes.truncate(self.sizes.len() - 2);
            self.batches.push(both);
            self.sizes.push(size);
        }
    }

    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
