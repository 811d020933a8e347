//! Timestamps as bytes. Equal timestamps give equal bytes, so that the series of one host share them in a part.

use super::bits::{put_varint, take_varint, unzigzag, zigzag};
use super::numbers::{Packed, pco_read, pco_write, unpack_numbers};

/// `start, step`: one timestamp each step.
const REGULAR: u8 = 0;
/// `start, step`, then packed deviations from that grid: a clock that jitters but does not drift.
const GRID: u8 = 1;
/// Packed differences.
const PACKED: u8 = 2;
/// pco: gaps between steps.
const PCO: u8 = 3;

/// Below this, pco's own header is more than it saves.
const PCO_SAMPLES_MIN: usize = 48;

/// Compresses timestamps, at least one.
pub(crate) fn encode(timestamps: &[i64]) -> Vec<u8> {
    let n = timestamps.len();
    let (first, last) = (
        timestamps.first().copied().unwrap_or(0),
        timestamps.last().copied().unwrap_or(0),
    );
    let step = match n {
        0 | 1 => 0,
        _ => rounded_div(last.wrapping_sub(first), (n - 1) as i64),
    };
    let mut grid = vec![REGULAR];
    put_varint(&mut grid, zigzag(first));
    put_varint(&mut grid, zigzag(step));
    let deviations: Vec<i64> = timestamps
        .iter()
        .enumerate()
        .map(|(i, t)| t.wrapping_sub(on_grid(first, step, i)))
        .collect();
    if deviations.iter().all(|&d| d == 0) {
        return grid;
    }
    let deviations = Packed::smallest(&deviations);
    let differences = Packed::smallest(timestamps);
    let mut best = if grid.len() + deviations.len < 1 + differences.len {
        grid[0] = GRID;
        deviations.write(&mut grid);
        grid
    } else {
        let mut out = vec![PACKED];
        differences.write(&mut out);
        out
    };
    if n >= PCO_SAMPLES_MIN {
        let mut out = vec![PCO];
        if pco_write(timestamps, Some(differences.pco_order), &mut out).is_some() && out.len() < best.len() {
            best = out;
        }
    }
    best
}

/// Whether these are encoded timestamps of one step throughout.
pub(crate) fn are_regular(encoded: &[u8]) -> bool {
    encoded.first() == Some(&REGULAR)
}

/// Appends `n` timestamps; on `None` the bytes are no timestamps, and `out` may have grown.
pub(crate) fn decode(mut bytes: &[u8], n: usize, out: &mut Vec<i64>) -> Option<()> {
    let start = out.len();
    let (&kind, rest) = bytes.split_first()?;
    bytes = rest;
    match kind {
        REGULAR | GRID => {
            let first = unzigzag(take_varint(&mut bytes)?);
            let step = unzigzag(take_varint(&mut bytes)?);
            if kind == REGULAR {
                out.extend((0..n).map(|i| on_grid(first, step, i)));
            } else {
                unpack_numbers(&mut bytes, n, out)?;
                for (i, t) in out[start..].iter_mut().enumerate() {
                    *t = t.wrapping_add(on_grid(first, step, i));
                }
            }
        }
        PACKED => unpack_numbers(&mut bytes, n, out)?,
        PCO => {
            out.resize(start + n, 0);
            pco_read(bytes, &mut out[start..])?;
            bytes = &[];
        }
        _ => return None,
    }
    bytes.is_empty().then_some(())
}

fn on_grid(first: i64, step: i64, i: usize) -> i64 {
    first.wrapping_add(step.wrapping_mul(i as i64))
}

fn rounded_div(a: i64, b: i64) -> i64 {
    a.wrapping_add(b / 2).wrapping_div(b)
}
