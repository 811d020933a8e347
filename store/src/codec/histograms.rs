//! Histograms of one series as bytes: columns, one a bucket, each compressed as values are. A bucket of a cumulative histogram is a
//! counter like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bits::{put_varint, take_varint};
use super::values;
use crate::histogram::row::{self, Frame, put_index, take_index};
use crate::histogram::{Bucket, CUSTOM_SCHEMA, Histogram, ResetHint};
use crate::series::STALE_NAN_BITS;

/// Columns, a segment for each way of cutting buckets.
pub(crate) const COLUMNS: u8 = 64;
/// Histogram after histogram, as in the WAL: what no column can hold.
pub(crate) const ROWS: u8 = 65;
/// The first and the last codec that is kept for histograms.
pub(crate) const FIRST: u8 = 64;
pub(crate) const LAST: u8 = 79;

/// Most histograms of one chunk.
pub(crate) const CHUNK_HISTOGRAMS_MAX: usize = 240;
/// Most numbers of one chunk: columns times histograms. Decoders refuse more, so that damaged bytes cannot ask for much memory.
const CELLS_MAX: usize = 1 << 20;
/// Columns that every segment has: hint, sum, zero count, count.
const COLUMNS_FIXED: usize = 4;

/// Whether a codec is one of histograms.
pub(crate) const fn is_histogram(codec: u8) -> bool {
    FIRST <= codec && codec <= LAST
}

/// The end of each chunk that these histograms are cut into, as an index, the last one being their number.
pub(crate) fn cuts(histograms: &[Arc<Histogram>]) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut start, mut positive, mut negative) = (0, BTreeSet::new(), BTreeSet::new());
    for (i, histogram) in histograms.iter().enumerate() {
        positive.extend(histogram.positive.iter().map(|b| b.index));
        negative.extend(histogram.negative.iter().map(|b| b.index));
        let columns = positive.len() + negative.len() + COLUMNS_FIXED;
        let count = i + 1 - start;
        if count > 1 && (count > CHUNK_HISTOGRAMS_MAX || count * columns > CELLS_MAX) {
            ends.push(i);
            start = i;
            positive = histogram.positive.iter().map(|b| b.index).collect();
            negative = histogram.negative.iter().map(|b| b.index).collect();
        }
    }
    if start < histograms.len() {
        ends.push(histograms.len());
    }
    ends
}

/// Compresses histograms, one chunk of [`cuts`]; returns the codec and the bytes.
pub(crate) fn encode(histograms: &[Arc<Histogram>]) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    for segment in segments(histograms) {
        put_segment(&mut bytes, segment);
    }
    let same = decode(COLUMNS, &bytes, histograms.len())
        .is_some_and(|found| found.iter().zip(histograms).all(|(found, given)| *found == **given));
    if same {
        return (COLUMNS, bytes);
    }
    bytes.clear();
    let mut frame = Frame::default();
    histograms.iter().for_each(|h| row::put(&mut bytes, h, &mut frame));
    (ROWS, bytes)
}

/// The `n` histograms of a chunk; `None` where the bytes are none of this codec.
pub(crate) fn decode(codec: u8, mut bytes: &[u8], n: usize) -> Option<Vec<Histogram>> {
    if !(1..=CHUNK_HISTOGRAMS_MAX).contains(&n) {
        return None;
    }
    let mut out = Vec::with_capacity(n);
    match codec {
        COLUMNS => {
            while out.len() < n {
                take_segment(&mut bytes, n - out.len(), &mut out)?;
            }
        }
        ROWS => {
            let mut frame = Frame::default();
            for _ in 0..n {
                out.push(row::take(&mut bytes, &mut frame)?);
            }
        }
        _ => return None,
    }
    bytes.is_empty().then_some(out)
}

/// Runs of histograms whose buckets are cut alike; markers of staleness go with those before them.
fn segments(histograms: &[Arc<Histogram>]) -> impl Iterator<Item = &[Arc<Histogram>]> {
    let mut rest = histograms;
    std::iter::from_fn(move || {
        let frame = Frame::of(rest.iter().find(|h| !h.is_stale()).or(rest.first())?);
        let length = rest
            .iter()
            .position(|h| !h.is_stale() && !frame.fits(h))
            .unwrap_or(rest.len());
        let (segment, tail) = rest.split_at(length);
        rest = tail;
        Some(segment)
    })
}

fn put_segment(out: &mut Vec<u8>, segment: &[Arc<Histogram>]) {
    // What stands in for markers of staleness: what was before them, which compresses best.
    let Some(mut shown) = segment.iter().find(|h| !h.is_stale()).or(segment.first()) else {
        return;
    };
    put_varint(out, segment.len() as u64);
    Frame::of(shown).put(out);
    let shown: Vec<&Histogram> = segment
        .iter()
        .map(|h| {
            if !h.is_stale() {
                shown = h;
            }
            shown.as_ref()
        })
        .collect();
    let indexes = |side: fn(&Histogram) -> &[Bucket]| -> BTreeSet<i32> {
        shown.iter().flat_map(|h| side(h)).map(|b| b.index).collect()
    };
    let sides: [fn(&Histogram) -> &[Bucket]; 2] = [|h| &h.positive, |h| &h.negative];
    let all = sides.map(indexes);
    for indexes in &all {
        put_varint(out, indexes.len() as u64);
        let mut before = None;
        for &index in indexes {
            put_index(out, before, index);
            before = Some(index);
        }
    }
    put_column(out, segment.iter().map(|h| f64::from(h.reset.number())));
    put_column(out, segment.iter().map(|h| h.sum));
    put_column(out, shown.iter().map(|h| h.zero_count));
    // Mostly the buckets hold all observations; then their difference to the count is always zero.
    let beyond: Vec<f64> = shown.iter().map(|h| h.count - row::sum_of_buckets(h)).collect();
    let exact = shown
        .iter()
        .zip(&beyond)
        .all(|(h, beyond)| (row::sum_of_buckets(h) + beyond).to_bits() == h.count.to_bits());
    out.push(exact.into());
    if exact {
        put_column(out, beyond.into_iter());
    } else {
        put_column(out, shown.iter().map(|h| h.count));
    }
    for (indexes, side) in all.iter().zip(sides) {
        for index in indexes {
            put_column(out, shown.iter().map(|h| count_of(side(h), *index)));
        }
    }
}

fn count_of(buckets: &[Bucket], index: i32) -> f64 {
    buckets
        .binary_search_by_key(&index, |b| b.index)
        .map_or(0.0, |at| buckets[at].count)
}

fn put_column(out: &mut Vec<u8>, numbers: impl Iterator<Item = f64>) {
    let numbers: Vec<f64> = numbers.collect();
    let (codec, bytes) = values::encode(&numbers);
    out.push(codec);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

fn take_segment(rest: &mut &[u8], left: usize, out: &mut Vec<Histogram>) -> Option<()> {
    let n = usize::try_from(take_varint(rest)?)
        .ok()
        .filter(|n| (1..=left).contains(n))?;
    let frame = Frame::take(rest)?;
    let mut sides = [Vec::new(), Vec::new()];
    for indexes in &mut sides {
        let count = take_varint(rest)?;
        // A byte each at least.
        if count > rest.len() as u64 {
            return None;
        }
        let mut before = None;
        for _ in 0..count {
            before = Some(take_index(rest, before)?);
            indexes.extend(before);
        }
    }
    let columns = sides.iter().map(Vec::len).sum::<usize>() + COLUMNS_FIXED;
    if n > 1 && n.checked_mul(columns)? > CELLS_MAX {
        return None;
    }
    let mut column = Vec::with_capacity(n);
    let take = |rest: &mut &[u8], column: &mut Vec<f64>| take_column(rest, n, column);
    let start = out.len();
    take(rest, &mut column)?;
    out.extend(column.iter().map(|hint| Histogram {
        reset: ResetHint::of_number(*hint as u8),
        schema: frame.schema,
        zero_threshold: frame.zero_threshold,
        bounds: frame.bounds.clone(),
        ..Histogram::default()
    }));
    let found = &mut out[start..];
    take(rest, &mut column)?;
    found.iter_mut().zip(&column).for_each(|(h, sum)| h.sum = *sum);
    take(rest, &mut column)?;
    found.iter_mut().zip(&column).for_each(|(h, zero)| h.zero_count = *zero);
    let (&beyond, tail) = rest.split_first()?;
    *rest = tail;
    take(rest, &mut column)?;
    found.iter_mut().zip(&column).for_each(|(h, count)| h.count = *count);
    for (negative, indexes) in sides.iter().enumerate() {
        if negative == 1 && frame.schema == CUSTOM_SCHEMA && !indexes.is_empty() {
            return None;
        }
        for &index in indexes {
            take(rest, &mut column)?;
            for (h, &count) in found.iter_mut().zip(&column).filter(|(_, count)| **count != 0.0) {
                let side = if negative == 1 {
                    &mut h.negative
                } else {
                    &mut h.positive
                };
                side.push(Bucket { index, count });
            }
        }
    }
    for h in found {
        if h.sum.to_bits() == STALE_NAN_BITS {
            *h = Histogram {
                reset: h.reset,
                ..Histogram::stale()
            };
        } else if beyond != 0 {
            h.count += row::sum_of_buckets(h);
        }
    }
    Some(())
}

fn take_column(rest: &mut &[u8], n: usize, column: &mut Vec<f64>) -> Option<()> {
    let (&codec, tail) = rest.split_first()?;
    *rest = tail;
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    column.clear();
    values::decode(codec, bytes, n, column)?;
    (column.len() == n).then_some(())
}
