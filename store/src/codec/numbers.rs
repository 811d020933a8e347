//! Integers as bytes: packed differences of order 0 to 2, and pco.

use std::cell::RefCell;
use std::ops::Range;

use pco::data_types::Number;
use pco::metadata::DeltaEncoding;
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, DeltaSpec, PagingSpec};

use super::bits::{pack, packed_len, put_varint, take_varint, unpack, unzigzag, varint_len, zigzag};

/// Level 6 is 0.1 % smaller at 480 numbers and 0.8 % at 1,440, where it takes half as much time again to write and to read.
const PCO_LEVEL: usize = 4;

/// pco's mode `Dict` makes room for a number of entries that the bytes claim; we never write it, so that it is refused.
const PCO_MODE_DICT: u8 = 4;

/// No encoder uses a larger window on so few numbers, and a window is memory.
const PCO_WINDOW_LOG_MAX: u32 = 15;

/// Numbers of a page but the last. A query over the last minutes reads one page, one over the last hour of 15 s samples one or two;
/// half of it would read a little less and cost 2 % in bytes.
const PAGE: usize = 512;

/// pco reads a page in steps of so many numbers.
const BATCH: usize = 256;

/// Numbers that [`spread`] looks at together.
const SPREAD_BLOCK: usize = 64;

/// Highest order of differences.
const ORDER_MAX: u8 = 2;

/// Integers as packed differences, not yet written.
#[derive(Debug)]
pub(crate) struct Packed {
    /// How often differences were taken.
    order: u8,
    /// How often pco should take them. It pays for a few wild differences, as where a counter starts anew, by themselves; here the
    /// least of all widens every block, so that another order may be the smallest.
    pub(crate) pco_order: u8,
    first: [i64; ORDER_MAX as usize],
    least: i64,
    factor: u64,
    residuals: Vec<u64>,
    /// Bytes that [`Packed::write`] appends.
    pub(crate) len: usize,
}

impl Packed {
    /// The smallest of the orders 0 to 2.
    pub(crate) fn smallest(numbers: &[i64]) -> Self {
        let mut best = Self::of_order(numbers, 0, [0; 2], numbers);
        let (mut narrowest, mut pco_order) = (spread(numbers), 0);
        let mut differences = numbers.to_vec();
        let mut first = [0; 2];
        for order in 1..=ORDER_MAX {
            let Some(&head) = differences.first() else { break };
            first[usize::from(order) - 1] = head;
            for i in 1..differences.len() {
                // From the back, so that each place is read before it is overwritten.
                let at = differences.len() - i;
                differences[at] = differences[at].wrapping_sub(differences[at - 1]);
            }
            differences.remove(0);
            let next = Self::of_order(numbers, order, first, &differences);
            if next.len < best.len {
                best = next;
            }
            let width = spread(&differences);
            if width < narrowest {
                (narrowest, pco_order) = (width, order);
            }
        }
        best.pco_order = pco_order;
        best
    }

    fn of_order(numbers: &[i64], order: u8, first: [i64; 2], differences: &[i64]) -> Self {
        let least = differences.iter().copied().min().unwrap_or(0);
        let mut residuals: Vec<u64> = differences.iter().map(|d| d.wrapping_sub(least) as u64).collect();
        let factor = residuals.iter().copied().try_fold(0, |all, r| match gcd(all, r) {
            1 => Err(1),
            more => Ok(more),
        });
        let factor = factor.unwrap_or_else(|one| one).max(1);
        if factor > 1 {
            residuals.iter_mut().for_each(|r| *r /= factor);
        }
        let firsts: usize = first[..usize::from(order).min(numbers.len())]
            .iter()
            .map(|&f| varint_len(zigzag(f)))
            .sum();
        let len = 1 + firsts + varint_len(zigzag(least)) + varint_len(factor) + packed_len(&residuals);
        Self {
            order,
            pco_order: order,
            first,
            least,
            factor,
            residuals,
            len,
        }
    }

    /// Appends: order, the first difference of each order below it, the least difference, the common factor, residuals.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.order);
        for &first in &self.first[..usize::from(self.order)] {
            put_varint(out, zigzag(first));
        }
        put_varint(out, zigzag(self.least));
        put_varint(out, self.factor);
        pack(out, &self.residuals);
    }
}

/// Appends `n` integers that [`Packed::write`] wrote.
pub(crate) fn unpack_numbers(bytes: &mut &[u8], n: usize, out: &mut Vec<i64>) -> Option<()> {
    let (&order, rest) = bytes.split_first()?;
    *bytes = rest;
    if order > ORDER_MAX || usize::from(order) > n {
        return None;
    }
    let mut first = [0; ORDER_MAX as usize];
    for place in &mut first[..usize::from(order)] {
        *place = unzigzag(take_varint(bytes)?);
    }
    let least = unzigzag(take_varint(bytes)?);
    let factor = take_varint(bytes)?;
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.residuals.clear();
        unpack(bytes, n - usize::from(order), &mut scratch.residuals)?;
        let differences = scratch
            .residuals
            .iter()
            .map(|r| (r.wrapping_mul(factor) as i64).wrapping_add(least));
        match order {
            0 => out.extend(differences),
            1 => {
                let mut number = first[0];
                out.push(number);
                out.extend(differences.map(|d| {
                    number = number.wrapping_add(d);
                    number
                }));
            }
            _ => {
                let (mut number, mut step) = (first[0], first[1]);
                out.push(number);
                number = number.wrapping_add(step);
                out.push(number);
                out.extend(differences.map(|d| {
                    step = step.wrapping_add(d);
                    number = number.wrapping_add(step);
                    number
                }));
            }
        }
        Some(())
    })
}

/// Bits of the numbers, each less the least of those around it.
fn spread(numbers: &[i64]) -> usize {
    let bits = |block: &[i64]| {
        let least = block.iter().copied().min().unwrap_or(0);
        let most = block.iter().copied().max().unwrap_or(0);
        block.len() * (64 - most.wrapping_sub(least).leading_zeros() as usize)
    };
    numbers.chunks(SPREAD_BLOCK).map(bits).sum()
}

/// How pco compresses. Finding the order of differences by itself is half of its work; told [`Packed::pco_order`], sizes stay within
/// 0.2 % of that.
fn pco_config(order: Option<u8>) -> ChunkConfig {
    let delta = match order {
        None => DeltaSpec::Auto,
        Some(0) => DeltaSpec::NoOp,
        Some(order) => DeltaSpec::TryConsecutive(order.into()),
    };
    ChunkConfig::default()
        .with_compression_level(PCO_LEVEL)
        .with_delta_spec(delta)
}

/// Appends the numbers as one wrapped pco file of one chunk and one page; `None` where pco refuses them.
pub(crate) fn pco_write<T: Number>(numbers: &[T], order: Option<u8>, out: &mut Vec<u8>) -> Option<()> {
    let config = pco_config(order);
    let file = FileCompressor::default();
    file.write_header(&mut *out).ok()?;
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    if chunk.n_per_page().len() != 1 {
        return None;
    }
    chunk.write_meta(&mut *out).ok()?;
    chunk.write_page(0, &mut *out).ok()?;
    Some(())
}

/// Whether so many numbers are worth several pages.
pub(crate) fn is_paged(n: usize) -> bool {
    n >= PAGE + PAGE / 2
}

/// As [`pco_write`], in pages that can be read alone, behind their lengths; for numbers of which [`is_paged`].
pub(crate) fn pco_write_pages<T: Number>(numbers: &[T], order: Option<u8>, out: &mut Vec<u8>) -> Option<()> {
    let sizes: Vec<usize> = numbers.chunks(PAGE).map(<[T]>::len).collect();
    let config = pco_config(order).with_paging_spec(PagingSpec::Exact(sizes.clone()));
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    let mut body = Vec::new();
    file.write_header(&mut body).ok()?;
    chunk.write_meta(&mut body).ok()?;
    put_varint(out, PAGE as u64);
    for page in 0..sizes.len() {
        let before = body.len();
        chunk.write_page(page, &mut body).ok()?;
        if page + 1 < sizes.len() {
            put_varint(out, (body.len() - before) as u64);
        }
    }
    out.extend_from_slice(&body);
    Some(())
}

/// Appends the numbers `wanted` of the `n` that [`pco_write_pages`] wrote.
pub(crate) fn pco_read_pages<T: Number>(
    mut bytes: &[u8],
    n: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Option<()> {
    let size = usize::try_from(take_varint(&mut bytes)?).ok()?;
    if size == 0 || !size.is_multiple_of(BATCH) {
        return None;
    }
    let pages = n.div_ceil(size);
    let mut lengths = Vec::with_capacity(pages);
    for _ in 1..pages {
        lengths.push(usize::try_from(take_varint(&mut bytes)?).ok()?);
    }
    let (chunk, mut rest) = pco_chunk::<T>(bytes)?;
    for page in 0..pages {
        let (first, end) = (page * size, n.min((page + 1) * size));
        let bytes = match lengths.get(page) {
            Some(&length) => {
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                bytes
            }
            None => std::mem::take(&mut rest),
        };
        if end <= wanted.start || first >= wanted.end {
            continue;
        }
        // Up to the last wanted number, in whole steps.
        let steps = (wanted.end.min(end) - first).next_multiple_of(BATCH).min(end - first);
        let base = out.len();
        out.resize(base + steps, T::default());
        SCRATCH.with_borrow_mut(|scratch| {
            let mut page = chunk
                .page_decompressor_with_scratch(bytes, end - first, &mut scratch.pco)
                .ok()?;
            let progress = page.read(&mut out[base..]).ok()?;
            let whole = steps == end - first;
            (progress.n_processed == steps && progress.finished == whole && (!whole || page.into_src().is_empty()))
                .then_some(())
        })?;
        out.truncate(base + wanted.end.min(end) - first);
        if wanted.start > first {
            out.drain(base..base + wanted.start - first);
        }
    }
    Some(())
}

/// The chunk of a wrapped pco file, and its pages. Refused is what makes much memory and what we never write.
fn pco_chunk<T: Number>(bytes: &[u8]) -> Option<(ChunkDecompressor<T>, &[u8])> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    if rest.first()? & 0x0f == PCO_MODE_DICT {
        return None;
    }
    let (chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    match &chunk.meta().delta_encoding {
        DeltaEncoding::NoOp | DeltaEncoding::Consecutive { .. } => {}
        DeltaEncoding::Lookback { config, .. } if config.window_n_log <= PCO_WINDOW_LOG_MAX => {}
        _ => return None,
    }
    Some((chunk, rest))
}

/// Fills `out` with the numbers that [`pco_write`] wrote; bytes must end with them.
pub(crate) fn pco_read<T: Number>(bytes: &[u8], out: &mut [T]) -> Option<()> {
    let (chunk, rest) = pco_chunk::<T>(bytes)?;
    SCRATCH.with_borrow_mut(|scratch| {
        let n = out.len();
        let mut page = chunk.page_decompressor_with_scratch(rest, n, &mut scratch.pco).ok()?;
        let progress = page.read(out).ok()?;
        (progress.finished && progress.n_processed == n && page.into_src().is_empty()).then_some(())
    })
}

#[derive(Default)]
struct Scratch {
    residuals: Vec<u64>,
    pco: DecompressorScratch,
}

thread_local! {
    // Decoding runs on every query thread, chunk after chunk; its buffers stay.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
