//! Where the samples of a series are cut into chunks.
//!
//! Cuts lie at instants that depend on the interval between samples alone: so the series of one host, which share their
//! timestamps, are cut alike although some began later, and their chunks share the bytes of their timestamps.

/// Samples a chunk is made for: a day at one a minute, six hours at one in 15 s, four at one in 10 s. Longer chunks compress by 2 %
/// better at most (960 to 1,920 samples), and a short query decodes all of one.
pub(super) const CHUNK_SAMPLES: usize = 1440;

/// A slot may hold a few samples more where a clock jitters.
const CHUNK_SAMPLES_SLACK: usize = CHUNK_SAMPLES + 96;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Lengths of time that cut a day, or 30 days, evenly.
const SLOTS: [i64; 21] = [
    SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    8 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    30 * DAY,
];

/// Appends the end of each chunk, as an index into `timestamps`, the last one being its length.
pub(super) fn cuts(timestamps: &[i64], ends: &mut Vec<usize>) {
    let slot = slot_ms(timestamps);
    let mut start = 0;
    let mut begin = 0;
    while begin < timestamps.len() {
        let number = timestamps[begin].div_euclid(slot);
        let end = begin + timestamps[begin..].partition_point(|t| t.div_euclid(slot) == number);
        // Sparse slots are put together; a full one stays for itself.
        if begin > start && end - start > CHUNK_SAMPLES {
            ends.push(begin);
            start = begin;
        }
        if end - start > CHUNK_SAMPLES_SLACK {
            // Samples come faster than the interval that was seen: even pieces.
            let pieces = (end - start).div_ceil(CHUNK_SAMPLES);
            ends.extend((1..=pieces).map(|i| start + (end - start) * i / pieces));
            start = end;
        }
        begin = end;
    }
    if start < timestamps.len() {
        ends.push(timestamps.len());
    }
}

/// The longest slot that a chunk's samples fill, by the median of up to 65 intervals.
fn slot_ms(timestamps: &[i64]) -> i64 {
    let stride = (timestamps.len() / 65).max(1);
    let mut steps: Vec<i64> = timestamps
        .windows(2)
        .step_by(stride)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    steps.sort_unstable();
    let step = steps.get(steps.len() / 2).copied().unwrap_or(1).max(1);
    SLOTS
        .into_iter()
        .rev()
        .find(|slot| slot / step <= CHUNK_SAMPLES as i64)
        .unwrap_or(SLOTS[0])
}
