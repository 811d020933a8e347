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
