//! Chunks of rollups of a part: all that a part of rollups has beside histograms.

use std::ops::Range;
use std::path::Path;

use super::directory::Entry;
use super::reader::{Part, footer_value, open_chunks};
use super::writer::{PartWriter, key};
use super::{Level, PartError, PartId};
use crate::TimeRange;
use crate::chunk::{Chunk, ChunkError};
use crate::codec::rollups::{CHUNK_BUCKETS, ROLLUP, Wanted, decode, encode};
use crate::histogram::Histograms;
use crate::rollup::{Buckets, RESOLUTIONS, RollupMeta, end_of};

/// Where the files of rollups lie, as the files of parts do in the directory of a store.
pub(crate) fn rollups_dir(dir: &Path) -> std::path::PathBuf {
    dir.join("rollups")
}

impl PartWriter {
    /// Starts a part of rollups; `dir` is what [`rollups_dir`] says.
    pub(crate) fn create_rollup(
        dir: &Path,
        id: PartId,
        level: Level,
        tenant: &str,
        resolution_ms: i64,
    ) -> Result<Self, PartError> {
        let mut writer = Self::create(dir, id, level, tenant)?;
        writer.resolution_ms = Some(resolution_ms);
        Ok(writer)
    }

    /// Adds what there is of the series that was added last, in the order of time. Of a bucket in which there are histograms, they count.
    ///
    /// # Errors
    /// [`PartError::Order`] where ends or timestamps do not ascend.
    pub(crate) fn rolled(&mut self, row: u32, buckets: &Buckets, histograms: &Histograms) -> Result<(), PartError> {
        let resolution_ms = self.resolution_ms.unwrap_or(RESOLUTIONS[0]);
        let (mut bucket, mut histogram) = (0, 0);
        while histogram < histograms.len() {
            // Buckets up to the one of the next histogram, then histograms up to the next bucket.
            let end = end_of(histograms.timestamps[histogram], resolution_ms);
            let before = buckets.ends.partition_point(|e| *e < end).max(bucket);
            self.buckets(row, buckets, bucket..before, resolution_ms)?;
            bucket = before + usize::from(buckets.ends.get(before) == Some(&end));
            let next = buckets.ends.get(bucket).map_or(i64::MAX, |end| end - resolution_ms);
            let to = histogram
                + histograms.timestamps[histogram..]
                    .partition_point(|t| *t <= next)
                    .max(1);
            self.histograms(
                row,
                &histograms.timestamps[histogram..to],
                &histograms.values[histogram..to],
            )?;
            histogram = to;
        }
        self.buckets(row, buckets, bucket..buckets.len(), resolution_ms)
    }

    fn buckets(
        &mut self,
        row: u32,
        buckets: &Buckets,
        places: Range<usize>,
        resolution_ms: i64,
    ) -> Result<(), PartError> {
        let mut start = places.start;
        while start < places.end {
            // Cut at fixed times, so that the series of a host share the bytes of the ends.
            let slot = |end: i64| (end - 1).div_euclid(resolution_ms * CHUNK_BUCKETS as i64);
            let number = slot(buckets.ends[start]);
            let end = start + buckets.ends[start..places.end].partition_point(|end| slot(*end) == number);
            let some = buckets.slice(start..end, resolution_ms);
            self.check_order(row, some.ends[0])?;
            if some.ends.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(self.order("ends of buckets do not ascend".to_owned()));
            }
            let chunk = Chunk {
                t_min: some.ends[0],
                t_max: some.ends[some.len() - 1],
                n: some.len() as u32,
                ts: self.known.encode(&some.ends),
                codec: ROLLUP,
                values: encode(&some),
            };
            self.write_chunk(&chunk)?;
            start = end;
        }
        Ok(())
    }
}

impl Part {
    /// Appends the buckets of series `row` that end within `range`, or what is wanted of them.
    ///
    /// # Errors
    /// [`PartError`] where they cannot be read or are damaged; `out` then holds those before.
    pub(crate) fn read_buckets(
        &self,
        row: u32,
        range: TimeRange,
        wanted: Wanted,
        out: &mut Buckets,
    ) -> Result<(), PartError> {
        if !range.overlaps(self.meta().t_min, self.meta().t_max) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for chunk in self.chunks_of(row)? {
            let number = self.groups.partition_point(|group| group.first_row <= chunk) - 1;
            let directory = self.directory(number)?;
            let place = (chunk - self.groups[number].first_row) as usize;
            let Some(entry) = directory.entries.get(place) else {
                return Err(self.damaged(format!("it has no chunk row {chunk}")));
            };
            if entry.codec != ROLLUP || !range.overlaps(entry.t_min, entry.t_max) {
                continue;
            }
            bytes.resize(entry.size as usize, 0);
            self.file
                .read_exact_at(&mut bytes, entry.offset)
                .map_err(|source| PartError::io("read", &self.path, source))?;
            let mut found = self.decode_buckets(directory.timestamps_of(entry), entry, &bytes, chunk, wanted)?;
            found.keep(range, self.resolution_ms);
            out.append(&mut found);
        }
        Ok(())
    }

    fn decode_buckets(
        &self,
        ts: &[u8],
        entry: &Entry,
        values: &[u8],
        row: u64,
        wanted: Wanted,
    ) -> Result<Buckets, PartError> {
        let ends = self.timestamps(entry, row, ts, values)?;
        if !(1..=CHUNK_BUCKETS).contains(&usize::from(entry.n)) {
            return Err(self.unreadable(row, ChunkError::Samples { n: u32::from(entry.n) }));
        }
        decode(values, ends, wanted).ok_or_else(|| self.unreadable(row, ChunkError::Values { codec: entry.codec }))
    }

    /// Reads all of a part of rollups; returns what is wrong with it, at most a hundred things.
    pub(crate) fn verify_rollups(&self) -> Vec<PartError> {
        self.verify_series(|row| {
            let (mut buckets, mut histograms) = (Buckets::default(), Histograms::default());
            self.read_buckets(row, TimeRange::ALL, Wanted::All, &mut buckets)?;
            self.read_histograms(row, TimeRange::ALL, &mut histograms)?;
            let ascends = [&buckets.ends, &buckets.kept.timestamps, &histograms.timestamps]
                .iter()
                .all(|times| times.is_sorted_by(|a, b| a < b));
            Ok((buckets.len() + histograms.len(), ascends))
        })
    }

    /// What the manifest says about a part of rollups, from its own footer and the sizes of its files.
    ///
    /// # Errors
    /// [`PartError`] where its files are no such part.
    pub(crate) fn read_rollup_meta(dir: &Path, id: PartId) -> Result<RollupMeta, PartError> {
        let part = Self::read_meta(dir, id)?;
        let path = super::chunks_path(dir, id);
        let (_, metadata) = open_chunks(&path)?;
        let resolution_ms = footer_value(&metadata, key::RESOLUTION).and_then(|text| text.parse().ok());
        match resolution_ms.filter(|ms| RESOLUTIONS.contains(ms)) {
            Some(resolution_ms) => Ok(RollupMeta { resolution_ms, part }),
            None => Err(PartError::Damaged {
                path,
                what: "its footer does not say how long its buckets are".to_owned(),
            }),
        }
    }
}
