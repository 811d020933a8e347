//! How timestamps and values become bytes: bit packing, decimals, timestamps, values. Every byte is drawn in `FORMAT.md`.
//!
//! Decoders take any bytes: they check every length before they read or allocate, wrap in arithmetic, and answer `None` or an
//! error where bytes cannot be what an encoder wrote. Encoders check their own work: what does not decode to the same bits is
//! stored raw.

pub(crate) mod bits;
mod decimal;
pub(crate) mod histograms;
mod numbers;
pub(crate) mod rollups;
pub(crate) mod timestamps;
pub(crate) mod values;
