//! Bodies: read and decompressed within bounds.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use futures::StreamExt;

use crate::limits::Limits;
use crate::problem::Problem;

/// Snappy's shortest element that copies makes 64 bytes out of 3; nothing it writes expands by more than this.
const SNAPPY_EXPANSION_MAX: usize = 32;

/// zstd's window: 8 MiB is what the format asks every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Room that is made for a body before any of it has come.
const EXPECTED_BYTES_MAX: usize = 256 << 10;

/// How much is decompressed between two looks at the bounds.
const STEP: usize = 64 << 10;

/// The bytes that all bodies together may take.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
        })
    }

    pub(crate) fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// One request's share of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before.saturating_add(bytes) > self.budget.max {
            return Err(Problem::busy(
                "the bodies of requests in flight take all the memory that they may",
            ));
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// Snappy's block format, which remote write uses.
    SnappyBlock,
}

/// How the bytes of a body become a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) encoding: Encoding,
    /// Whether the message stands in a frame of gRPC.
    pub(crate) framed: bool,
    /// Most bytes of the message.
    pub(crate) bytes_max: usize,
}

impl Encoding {
    /// What `Content-Encoding` says; `None` without such a header.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match text.as_str() {
            _ if values.next().is_some() => Err("more than one".to_owned()),
            "" | "identity" => Ok(Some(Self::Identity)),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "zstd" => Ok(Some(Self::Zstd)),
            "snappy" => Ok(Some(Self::SnappyBlock)),
            _ => Err(text.chars().take(80).collect()),
        }
    }
}

/// Reads a body as it arrives.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::too_large(format!("the body is larger than {} bytes", limits.body_bytes_max));
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.body_bytes_max as u64) {
        return Err(too_large());
    }
    let reading = async {
        // Grown by what arrives; what is announced is believed for a small body only.
        let expected = announced.map_or(0, |length| (length as usize).min(EXPECTED_BYTES_MAX));
        let mut bytes = Vec::with_capacity(expected);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                let hint = "send the whole body; a connection that breaks off leaves nothing behind";
                Problem::malformed(format!("the body could not be read: {error}"), hint)
            })?;
            if bytes.len() + chunk.len() > limits.body_bytes_max {
                return Err(too_large());
            }
            reservation.grow(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(limits.body_time_max, reading)
        .await
        .unwrap_or_else(|_| Err(Problem::too_slow()))
}

/// The message of a body, decompressed.
pub(crate) fn decode(coding: Coding, mut raw: Vec<u8>, reservation: &mut Reservation) -> Result<Vec<u8>, Problem> {
    let mut encoding = coding.encoding;
    if coding.framed {
        // One message: a byte that says whether it is compressed, its length, its bytes.
        let hint = "send one message in one gRPC frame";
        let Some((&[compressed, l0, l1, l2, l3], message)) = raw.split_first_chunk::<5>() else {
            return Err(Problem::malformed("the body ends inside a gRPC frame", hint));
        };
        if u32::from_be_bytes([l0, l1, l2, l3]) as usize != message.len() {
            return Err(Problem::malformed("the body is not one gRPC frame", hint));
        }
        if compressed == 0 {
            encoding = Encoding::Identity;
        } else if encoding == Encoding::Identity {
            return Err(Problem::malformed(
                "the gRPC frame is compressed and grpc-encoding does not say how",
                "send grpc-encoding: gzip or zstd with compressed messages",
            ));
        }
        raw.drain(..5);
    }
    decompress(encoding, raw, coding.bytes_max, reservation)
}

/// Decompresses a body to at most `max` bytes; a body that claims or turns out to be larger costs no more than that.
pub(crate) fn decompress(
    encoding: Encoding,
    raw: Vec<u8>,
    max: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Problem> {
    match encoding {
        Encoding::Identity if raw.len() > max => Err(too_large(max)),
        Encoding::Identity => Ok(raw),
        Encoding::Gzip => stream(
            flate2::read::MultiGzDecoder::new(raw.as_slice()),
            "gzip",
            max,
            reservation,
        ),
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(raw.as_slice()).map_err(|e| garbage("zstd", &e))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|e| garbage("zstd", &e))?;
            stream(decoder, "zstd", max, reservation)
        }
        Encoding::SnappyBlock => {
            let claimed = snap::raw::decompress_len(&raw).map_err(|e| garbage("snappy", &e))?;
            if claimed > max {
                return Err(too_large(max));
            }
            if claimed > raw.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
                return Err(garbage("snappy", &"its length is more than its bytes can hold"));
            }
            reservation.grow(claimed)?;
            snap::raw::Decoder::new()
                .decompress_vec(&raw)
                .map_err(|e| garbage("snappy", &e))
        }
    }
}

fn stream(
    mut decoder: impl Read,
    encoding: &'static str,
    max: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    loop {
        reservation.grow(STEP)?;
        let read = decoder.by_ref().take(STEP as u64).read_to_end(&mut out);
        match read {
            Ok(0) => return Ok(out),
            Ok(_) if out.len() > max => return Err(too_large(max)),
            Ok(_) => {}
            Err(error) => return Err(truncated_or_garbage(encoding, &error)),
        }
    }
}

fn truncated_or_garbage(encoding: &'static str, error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let hint = "send the whole compressed body, and a Content-Length that fits it";
        return Problem::malformed(format!("the {encoding} body ends too early"), hint);
    }
    garbage(encoding, error)
}

fn garbage(encoding: &'static str, error: &dyn std::fmt::Display) -> Problem {
    let hint = match encoding {
        "snappy" => "compress the body with snappy's block format (not the framed one)",
        _ => "compress the body as Content-Encoding says, or leave that header out",
    };
    Problem::malformed(format!("the body is no {encoding} data: {error}"), hint)
}

fn too_large(max: usize) -> Problem {
    Problem::too_large(format!("the body is larger than {max} bytes after decompression"))
}
