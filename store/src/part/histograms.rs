//! Chunks of histograms of a part.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::directory::Entry;
use super::reader::Part;
use super::writer::HISTOGRAM_CODECS;
use super::{FORMAT_VERSION_HISTOGRAMS, PartError};
use crate::TimeRange;
use crate::chunk::ChunkError;
use crate::codec::histograms::{decode, is_histogram};
use crate::histogram::Histograms;

/// Which series of a part have histograms: found when it is first asked for.
#[derive(Debug)]
pub(super) enum HistogramRows {
    None,
    Some(OnceLock<RoaringBitmap>),
}

impl HistogramRows {
    /// Those of a part of this version, whose footer names these codecs.
    pub(super) fn of(version: u32, codecs: Option<&str>) -> Self {
        // Later versions have them where the footer says so.
        let named = codecs.is_none_or(|codecs| codecs.contains(HISTOGRAM_CODECS));
        match version {
            ..FORMAT_VERSION_HISTOGRAMS => Self::None,
            FORMAT_VERSION_HISTOGRAMS => Self::Some(OnceLock::new()),
            _ if named => Self::Some(OnceLock::new()),
            _ => Self::None,
        }
    }

    pub(super) fn are_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Part {
    /// Whether any of its series has histograms.
    pub(crate) fn may_have_histograms(&self) -> bool {
        !self.histograms.are_none()
    }

    /// Whether series `row` has histograms; where that cannot be read, it is said to have, and reading them tells why.
    pub(crate) fn has_histograms(&self, row: u32) -> bool {
        let HistogramRows::Some(rows) = &self.histograms else {
            return false;
        };
        if let Some(rows) = rows.get() {
            return rows.contains(row);
        }
        match self.histogram_rows() {
            Ok(found) => rows.get_or_init(|| found).contains(row),
            Err(_) => true,
        }
    }

    fn histogram_rows(&self) -> Result<RoaringBitmap, PartError> {
        let mut rows = RoaringBitmap::new();
        for (number, group) in self.groups.iter().enumerate() {
            let directory = self.directory(number)?;
            for (i, entry) in directory.entries.iter().enumerate() {
                if is_histogram(entry.codec) {
                    let chunk = group.first_row + i as u64;
                    // The last series whose chunks begin at or before this one.
                    let row = self.table.first_chunk.partition_point(|first| *first <= chunk) - 1;
                    rows.insert(row as u32);
                }
            }
        }
        Ok(rows)
    }

    /// Appends the histograms of series `row` within `range`, ascending.
    ///
    /// # Errors
    /// [`PartError`] where they cannot be read or are damaged; `out` then holds those before.
    pub(crate) fn read_histograms(&self, row: u32, range: TimeRange, out: &mut Histograms) -> Result<(), PartError> {
        if !range.overlaps(self.meta().t_min, self.meta().t_max) || !self.has_histograms(row) {
            return Ok(());
        }
        self.read_histogram_chunks(self.chunks_of(row)?, range, out)
    }

    fn read_histogram_chunks(
        &self,
        mut rows: Range<u64>,
        range: TimeRange,
        out: &mut Histograms,
    ) -> Result<(), PartError> {
        let mut bytes = Vec::new();
        while rows.start < rows.end {
            let number = self.groups.partition_point(|group| group.first_row <= rows.start) - 1;
            let first = self.groups[number].first_row;
            let directory = self.directory(number)?;
            let end = rows.end.min(first + directory.entries.len() as u64);
            if end <= rows.start {
                return Err(self.damaged(format!("it has no chunk row {}", rows.start)));
            }
            let chunks = rows.start..end;
            rows.start = end;
            for chunk in chunks {
                let entry = &directory.entries[(chunk - first) as usize];
                if !is_histogram(entry.codec) || !range.overlaps(entry.t_min, entry.t_max) {
                    continue;
                }
                bytes.resize(entry.size as usize, 0);
                self.file
                    .read_exact_at(&mut bytes, entry.offset)
                    .map_err(|source| PartError::io("read", &self.path, source))?;
                self.decode_histograms(directory.timestamps_of(entry), entry, &bytes, chunk, range, out)?;
            }
        }
        Ok(())
    }

    fn decode_histograms(
        &self,
        ts: &[u8],
        entry: &Entry,
        values: &[u8],
        row: u64,
        range: TimeRange,
        out: &mut Histograms,
    ) -> Result<(), PartError> {
        let timestamps = self.timestamps(entry, row, ts, values)?;
        let histograms = decode(entry.codec, values, timestamps.len())
            .ok_or_else(|| self.unreadable(row, ChunkError::Values { codec: entry.codec }))?;
        let mut found = Histograms {
            timestamps,
            values: histograms.into_iter().map(Arc::new).collect(),
        };
        found.keep(range.start.0, range.end.0);
        out.overlay(found);
        Ok(())
    }
}
