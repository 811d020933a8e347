//! Values as bytes: the smallest of several codecs, bit for bit.

use std::cell::RefCell;
use std::ops::Range;

use super::bits::{put_varint, take_varint, unzigzag, zigzag};
use super::decimal::{Decimals, append_values};
use super::numbers::{Packed, is_paged, pco_read, pco_read_pages, pco_write, pco_write_pages, unpack_numbers};

/// Eight bytes a value, little-endian.
pub(crate) const RAW: u8 = 0;
/// One value: its bits, highest byte first, without the zero bytes at the end.
pub(crate) const CONSTANT: u8 = 1;
/// Decimals of one difference: decimals, first mantissa, difference.
pub(crate) const LINEAR: u8 = 2;
/// Decimals, then packed mantissas.
pub(crate) const PACKED: u8 = 3;
/// Decimals, then pco over mantissas.
pub(crate) const PCO_DECIMAL: u8 = 4;
/// pco over the floats.
pub(crate) const PCO_FLOAT: u8 = 5;
/// As `PCO_DECIMAL`, in pages.
pub(crate) const PCO_DECIMAL_PAGES: u8 = 6;
/// As `PCO_FLOAT`, in pages.
pub(crate) const PCO_FLOAT_PAGES: u8 = 7;
/// Added to `LINEAR`, `PACKED`, `PCO_DECIMAL` and `PCO_DECIMAL_PAGES`: values that are no decimals stand before the rest.
pub(crate) const EXCEPTIONS: u8 = 0x80;

/// Whether the values of a codec are in pages.
pub(crate) fn is_in_pages(codec: u8) -> bool {
    matches!(codec & !EXCEPTIONS, PCO_DECIMAL_PAGES | PCO_FLOAT_PAGES)
}

/// Packed numbers are read twice as fast as pco's, so that pco must be smaller by 4 %: on monitoring data that costs 0.7 % in bytes and
/// wins a third in time to read.
const PCO_SHARE: (usize, usize) = (24, 25);

/// Below this, pco's own header is more than it saves.
const PCO_SAMPLES_MIN: usize = 24;

/// Compresses values, at least one; returns the codec and the bytes.
pub(crate) fn encode(values: &[f64]) -> (u8, Vec<u8>) {
    let (codec, bytes) = smallest(values);
    let mut check = Vec::with_capacity(values.len());
    let same = decode(codec, &bytes, values.len(), &mut check).is_some()
        && check.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits());
    if same { (codec, bytes) } else { raw(values) }
}

/// Appends `n` values; on `None` the bytes are none of this codec, and `out` may have grown.
pub(crate) fn decode(codec: u8, bytes: &[u8], n: usize, out: &mut Vec<f64>) -> Option<()> {
    decode_some(codec, bytes, n, 0..n, out)
}

/// As [`decode`], the values `wanted` only. What is outside is not looked at where that saves time: damage there may go unseen.
pub(crate) fn decode_some(codec: u8, bytes: &[u8], n: usize, wanted: Range<usize>, out: &mut Vec<f64>) -> Option<()> {
    if is_in_pages(codec) {
        return decode_pages(codec, bytes, n, wanted, out);
    }
    let start = out.len();
    decode_all(codec, bytes, n, out)?;
    out.truncate(start + wanted.end);
    out.drain(start..start + wanted.start);
    Some(())
}

fn decode_pages(codec: u8, mut bytes: &[u8], n: usize, wanted: Range<usize>, out: &mut Vec<f64>) -> Option<()> {
    if codec == PCO_FLOAT_PAGES {
        return pco_read_pages(bytes, n, wanted, out);
    }
    let exceptions = match codec & EXCEPTIONS {
        0 => &[][..],
        _ => take_exceptions(&mut bytes, n)?,
    };
    let (&decimals, bytes) = bytes.split_first()?;
    let start = out.len();
    MANTISSAS.with_borrow_mut(|mantissas| {
        mantissas.clear();
        pco_read_pages(bytes, n, wanted.clone(), mantissas)?;
        append_values(mantissas, decimals, out)
    })?;
    patch(exceptions, wanted.start, &mut out[start..])
}

fn decode_all(codec: u8, mut bytes: &[u8], n: usize, out: &mut Vec<f64>) -> Option<()> {
    let start = out.len();
    match codec {
        RAW => {
            if bytes.len() != n * 8 {
                return None;
            }
            out.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)));
            return Some(());
        }
        CONSTANT => {
            let mut bits = [0_u8; 8];
            bits.get_mut(..bytes.len())?.copy_from_slice(bytes);
            out.extend(std::iter::repeat_n(f64::from_be_bytes(bits), n));
            return Some(());
        }
        PCO_FLOAT => {
            out.resize(start + n, 0.0);
            return pco_read(bytes, &mut out[start..]);
        }
        _ => {}
    }
    let exceptions = if codec & EXCEPTIONS == 0 {
        &[][..]
    } else {
        take_exceptions(&mut bytes, n)?
    };
    let (&decimals, rest) = bytes.split_first()?;
    bytes = rest;
    MANTISSAS.with_borrow_mut(|mantissas| {
        mantissas.clear();
        match codec & !EXCEPTIONS {
            LINEAR => {
                let first = unzigzag(take_varint(&mut bytes)?);
                let step = unzigzag(take_varint(&mut bytes)?);
                mantissas.extend((0..n).map(|i| first.wrapping_add(step.wrapping_mul(i as i64))));
            }
            PACKED => unpack_numbers(&mut bytes, n, mantissas)?,
            PCO_DECIMAL => {
                mantissas.resize(n, 0);
                pco_read(bytes, mantissas)?;
                bytes = &[];
            }
            _ => return None,
        }
        append_values(mantissas, decimals, out)
    })?;
    if !bytes.is_empty() {
        return None;
    }
    patch(exceptions, 0, &mut out[start..])
}

fn smallest(values: &[f64]) -> (u8, Vec<u8>) {
    let Some(first) = values.first() else {
        return (RAW, Vec::new());
    };
    if values.iter().all(|v| v.to_bits() == first.to_bits()) {
        let bits = first.to_bits().to_be_bytes();
        let len = bits.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        return (CONSTANT, bits[..len].to_vec());
    }
    match Decimals::of(values) {
        Some(decimals) => smallest_decimal(&decimals),
        None => smallest_float(values),
    }
}

fn smallest_decimal(decimals: &Decimals) -> (u8, Vec<u8>) {
    let mantissas = &decimals.mantissas;
    let mut head = Vec::new();
    let flag = if decimals.exceptions.is_empty() { 0 } else { EXCEPTIONS };
    put_exceptions(&decimals.exceptions, &mut head);
    head.push(decimals.decimals);

    let step = mantissas.get(1).map_or(0, |second| second.wrapping_sub(mantissas[0]));
    if mantissas.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        put_varint(&mut head, zigzag(mantissas[0]));
        put_varint(&mut head, zigzag(step));
        return (LINEAR | flag, head);
    }
    let packed = Packed::smallest(mantissas);
    // Under a bit a value, pco's own header is not won back.
    if mantissas.len() >= PCO_SAMPLES_MIN && packed.len > mantissas.len() / 8 {
        let mut out = head.clone();
        let bound = (head.len() + packed.len) * PCO_SHARE.0 / PCO_SHARE.1;
        let (codec, written) = if is_paged(mantissas.len()) {
            (
                PCO_DECIMAL_PAGES,
                pco_write_pages(mantissas, Some(packed.pco_order), &mut out),
            )
        } else {
            (PCO_DECIMAL, pco_write(mantissas, Some(packed.pco_order), &mut out))
        };
        if written.is_some() && out.len() < bound {
            return (codec | flag, out);
        }
    }
    packed.write(&mut head);
    (PACKED | flag, head)
}

fn smallest_float(values: &[f64]) -> (u8, Vec<u8>) {
    if values.len() >= PCO_SAMPLES_MIN {
        let mut out = Vec::new();
        let (codec, written) = if is_paged(values.len()) {
            (PCO_FLOAT_PAGES, pco_write_pages(values, None, &mut out))
        } else {
            (PCO_FLOAT, pco_write(values, None, &mut out))
        };
        if written.is_some() && out.len() < values.len() * 8 {
            return (codec, out);
        }
    }
    raw(values)
}

fn raw(values: &[f64]) -> (u8, Vec<u8>) {
    (RAW, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// Number of exceptions, then for each its distance from the one before it (the first: from -1, less one) and its bits.
fn put_exceptions(exceptions: &[(usize, f64)], out: &mut Vec<u8>) {
    if exceptions.is_empty() {
        return;
    }
    put_varint(out, exceptions.len() as u64);
    let mut next = 0;
    for &(at, value) in exceptions {
        put_varint(out, (at - next) as u64);
        out.extend_from_slice(&value.to_le_bytes());
        next = at + 1;
    }
}

/// Takes the exceptions off the front and returns their bytes, checked.
fn take_exceptions<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let all = *bytes;
    let count = take_varint(bytes)?;
    if count == 0 || count > n as u64 {
        return None;
    }
    let mut next = 0_u64;
    for _ in 0..count {
        let at = next.checked_add(take_varint(bytes)?)?;
        if at >= n as u64 {
            return None;
        }
        next = at + 1;
        *bytes = bytes.get(8..)?;
    }
    all.get(..all.len() - bytes.len())
}

/// Puts exceptions into `values`, the first of which has the place `first`.
fn patch(mut exceptions: &[u8], first: usize, values: &mut [f64]) -> Option<()> {
    if exceptions.is_empty() {
        return Some(());
    }
    let count = take_varint(&mut exceptions)?;
    let mut next = 0_usize;
    for _ in 0..count {
        let at = next.checked_add(usize::try_from(take_varint(&mut exceptions)?).ok()?)?;
        let (bits, rest) = exceptions.split_first_chunk::<8>()?;
        if let Some(value) = at.checked_sub(first).and_then(|at| values.get_mut(at)) {
            *value = f64::from_le_bytes(*bits);
        }
        exceptions = rest;
        next = at + 1;
    }
    Some(())
}

thread_local! {
    static MANTISSAS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}
