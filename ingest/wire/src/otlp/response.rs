//! What an OTLP endpoint answers: `ExportMetricsServiceResponse` and `google.rpc.Status`.

use crate::protobuf::{
    DecodeError, Fields, bytes_field_len, put_bytes_field, put_message_key, put_varint_field, varint_len,
};

/// Bytes of an `ExportMetricsServiceResponse`: empty when all went well, with a partial success where points were rejected or
/// there is something to say.
#[must_use]
pub fn export_response(rejected_data_points: u64, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if rejected_data_points > 0 || !message.is_empty() {
        let count = if rejected_data_points > 0 {
            1 + varint_len(rejected_data_points)
        } else {
            0
        };
        let text = if message.is_empty() {
            0
        } else {
            bytes_field_len(message.len())
        };
        put_message_key(&mut out, 1, count + text);
        put_varint_field(&mut out, 1, rejected_data_points);
        if !message.is_empty() {
            put_bytes_field(&mut out, 2, message.as_bytes());
        }
    }
    out
}

/// Rejected points and message of an `ExportMetricsServiceResponse`; zero and empty when all went well.
///
/// # Errors
/// [`DecodeError`] when `body` is no such message.
pub fn read_export_response(body: &[u8]) -> Result<(u64, &str), DecodeError> {
    let (mut rejected, mut message) = (0, "");
    for field in Fields::new("ExportMetricsServiceResponse", body) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        for field in Fields::new("ExportMetricsPartialSuccess", field.bytes()?) {
            let field = field?;
            match field.number {
                1 => rejected = field.varint()?,
                2 => message = field.text()?,
                _ => {}
            }
        }
    }
    Ok((rejected, message))
}

/// Bytes of a `google.rpc.Status`; `code` is gRPC's, such as 3 for an invalid argument. `retry_after_seconds` adds a
/// `google.rpc.RetryInfo`, which tells a sender that the same request may be sent again.
#[must_use]
pub fn status(code: u32, message: &str, retry_after_seconds: Option<u16>) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    put_varint_field(&mut out, 1, u64::from(code));
    if !message.is_empty() {
        put_bytes_field(&mut out, 2, message.as_bytes());
    }
    if let Some(seconds) = retry_after_seconds {
        let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
        put_varint_field(&mut duration, 1, u64::from(seconds));
        put_bytes_field(&mut info, 1, &duration);
        put_bytes_field(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        put_bytes_field(&mut any, 2, &info);
        put_bytes_field(&mut out, 3, &any);
    }
    out
}
