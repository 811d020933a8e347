//! Prometheus' way of writing spans of time: `1h30m`, `15s`, `2d`.

/// Units from the longest to the shortest, as they may follow each other, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// The span in milliseconds of a text such as `1h30m`, or `None` where the text is none: units fall in length, each at most once, `0` needs no unit.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, length) = units.by_ref().find(|(unit, _)| *unit == &rest[..letters])?;
        rest = &rest[letters..];
        total = total.checked_add(count.checked_mul(*length)?)?;
    }
    (!text.is_empty()).then_some(total)
}
