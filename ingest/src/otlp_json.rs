//! OTLP metrics in JSON, made into the protobuf bytes of the same message, so that there is one decoder behind both.

use serde_json::{Map, Value};
use wire::protobuf::{put_bytes_field, put_fixed64_field, put_varint, put_varint_field};

use crate::problem::Problem;

const HINT: &str =
    "send ExportMetricsServiceRequest by protobuf's JSON mapping: lowerCamelCase names, 64-bit integers as text";

/// A field of a message: its JSON name, its number, its type.
struct Field(&'static str, u32, Type);

enum Type {
    Text,
    Bool,
    /// Base64.
    Bytes,
    /// Hexadecimal digits, as OTLP writes identifiers.
    Hex,
    Double,
    /// `int64`, as a varint.
    Int,
    /// `uint32`, `uint64` and enumerations.
    Uint,
    Sint,
    Fixed64,
    Sfixed64,
    Message(&'static [Field]),
    /// `AnyValue`, which nests.
    AnyValue,
}

const KEY_VALUE: &[Field] = &[Field("key", 1, Type::Text), Field("value", 2, Type::AnyValue)];
const ANY_VALUE: &[Field] = &[
    Field("stringValue", 1, Type::Text),
    Field("boolValue", 2, Type::Bool),
    Field("intValue", 3, Type::Int),
    Field("doubleValue", 4, Type::Double),
    Field("arrayValue", 5, Type::Message(&[Field("values", 1, Type::AnyValue)])),
    Field(
        "kvlistValue",
        6,
        Type::Message(&[Field("values", 1, Type::Message(KEY_VALUE))]),
    ),
    Field("bytesValue", 7, Type::Bytes),
];
const EXEMPLAR: &[Field] = &[
    Field("filteredAttributes", 7, Type::Message(KEY_VALUE)),
    Field("timeUnixNano", 2, Type::Fixed64),
    Field("asDouble", 3, Type::Double),
    Field("asInt", 6, Type::Sfixed64),
    Field("spanId", 4, Type::Hex),
    Field("traceId", 5, Type::Hex),
];
const NUMBER_POINT: &[Field] = &[
    Field("attributes", 7, Type::Message(KEY_VALUE)),
    Field("startTimeUnixNano", 2, Type::Fixed64),
    Field("timeUnixNano", 3, Type::Fixed64),
    Field("asDouble", 4, Type::Double),
    Field("asInt", 6, Type::Sfixed64),
    Field("exemplars", 5, Type::Message(EXEMPLAR)),
    Field("flags", 8, Type::Uint),
];
const HISTOGRAM_POINT: &[Field] = &[
    Field("attributes", 9, Type::Message(KEY_VALUE)),
    Field("startTimeUnixNano", 2, Type::Fixed64),
    Field("timeUnixNano", 3, Type::Fixed64),
    Field("count", 4, Type::Fixed64),
    Field("sum", 5, Type::Double),
    Field("bucketCounts", 6, Type::Fixed64),
    Field("explicitBounds", 7, Type::Double),
    Field("exemplars", 8, Type::Message(EXEMPLAR)),
    Field("flags", 10, Type::Uint),
];
const BUCKETS: &[Field] = &[Field("offset", 1, Type::Sint), Field("bucketCounts", 2, Type::Uint)];
const EXPONENTIAL_POINT: &[Field] = &[
    Field("attributes", 1, Type::Message(KEY_VALUE)),
    Field("startTimeUnixNano", 2, Type::Fixed64),
    Field("timeUnixNano", 3, Type::Fixed64),
    Field("count", 4, Type::Fixed64),
    Field("sum", 5, Type::Double),
    Field("scale", 6, Type::Sint),
    Field("zeroCount", 7, Type::Fixed64),
    Field("positive", 8, Type::Message(BUCKETS)),
    Field("negative", 9, Type::Message(BUCKETS)),
    Field("flags", 10, Type::Uint),
    Field("zeroThreshold", 14, Type::Double),
];
const SUMMARY_POINT: &[Field] = &[
    Field("attributes", 7, Type::Message(KEY_VALUE)),
    Field("startTimeUnixNano", 2, Type::Fixed64),
    Field("timeUnixNano", 3, Type::Fixed64),
    Field("count", 4, Type::Fixed64),
    Field("sum", 5, Type::Double),
    Field(
        "quantileValues",
        6,
        Type::Message(&[Field("quantile", 1, Type::Double), Field("value", 2, Type::Double)]),
    ),
    Field("flags", 8, Type::Uint),
];
const METRIC: &[Field] = &[
    Field("name", 1, Type::Text),
    Field("description", 2, Type::Text),
    Field("unit", 3, Type::Text),
    Field(
        "gauge",
        5,
        Type::Message(&[Field("dataPoints", 1, Type::Message(NUMBER_POINT))]),
    ),
    Field(
        "sum",
        7,
        Type::Message(&[
            Field("dataPoints", 1, Type::Message(NUMBER_POINT)),
            Field("aggregationTemporality", 2, Type::Uint),
            Field("isMonotonic", 3, Type::Bool),
        ]),
    ),
    Field(
        "histogram",
        9,
        Type::Message(&[
            Field("dataPoints", 1, Type::Message(HISTOGRAM_POINT)),
            Field("aggregationTemporality", 2, Type::Uint),
        ]),
    ),
    Field(
        "exponentialHistogram",
        10,
        Type::Message(&[
            Field("dataPoints", 1, Type::Message(EXPONENTIAL_POINT)),
            Field("aggregationTemporality", 2, Type::Uint),
        ]),
    ),
    Field(
        "summary",
        11,
        Type::Message(&[Field("dataPoints", 1, Type::Message(SUMMARY_POINT))]),
    ),
];
const REQUEST: &[Field] = &[Field(
    "resourceMetrics",
    1,
    Type::Message(&[
        Field(
            "resource",
            1,
            Type::Message(&[Field("attributes", 1, Type::Message(KEY_VALUE))]),
        ),
        Field(
            "scopeMetrics",
            2,
            Type::Message(&[
                Field(
                    "scope",
                    1,
                    Type::Message(&[
                        Field("name", 1, Type::Text),
                        Field("version", 2, Type::Text),
                        Field("attributes", 3, Type::Message(KEY_VALUE)),
                    ]),
                ),
                Field("metrics", 2, Type::Message(METRIC)),
                Field("schemaUrl", 3, Type::Text),
            ]),
        ),
    ]),
)];

const LOG_RECORD: &[Field] = &[
    Field("timeUnixNano", 1, Type::Fixed64),
    Field("observedTimeUnixNano", 11, Type::Fixed64),
    Field("severityNumber", 2, Type::Uint),
    Field("severityText", 3, Type::Text),
    Field("body", 5, Type::AnyValue),
    Field("attributes", 6, Type::Message(KEY_VALUE)),
    Field("traceId", 9, Type::Hex),
    Field("spanId", 10, Type::Hex),
    Field("eventName", 12, Type::Text),
];
const LOGS_REQUEST: &[Field] = &[Field(
    "resourceLogs",
    1,
    Type::Message(&[
        Field(
            "resource",
            1,
            Type::Message(&[Field("attributes", 1, Type::Message(KEY_VALUE))]),
        ),
        Field(
            "scopeLogs",
            2,
            Type::Message(&[
                Field("scope", 1, Type::Message(&[Field("name", 1, Type::Text)])),
                Field("logRecords", 2, Type::Message(LOG_RECORD)),
            ]),
        ),
    ]),
)];

/// The protobuf bytes of a metrics request in JSON. Unknown members are left out.
pub(crate) fn to_protobuf(json: &[u8]) -> Result<Vec<u8>, Problem> {
    convert(json, REQUEST, HINT)
}

/// The same of a logs request.
pub(crate) fn logs_to_protobuf(json: &[u8]) -> Result<Vec<u8>, Problem> {
    let hint =
        "send ExportLogsServiceRequest by protobuf's JSON mapping: lowerCamelCase names, 64-bit integers as text";
    convert(json, LOGS_REQUEST, hint)
}

fn convert(json: &[u8], fields: &[Field], hint: &'static str) -> Result<Vec<u8>, Problem> {
    // Nesting is bounded by serde_json: 128 levels.
    let value: Value =
        serde_json::from_slice(json).map_err(|e| Problem::malformed(format!("the body is no JSON: {e}"), hint))?;
    let Value::Object(request) = &value else {
        return Err(wrong("the body", "an object"));
    };
    let mut out = Vec::new();
    put_message(&mut out, request, fields)?;
    Ok(out)
}

fn put_message(out: &mut Vec<u8>, object: &Map<String, Value>, fields: &[Field]) -> Result<(), Problem> {
    for Field(name, number, of) in fields {
        match object.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(values)) => values.iter().try_for_each(|v| put(out, name, *number, of, v))?,
            Some(value) => put(out, name, *number, of, value)?,
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, name: &str, number: u32, of: &Type, value: &Value) -> Result<(), Problem> {
    match of {
        Type::Text => put_bytes_field(
            out,
            number,
            value.as_str().ok_or_else(|| wrong(name, "text"))?.as_bytes(),
        ),
        Type::Bytes => {
            let bytes = value.as_str().and_then(base64).ok_or_else(|| wrong(name, "Base64"))?;
            put_bytes_field(out, number, &bytes);
        }
        Type::Hex => {
            let bytes = value
                .as_str()
                .and_then(hex)
                .ok_or_else(|| wrong(name, "hexadecimal digits"))?;
            put_bytes_field(out, number, &bytes);
        }
        Type::Bool => {
            let value = value.as_bool().ok_or_else(|| wrong(name, "true or false"))?;
            // Also when false: an attribute's value is told from none by its presence.
            put_varint(out, u64::from(number << 3));
            put_varint(out, u64::from(value));
        }
        Type::Double => put_fixed64_field(out, number, double(name, value)?.to_bits()),
        Type::Int => {
            put_varint(out, u64::from(number << 3));
            put_varint(out, int(name, value)? as u64);
        }
        Type::Uint => {
            // Also when zero: an element of a list must not vanish.
            put_varint(out, u64::from(number << 3));
            put_varint(out, uint(name, value)?);
        }
        Type::Sint => {
            let value = i32::try_from(int(name, value)?).map_err(|_| wrong(name, "a 32-bit integer"))?;
            put_varint_field(out, number, u64::from(((value << 1) ^ (value >> 31)) as u32));
        }
        Type::Fixed64 => put_fixed64_field(out, number, uint(name, value)?),
        Type::Sfixed64 => put_fixed64_field(out, number, int(name, value)? as u64),
        Type::Message(fields) => {
            let object = value.as_object().ok_or_else(|| wrong(name, "an object"))?;
            let mut inner = Vec::new();
            put_message(&mut inner, object, fields)?;
            put_bytes_field(out, number, &inner);
        }
        Type::AnyValue => {
            let object = value.as_object().ok_or_else(|| wrong(name, "an object"))?;
            let mut inner = Vec::new();
            put_message(&mut inner, object, ANY_VALUE)?;
            put_bytes_field(out, number, &inner);
        }
    }
    Ok(())
}

fn int(name: &str, value: &Value) -> Result<i64, Problem> {
    let parsed = match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_i64(),
    };
    parsed.ok_or_else(|| wrong(name, "an integer"))
}

fn uint(name: &str, value: &Value) -> Result<u64, Problem> {
    let parsed = match value {
        Value::String(text) => match text.as_str() {
            // Specified as numbers only; some senders write the names.
            "AGGREGATION_TEMPORALITY_UNSPECIFIED" => Some(0),
            "AGGREGATION_TEMPORALITY_DELTA" => Some(1),
            "AGGREGATION_TEMPORALITY_CUMULATIVE" => Some(2),
            text => text.parse().ok(),
        },
        _ => value.as_u64(),
    };
    parsed.ok_or_else(|| wrong(name, "an integer that is not negative"))
}

fn double(name: &str, value: &Value) -> Result<f64, Problem> {
    let parsed = match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => value.as_f64(),
    };
    parsed.ok_or_else(|| wrong(name, "a number"))
}

fn wrong(name: &str, wanted: &str) -> Problem {
    Problem::malformed(format!("{name} is not {wanted}"), HINT)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// Standard or URL-safe alphabet, with or without padding.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}
