//! Numbers and times as Prometheus writes them, to the last character.

use std::io::Write as _;

/// Appends `value` as `strconv.FormatFloat(value, 'f', -1, 64)` does: never an exponent. Scalars are written so.
pub(crate) fn plain(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        let mut buffer = zmij::Buffer::new();
        // The shortest text that reads back to the same bits, as Go's 'f' with -1; very large and very small ones have an exponent.
        let text = buffer.format_finite(value);
        if text.contains('e') {
            write!(out, "{value}").expect("writing to a Vec cannot fail");
        } else {
            out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        }
    }
}

/// Appends `value` as Prometheus does for samples (`util/jsonutil`, `MarshalFloat`): with an exponent below 1e-6 and from
/// 1e21 on, as ECMAScript has it, but with at least two digits in the exponent, as Go has it.
pub(crate) fn sample(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        write!(out, "{mantissa}e{sign}{digits:0>2}").expect("writing to a Vec cannot fail");
    } else {
        plain(out, value);
    }
}

/// Appends a time in milliseconds as seconds, with as many as three decimals (`util/jsonutil`, `MarshalTimestamp`).
pub(crate) fn seconds(out: &mut Vec<u8>, at_ms: i64) {
    if at_ms < 0 {
        out.push(b'-');
    }
    let size = at_ms.unsigned_abs();
    let (whole, rest) = (size / 1000, size % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if rest != 0 {
        write!(out, ".{rest:03}").expect("writing to a Vec cannot fail");
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = 0;
    let bytes = text.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[rest..i]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        rest = i + 1;
    }
    out.extend_from_slice(&bytes[rest..]);
    out.push(b'"');
}

/// A time in milliseconds as RFC 3339 in UTC, as Go's `time.Time` is written to JSON.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
