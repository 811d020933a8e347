//! Rollups of one series as bytes: columns of what buckets say, each compressed as values are, then the samples that are kept.

use super::bits::{put_varint, take_varint};
use super::{timestamps, values};
use crate::rollup::Buckets;
use crate::rollup::read::RolledColumn;

/// Buckets. Where they end stands in the chunk's timestamps.
pub(crate) const ROLLUP: u8 = 80;

/// Most buckets of one chunk: five days of five minutes, sixty days of hours.
pub(crate) const CHUNK_BUCKETS: usize = 1440;
/// Most samples that are kept of a bucket: the first, four around resets, the last one and a marker. Decoders refuse more, so that damaged
/// bytes cannot ask for much memory.
const KEPT_MAX: usize = 8;

/// What is wanted of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Kept samples alone.
    Kept,
    /// Counts, and one column beside them.
    Column(RolledColumn),
    /// Counts, sums, least and greatest alone.
    Columns,
    /// All.
    All,
}

impl Wanted {
    fn has(self, column: RolledColumn) -> bool {
        match self {
            Self::Kept => false,
            Self::Column(wanted) => column == wanted || column == RolledColumn::Count,
            Self::Columns | Self::All => true,
        }
    }

    fn has_kept(self) -> bool {
        matches!(self, Self::Kept | Self::All)
    }
}

/// Compresses the buckets of one chunk, but for their ends; bit for bit.
pub(crate) fn encode(buckets: &Buckets) -> Vec<u8> {
    let mut out = Vec::new();
    for column in RolledColumn::ALL {
        put_column(&mut out, buckets.column(column));
    }
    put_varint(&mut out, buckets.kept.len() as u64);
    if !buckets.kept.is_empty() {
        let times = timestamps::encode(&buckets.kept.timestamps);
        put_varint(&mut out, times.len() as u64);
        out.extend_from_slice(&times);
        put_column(&mut out, &buckets.kept.values);
    }
    out
}

fn put_column(out: &mut Vec<u8>, column: &[f64]) {
    let (codec, bytes) = values::encode(column);
    out.push(codec);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

/// What is wanted of the buckets that end at `ends`; what is not is empty. `None` where the bytes are none of this codec.
pub(crate) fn decode(mut bytes: &[u8], ends: Vec<i64>, wanted: Wanted) -> Option<Buckets> {
    let n = ends.len();
    let mut found = Buckets {
        ends,
        ..Buckets::default()
    };
    for column in RolledColumn::ALL {
        take_column(&mut bytes, n, wanted.has(column).then(|| found.column_mut(column)))?;
    }
    let kept = usize::try_from(take_varint(&mut bytes)?).ok()?;
    if kept > n.checked_mul(KEPT_MAX)? {
        return None;
    }
    if kept > 0 {
        let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (times, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if wanted.has_kept() {
            timestamps::decode(times, kept, &mut found.kept.timestamps)?;
            take_column(&mut bytes, kept, Some(&mut found.kept.values))?;
        } else {
            take_column(&mut bytes, kept, None)?;
        }
    }
    bytes.is_empty().then_some(found)
}

/// Reads `n` values, or passes over them.
fn take_column(bytes: &mut &[u8], n: usize, out: Option<&mut Vec<f64>>) -> Option<()> {
    let (&codec, rest) = bytes.split_first()?;
    *bytes = rest;
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (column, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    match out {
        Some(out) => values::decode(codec, column, n, out),
        None => Some(()),
    }
}
