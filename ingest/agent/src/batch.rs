//! What a batch of the spool is: readings, or events under an id by which the server knows it when it comes twice.
//!
//! Readings are a zstd frame. A batch of events is the same after a frame that decoders pass over (RFC 8878, 3.1.2) and that
//! holds the id, so that the spool keeps plain bytes and needs to know nothing of either.

use std::io;

/// A skippable frame's magic; all of `0x184D2A50` to `0x184D2A5F` are for such use.
const EVENTS_MAGIC: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();

/// Magic and length of the frame that holds the id.
const HEADER_BYTES: usize = 8;

/// Longest id; the server takes 256 bytes.
const ID_BYTES_MAX: usize = 200;

/// zstd's level: 1 costs a third of 3 and makes batches a tenth larger.
const LEVEL: i32 = 1;

/// A batch as it is to be sent; bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// An OTLP metrics request: a sample that comes twice replaces itself.
    Readings(&'a [u8]),
    /// An OTLP logs request.
    Events { id: &'a str, body: &'a [u8] },
}

/// A batch of readings, from an OTLP metrics request.
pub(crate) fn readings(request: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(request, LEVEL)
}

/// A batch of events, from an OTLP logs request. An id beyond the bound is cut.
pub(crate) fn events(id: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let id: String = id.chars().filter(char::is_ascii_graphic).take(ID_BYTES_MAX).collect();
    let body = zstd::bulk::compress(request, LEVEL)?;
    let mut batch = Vec::with_capacity(HEADER_BYTES + id.len() + body.len());
    batch.extend_from_slice(&EVENTS_MAGIC);
    batch.extend_from_slice(&(id.len() as u32).to_le_bytes());
    batch.extend_from_slice(id.as_bytes());
    batch.extend_from_slice(&body);
    Ok(batch)
}

/// Whether a batch tells of events.
pub(crate) fn is_events(batch: &[u8]) -> bool {
    matches!(read(batch), Content::Events { .. })
}

/// What a batch is.
pub(crate) fn read(batch: &[u8]) -> Content<'_> {
    let split = || {
        let (header, rest) = batch.strip_prefix(&EVENTS_MAGIC)?.split_first_chunk::<4>()?;
        let (id, body) = rest.split_at_checked(u32::from_le_bytes(*header) as usize)?;
        let id = str::from_utf8(id).ok().filter(|id| !id.is_empty())?;
        Some(Content::Events { id, body })
    };
    split().unwrap_or(Content::Readings(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_id_and_any_decoder_passes_it_over() {
        let batch = events("host/boot/1-7", b"request").expect("compresses");
        let Content::Events { id, body } = read(&batch) else {
            panic!("{batch:?} tells of events")
        };
        assert_eq!(id, "host/boot/1-7");
        assert_eq!(zstd::bulk::decompress(body, 100).expect("zstd"), b"request");
        assert_eq!(zstd::stream::decode_all(&*batch).expect("zstd"), b"request");
        assert!(is_events(&batch));
    }

    #[test]
    fn what_is_cut_short_or_has_no_such_head_counts_as_readings() {
        let plain = readings(b"request").expect("compresses");
        assert_eq!(read(&plain), Content::Readings(&plain));
        let batch = events("i", b"").expect("compresses");
        for length in 0..9 {
            assert_eq!(read(&batch[..length]), Content::Readings(&batch[..length]));
        }
        assert!(!is_events(&events(" \n", b"").expect("compresses")), "an id of nothing");
    }

    #[test]
    fn an_id_is_bounded() {
        let batch = events(&"x".repeat(5000), b"").expect("compresses");
        assert!(matches!(read(&batch), Content::Events { id, .. } if id.len() == ID_BYTES_MAX));
    }
}
