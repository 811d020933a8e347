use proptest::prelude::*;
use prost::Message;

use super::read::{self, Item};
use super::write::RequestWriter;
use crate::protobuf::DecodeError;

/// `prometheus.WriteRequest` as prompb/remote.proto and prompb/types.proto define it.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    metric: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

fn ours(body: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    for item in read::request(body) {
        match item? {
            Item::Series(series) => {
                let labels = series.labels().collect::<Result<Vec<_>, _>>()?;
                let samples = series.samples().collect::<Result<Vec<_>, _>>()?;
                out += &format!("{labels:?} {samples:?} {} {}\n", series.exemplars, series.histograms);
            }
            Item::Metadata(m) => out += &format!("{} {:?} {:?} {:?}\n", m.kind, m.metric, m.help, m.unit),
        }
    }
    Ok(out)
}

/// prost leaves out a zero of either sign, hence `+ 0.0`.
fn theirs(request: &WriteRequest) -> String {
    let mut out = String::new();
    for series in &request.timeseries {
        let labels: Vec<_> = series.labels.iter().map(|l| (&l.name, &l.value)).collect();
        let samples: Vec<_> = series.samples.iter().map(|s| (s.timestamp, s.value + 0.0)).collect();
        out += &format!(
            "{labels:?} {samples:?} {} {}\n",
            series.exemplars.len(),
            series.histograms.len()
        );
    }
    for m in &request.metadata {
        let kind = usize::try_from(m.kind)
            .ok()
            .and_then(|k| super::TYPES.get(k))
            .unwrap_or(&"unknown");
        out += &format!("{kind} {:?} {:?} {:?}\n", m.metric, m.help, m.unit);
    }
    out
}

fn any_request() -> impl Strategy<Value = WriteRequest> {
    let sample = || {
        prop::collection::vec(
            (any::<f64>(), any::<i64>()).prop_map(|(value, timestamp)| Sample { value, timestamp }),
            0..4,
        )
    };
    let label = (".{0,8}", ".{0,8}").prop_map(|(name, value)| Label { name, value });
    let series = (prop::collection::vec(label, 0..4), sample(), sample(), sample()).prop_map(
        |(labels, samples, exemplars, histograms)| TimeSeries {
            labels,
            samples,
            exemplars,
            histograms,
        },
    );
    let metadata = (-1..10_i32, ".{0,8}", ".{0,8}", ".{0,3}").prop_map(|(kind, metric, help, unit)| MetricMetadata {
        kind,
        metric,
        help,
        unit,
    });
    (
        prop::collection::vec(series, 0..4),
        prop::collection::vec(metadata, 0..3),
    )
        .prop_map(|(timeseries, metadata)| WriteRequest { timeseries, metadata })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_prost_encodes_is_read_alike(request in any_request()) {
        prop_assert_eq!(ours(&request.encode_to_vec()).expect("valid"), theirs(&request));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        ours(&body).map_or_else(drop, drop);
    }

    #[test]
    fn what_is_written_is_what_prost_would_write(request in any_request()) {
        let mut writer = RequestWriter::default();
        let mut plain = request.clone();
        for series in &mut plain.timeseries {
            series.exemplars.clear();
            series.histograms.clear();
            let labels: Vec<_> = series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
            let samples: Vec<_> = series.samples.iter().map(|s| (s.timestamp, s.value)).collect();
            writer.series(&labels, &samples);
        }
        for m in &mut plain.metadata {
            m.kind = if (0..8).contains(&m.kind) { m.kind } else { 0 };
            writer.metadata(&m.metric, super::TYPES[m.kind as usize], &m.help, &m.unit);
        }
        prop_assert_eq!(WriteRequest::decode(writer.finish().as_slice()).expect("valid").encode_to_vec(), plain.encode_to_vec());
    }
}
