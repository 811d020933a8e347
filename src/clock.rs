//! The one place that reads the wall clock; everything else is told what time it is.

/// Milliseconds since 1970-01-01 UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the composition root hands the time to everything else"
)]
pub(crate) fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A moment as machines read it (RFC 3339), UTC, to the millisecond.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.3}"))
}

/// A moment as people read it, UTC, to the second.
pub(crate) fn utc(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(
        |_| format!("{at_ms} ms"),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// Milliseconds of a moment on the command line: RFC 3339, or seconds since 1970 with a fraction.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let seconds = text.parse::<f64>().ok().map(|seconds| (seconds * 1000.0).round());
    let millis = match seconds {
        // Beyond this a millisecond is no longer exact, and no clock shows such a time.
        Some(millis) => (millis.abs() < 9.0e15).then_some(millis as i64),
        None => text.parse().ok().map(jiff::Timestamp::as_millisecond),
    };
    millis.ok_or_else(|| format!("{text:?} is neither RFC 3339, such as 2026-11-22T00:00:00Z, nor seconds since 1970"))
}

/// A moment as the API takes it: seconds with milliseconds, exact.
pub(crate) fn seconds(at_ms: i64) -> String {
    let sign = if at_ms < 0 { "-" } else { "" };
    let at = at_ms.unsigned_abs();
    format!("{sign}{}.{:03}", at / 1000, at % 1000)
}
