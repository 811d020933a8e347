use proptest::prelude::*;
use prost::Message;

use super::{Request, Sample};
use crate::protobuf::DecodeError;

/// `io.prometheus.write.v2.Request` as prompb/io/prometheus/write/v2/types.proto defines it.
#[derive(Clone, PartialEq, Message)]
struct TheirRequest {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TheirSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TheirSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<TheirSample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<TheirSample>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<TheirExemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<TheirMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TheirSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TheirExemplar {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TheirMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help: u32,
    #[prost(uint32, tag = "4")]
    unit: u32,
}

fn ours(body: &[u8]) -> Result<String, DecodeError> {
    let request = Request::read(body)?;
    let mut out = String::new();
    for series in request.series() {
        let series = series?;
        let labels = series.labels().collect::<Result<Vec<_>, _>>()?;
        let samples = series.samples().collect::<Result<Vec<_>, _>>()?;
        let m = series.metadata;
        out += &format!(
            "{labels:?} {samples:?} {} {} {:?} {:?}",
            series.histograms, m.kind, m.help, m.unit
        );
        for exemplar in series.exemplars() {
            let exemplar = exemplar?;
            let labels = exemplar.labels().collect::<Result<Vec<_>, _>>()?;
            out += &format!(" {} {:?} {labels:?}", exemplar.at_ms, exemplar.value);
        }
        out.push('\n');
    }
    Ok(out)
}

fn theirs(request: &TheirRequest) -> Option<String> {
    let symbol = |at: &u32| request.symbols.get(*at as usize);
    let labels = |refs: &[u32]| -> Option<Vec<(&String, &String)>> {
        refs.chunks(2)
            .map(|pair| Some((symbol(&pair[0])?, symbol(pair.get(1)?)?)))
            .collect()
    };
    let mut out = String::new();
    for series in &request.timeseries {
        let samples: Vec<_> = series
            .samples
            .iter()
            .map(|s| Sample {
                at_ms: s.timestamp,
                value: s.value + 0.0,
                start_ms: s.start,
            })
            .collect();
        let (mut kind, mut help, mut unit) = (super::TYPES[0], "", "");
        if let Some(m) = &series.metadata {
            kind = usize::try_from(m.kind)
                .ok()
                .and_then(|k| super::TYPES.get(k))
                .unwrap_or(&super::TYPES[0]);
            // Prost leaves out a reference to the first symbol, which the specification wants to be empty.
            help = if m.help == 0 { "" } else { symbol(&m.help)? };
            unit = if m.unit == 0 { "" } else { symbol(&m.unit)? };
        }
        out += &format!(
            "{:?} {samples:?} {} {kind} {help:?} {unit:?}",
            labels(&series.labels_refs)?,
            series.histograms.len()
        );
        for e in &series.exemplars {
            out += &format!(" {} {:?} {:?}", e.timestamp, e.value + 0.0, labels(&e.labels_refs)?);
        }
        out.push('\n');
    }
    Some(out)
}

fn any_request() -> impl Strategy<Value = TheirRequest> {
    let refs = || prop::collection::vec(0..6_u32, 0..7);
    let sample = || {
        let one = (any::<f64>(), any::<i64>(), any::<i64>()).prop_map(|(value, timestamp, start)| TheirSample {
            value,
            timestamp,
            start,
        });
        prop::collection::vec(one, 0..4)
    };
    let exemplar = (refs(), any::<f64>(), any::<i64>()).prop_map(|(labels_refs, value, timestamp)| TheirExemplar {
        labels_refs,
        value,
        timestamp,
    });
    let metadata = (-1..10_i32, 0..6_u32, 0..6_u32).prop_map(|(kind, help, unit)| TheirMetadata { kind, help, unit });
    let series = (
        refs(),
        sample(),
        sample(),
        prop::collection::vec(exemplar, 0..3),
        prop::option::of(metadata),
    )
        .prop_map(|(labels_refs, samples, histograms, exemplars, metadata)| TheirSeries {
            labels_refs,
            samples,
            histograms,
            exemplars,
            metadata,
        });
    (
        prop::collection::vec(".{0,8}", 0..7),
        prop::collection::vec(series, 0..4),
    )
        .prop_map(|(symbols, timeseries)| TheirRequest { symbols, timeseries })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_prost_encodes_is_read_alike_or_refused_for_its_references(request in any_request()) {
        prop_assert_eq!(ours(&request.encode_to_vec()).ok(), theirs(&request));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        ours(&body).map_or_else(drop, drop);
    }
}

#[test]
fn references_are_checked() {
    let request = |labels_refs: Vec<u32>| TheirRequest {
        symbols: vec![String::new(), "a".to_owned()],
        timeseries: vec![TheirSeries {
            labels_refs,
            ..TheirSeries::default()
        }],
    };
    let read = |refs: Vec<u32>| ours(&request(refs).encode_to_vec()).map_err(|e| e.to_string());
    assert_eq!(
        read(vec![1, 0]).expect("valid").split(']').next(),
        Some("[(\"a\", \"\")")
    );
    assert_eq!(
        read(vec![1, 2]),
        Err("symbol 2 is referred to, and the message has 2 symbols".to_owned())
    );
    assert_eq!(
        read(vec![1]),
        Err("the message ends inside a field of labels_refs".to_owned())
    );
}

#[test]
fn more_symbols_than_anybody_needs_are_refused() {
    // Field 4, length 0.
    let body = [34, 0].repeat(super::SYMBOLS_MAX + 1);
    assert!(matches!(Request::read(&body), Err(DecodeError::TooMany { .. })));
    assert!(Request::read(&body[2..]).is_ok());
}
