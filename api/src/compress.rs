//! Answers compressed as their askers take it: zstd, else gzip.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;
use crate::work::blocking;

#[cfg(test)]
mod tests;

/// Shorter answers fit into a packet anyhow.
const BYTES_MIN: u64 = 1024;
/// Up to here compressing takes less than a millisecond, less than another thread would cost.
const BYTES_INLINE_MAX: usize = 32 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Compresses what comes piece by piece.
pub(crate) enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }

    /// Takes more bytes, and gives what they have come to so far; that may be nothing.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
        }))
    }

    /// The end.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Compresses text that lies in memory whole; what streams goes out as it is, compressed already where it is text.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let coding = accepted(request.headers());
    let response = next.run(request).await;
    let length = response.body().size_hint().exact().unwrap_or(0);
    let Some(coding) = coding else { return response };
    if length < BYTES_MIN || response.headers().contains_key(CONTENT_ENCODING) || !is_text(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Problem::internal(format!("the answer broke off: {error}")).into_response(),
    };
    let packed = if bytes.len() <= BYTES_INLINE_MAX {
        pack(coding, &bytes).map_err(|error| Problem::internal(format!("cannot compress the answer: {error}")))
    } else {
        blocking(move || {
            pack(coding, &bytes).map_err(|error| Problem::internal(format!("cannot compress the answer: {error}")))
        })
        .await
    };
    match packed {
        Ok(packed) => {
            parts.headers.remove(CONTENT_LENGTH);
            parts
                .headers
                .insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
            Response::from_parts(parts, Body::from(packed))
        }
        Err(problem) => problem.into_response(),
    }
}

/// The best coding that the asker takes. One that it names with a weight of zero it does not take.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut zstd) = (false, false);
    for value in headers.get_all(ACCEPT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for item in text.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts
                .find_map(|part| part.strip_prefix("q="))
                .is_some_and(|weight| weight.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0));
            match name {
                "gzip" | "x-gzip" => gzip = !refused,
                "zstd" => zstd = !refused,
                _ => {}
            }
        }
    }
    match (gzip, zstd) {
        (_, true) => Some(Coding::Zstd),
        (true, false) => Some(Coding::Gzip),
        (false, false) => None,
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"text/") || value.starts_with(b"application/json") || value.starts_with(b"image/svg")
    })
}

fn pack(coding: Coding, bytes: &Bytes) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let out = Vec::with_capacity(bytes.len() / 4);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Zstd => zstd::bulk::compress(bytes, 1),
    }
}
