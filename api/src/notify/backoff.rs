//! How long to wait before trying again.

/// Pauses that double from one failure to the next, up to a bound, each shortened by a share of up to a half, so that many
/// senders do not return at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub first_ms: i64,
    /// The longest pause.
    pub longest_ms: i64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first_ms: 1000,
            longest_ms: 300_000,
        }
    }
}

impl Backoff {
    /// The pause after `failures` failures in a row, at least one. `salt` picks the jitter: another salt, another share.
    #[must_use]
    pub fn pause_ms(&self, failures: u32, salt: &str) -> i64 {
        let doublings = failures.saturating_sub(1).min(30);
        let full = self
            .first_ms
            .saturating_mul(1 << doublings)
            .clamp(1, self.longest_ms.max(1));
        // FNV-1a of salt and count, as good a die as any here.
        let hash = salt
            .bytes()
            .chain(failures.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let share = (hash >> 40) as f64 / (1u64 << 24) as f64;
        ((full as f64) * (1.0 - share / 2.0)).round().max(1.0) as i64
    }
}
