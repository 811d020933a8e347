//! Own metrics of the write endpoints.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use crate::intake::Outcome;

/// Which endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Otlp,
    OtlpGrpc,
    OtlpLogs,
    OtlpLogsGrpc,
    RemoteWrite,
    Import,
    RemoteWrite2,
    Text,
    Scrape,
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpLogs => "otlp_logs",
            Self::OtlpLogsGrpc => "otlp_logs_grpc",
            Self::RemoteWrite => "remote_write",
            Self::Import => "import",
            Self::RemoteWrite2 => "remote_write_2",
            Self::Text => "text",
            Self::Scrape => "scrape",
        }
    }
}

struct Instruments {
    requests: Counter<u64>,
    samples: Counter<u64>,
    refused: Counter<u64>,
    exemplars: Counter<u64>,
    skipped: Counter<u64>,
    body_bytes: Counter<u64>,
    decoded_bytes: Counter<u64>,
    seconds: Histogram<f64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = opentelemetry::global::meter("foreshock_ingest");
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        Instruments {
            requests: counter(
                "foreshock_ingest_requests",
                "Write requests answered, by protocol and HTTP status",
            ),
            samples: counter("foreshock_ingest_samples", "Samples made durable, by protocol"),
            refused: counter(
                "foreshock_ingest_refused_samples",
                "Samples not taken, by protocol and reason",
            ),
            exemplars: counter("foreshock_ingest_exemplars", "Exemplars kept in memory, by protocol"),
            skipped: counter(
                "foreshock_ingest_skipped_exemplars",
                "Exemplars not kept: too long, too many in a request, or older than what their series has",
            ),
            body_bytes: counter(
                "foreshock_ingest_body_bytes",
                "Bytes of bodies as they arrived, by protocol",
            ),
            decoded_bytes: counter(
                "foreshock_ingest_decoded_bytes",
                "Bytes of bodies after decompression, by protocol",
            ),
            seconds: meter
                .f64_histogram("foreshock_ingest_request_seconds")
                .with_unit("s")
                .with_description("Time from a write request's head to its answer, the disk's sync within it")
                .with_boundaries(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ])
                .build(),
        }
    })
}

fn protocol(protocol: Protocol) -> KeyValue {
    KeyValue::new("protocol", protocol.as_str())
}

pub(crate) fn answered(of: Protocol, status: StatusCode, took: Duration) {
    let instruments = instruments();
    instruments
        .requests
        .add(1, &[protocol(of), KeyValue::new("status", i64::from(status.as_u16()))]);
    instruments.seconds.record(took.as_secs_f64(), &[protocol(of)]);
}

pub(crate) fn arrived(of: Protocol, body_bytes: usize, decoded_bytes: usize) {
    instruments().body_bytes.add(body_bytes as u64, &[protocol(of)]);
    instruments().decoded_bytes.add(decoded_bytes as u64, &[protocol(of)]);
}

pub(crate) fn stored(of: Protocol, outcome: &Outcome) {
    instruments().samples.add(outcome.accepted, &[protocol(of)]);
    for (counter, count) in [
        (&instruments().exemplars, outcome.exemplars),
        (&instruments().skipped, outcome.exemplars_skipped),
    ] {
        if count > 0 {
            counter.add(count, &[protocol(of)]);
        }
    }
    for (reason, count) in outcome.refusals.iter() {
        instruments()
            .refused
            .add(count, &[protocol(of), KeyValue::new("reason", reason.as_str())]);
    }
}
