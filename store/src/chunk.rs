//! A chunk: consecutive samples of one series, compressed; one row of a part.

use crate::codec::{timestamps, values};
use crate::{Samples, TimeRange};

#[cfg(test)]
mod tests;

/// Most samples that a chunk may have; decoders refuse more, so that damaged bytes cannot ask for much memory.
pub(crate) const CHUNK_SAMPLES_MAX: usize = 4096;

/// Consecutive samples of one series, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Timestamp of the first sample, milliseconds.
    pub(crate) t_min: i64,
    /// Timestamp of the last sample, milliseconds.
    pub(crate) t_max: i64,
    /// Number of samples, 1 to [`CHUNK_SAMPLES_MAX`].
    pub(crate) n: u32,
    /// The timestamps, compressed; equal timestamps give equal bytes.
    pub(crate) ts: Vec<u8>,
    /// How `values` is compressed.
    pub(crate) codec: u8,
    /// The values, compressed.
    pub(crate) values: Vec<u8>,
}

/// Bytes that are no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// A number of samples that no encoder writes.
    #[error("chunk claims {n} samples, 1 to {CHUNK_SAMPLES_MAX} are possible")]
    Samples {
        /// What it claims.
        n: u32,
    },
    /// The timestamps cannot be decoded.
    #[error("timestamps of a chunk are damaged")]
    Timestamps,
    /// The values cannot be decoded.
    #[error("values of a chunk are damaged (codec {codec})")]
    Values {
        /// Their codec.
        codec: u8,
    },
}

/// Compresses samples, timestamps too.
#[cfg(test)]
pub(crate) fn encode(ts: &[i64], vs: &[f64]) -> Chunk {
    encode_with(ts, vs, timestamps::encode(ts))
}

/// Compresses 1 to [`CHUNK_SAMPLES_MAX`] samples, bit for bit. Timestamps ascend strictly; `ts_bytes` is what
/// [`timestamps::encode`] makes of them, which many series share.
pub(crate) fn encode_with(ts: &[i64], vs: &[f64], ts_bytes: Vec<u8>) -> Chunk {
    debug_assert_eq!(ts.len(), vs.len(), "a value for each timestamp");
    debug_assert!(
        (1..=CHUNK_SAMPLES_MAX).contains(&ts.len()),
        "a chunk of {} samples",
        ts.len()
    );
    let (codec, bytes) = values::encode(vs);
    Chunk {
        t_min: ts.first().copied().unwrap_or_default(),
        t_max: ts.last().copied().unwrap_or_default(),
        n: ts.len() as u32,
        ts: ts_bytes,
        codec,
        values: bytes,
    }
}

/// Appends the samples of a chunk within `range` to `out`, and answers the first and the last timestamp of the whole chunk. Values
/// outside of the range are decoded only as far as that is needed for those inside.
///
/// # Errors
/// [`ChunkError`] where the bytes are no chunk of `n` samples; `out` is then as it was.
pub(crate) fn decode_within(
    (ts, codec, vs): (&[u8], u8, &[u8]),
    n: u32,
    range: TimeRange,
    out: &mut Samples,
) -> Result<(i64, i64), ChunkError> {
    let count = n as usize;
    if !(1..=CHUNK_SAMPLES_MAX).contains(&count) {
        return Err(ChunkError::Samples { n });
    }
    let start = out.len();
    let Samples { timestamps, values } = out;
    let mut decode = || {
        timestamps::decode(ts, count, timestamps).ok_or(ChunkError::Timestamps)?;
        let all = &timestamps[start..];
        let bounds = (all[0], all[count - 1]);
        // They ascend in every chunk that is whole; in another one any two places will do.
        let from = all.partition_point(|&t| t < range.start.0);
        let end = all.partition_point(|&t| t <= range.end.0).max(from);
        values::decode_some(codec, vs, count, from..end, values).ok_or(ChunkError::Values { codec })?;
        timestamps.truncate(start + end);
        timestamps.drain(start..start + from);
        Ok(bounds)
    };
    let result = decode();
    if result.is_err() {
        out.timestamps.truncate(start);
        out.values.truncate(start);
    }
    result
}

/// Appends all samples of a chunk to `out`, as [`decode_within`].
#[cfg(any(test, feature = "bench"))]
pub(crate) fn decode_into(ts: &[u8], codec: u8, vs: &[u8], n: u32, out: &mut Samples) -> Result<(), ChunkError> {
    decode_within((ts, codec, vs), n, TimeRange::ALL, out).map(|_| ())
}
