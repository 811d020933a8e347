//! A chunk: consecutive samples of one series, compressed; one row of a part.
use crate::Samples;

/// Consecutive samples of one series, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Timestamp of the first sample, milliseconds.
    pub(crate) t_min: i64,
    /// Timestamp of the last sample, milliseconds.
    pub(crate) t_max: i64,
    /// Number of samples, at most [`CHUNK_SAMPLES_MAX`].
    pub(crate) n: u32,
    /// The timestamps, compressed; equal timestamps give equal bytes.
    pub(crate) ts: Vec<u8>,
    /// How `values` is compressed.
    pub(crate) codec: u8,
    /// The values, compressed.
    pub(crate) values: Vec<u8>,
}

/// Most samples that a chunk may have; decoders refuse more.
pub(crate) const CHUNK_SAMPLES_MAX: usize = 4096;

/// Bytes that are no chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// The bytes end early or say what cannot be.
    #[error("chunk is damaged: {0}")]
    Damaged(&'static str),
}

/// Compresses samples; `timestamps` ascend strictly, both slices have one length of 1 to [`CHUNK_SAMPLES_MAX`].
pub(crate) fn encode(timestamps: &[i64], values: &[f64]) -> Chunk {
    let _ = (timestamps, values);
    unimplemented!("coming within minutes")
}

/// Appends the samples of a chunk to `out`; on an error `out` is as it was.
pub(crate) fn decode_into(ts: &[u8], codec: u8, values: &[u8], n: u32, out: &mut Samples) -> Result<(), ChunkError> {
    let _ = (ts, codec, values, n, out);
    unimplemented!("coming within minutes")
}
