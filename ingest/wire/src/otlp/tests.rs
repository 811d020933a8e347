use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue as ProtoValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as ProtoKind,
};
use opentelemetry_proto::tonic::metrics::v1::{
    self as proto, exponential_histogram_data_point::Buckets, metric::Data as ProtoData, number_data_point::Value,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message;

use super::read::{self, AnyValue, Attributes, Data};
use super::write::{Distribution, RequestWriter};
use crate::metric::{Kind, MetricDef};
use crate::protobuf::DecodeError;

/// Everything that the reader gives, as text.
fn ours(body: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    for resource in read::request(body) {
        let resource = resource?;
        out += &format!("resource {}\n", attributes(&resource.resource)?);
        for scope in resource.scopes() {
            let scope = scope?;
            out += &format!(
                "scope {:?} {:?} {}\n",
                scope.name,
                scope.version,
                attributes(&scope.attributes)?
            );
            for metric in scope.metrics() {
                let metric = metric?;
                out += &format!("metric {:?} {:?} {:?}\n", metric.name, metric.description, metric.unit);
                points(&metric.data, &mut out)?;
            }
        }
    }
    Ok(out)
}

fn points(data: &Option<Data<'_>>, out: &mut String) -> Result<(), DecodeError> {
    match data {
        None => {}
        Some(Data::Gauge(points)) => numbers("gauge", points, out)?,
        Some(Data::Sum {
            points,
            temporality,
            monotonic,
        }) => {
            numbers(&format!("sum {temporality:?} {monotonic}"), points, out)?;
        }
        Some(Data::Histogram { points, temporality }) => {
            for point in points.histograms() {
                let p = point?;
                let counts = p.bucket_counts().collect::<Result<Vec<_>, _>>()?;
                let bounds = p.explicit_bounds().doubles().collect::<Result<Vec<_>, _>>()?;
                *out += &format!(
                    "histogram {temporality:?} {} {} {} {:?} {counts:?} {bounds:?} {} {}\n",
                    p.start_unix_nano,
                    p.time_unix_nano,
                    p.count,
                    p.sum,
                    p.gone,
                    attributes(&p.attributes)?
                );
            }
        }
        Some(Data::ExponentialHistogram { points, temporality }) => {
            for point in points.exponential_histograms() {
                let p = point?;
                let positive = p.positive.counts().collect::<Result<Vec<_>, _>>()?;
                let negative = p.negative.counts().collect::<Result<Vec<_>, _>>()?;
                *out += &format!(
                    "exponential {temporality:?} {} {} {:?} {} {} {:?} {} {positive:?} {} {negative:?} {} {}\n",
                    p.time_unix_nano,
                    p.count,
                    p.sum,
                    p.scale,
                    p.zero_count,
                    p.zero_threshold,
                    p.positive.offset,
                    p.negative.offset,
                    p.gone,
                    attributes(&p.attributes)?
                );
            }
        }
        Some(Data::Summary(points)) => {
            for point in points.summaries() {
                let p = point?;
                let quantiles = p.quantiles().collect::<Result<Vec<_>, _>>()?;
                *out += &format!(
                    "summary {} {} {:?} {quantiles:?} {} {}\n",
                    p.time_unix_nano,
                    p.count,
                    p.sum,
                    p.gone,
                    attributes(&p.attributes)?
                );
            }
        }
    }
    Ok(())
}

fn numbers(kind: &str, points: &read::Points<'_>, out: &mut String) -> Result<(), DecodeError> {
    for point in points.numbers() {
        let p = point?;
        *out += &format!(
            "{kind} {} {} {:?} {} {}\n",
            p.start_unix_nano,
            p.time_unix_nano,
            p.value,
            p.gone,
            attributes(&p.attributes)?
        );
    }
    Ok(())
}

fn attributes(attributes: &Attributes<'_>) -> Result<String, DecodeError> {
    let mut scratch = String::new();
    let mut out = String::new();
    for pair in attributes {
        let (key, value) = pair?;
        out += &format!("{key:?}={:?} ", value.text(&mut scratch)?);
    }
    Ok(out)
}

/// The same text from the official types.
fn theirs(request: &ExportMetricsServiceRequest) -> String {
    let mut out = String::new();
    for resource in &request.resource_metrics {
        let attributes = resource
            .resource
            .as_ref()
            .map(|r| their_attributes(&r.attributes))
            .unwrap_or_default();
        out += &format!("resource {attributes}\n");
        for scope in &resource.scope_metrics {
            let s = scope.scope.clone().unwrap_or_default();
            out += &format!(
                "scope {:?} {:?} {}\n",
                s.name,
                s.version,
                their_attributes(&s.attributes)
            );
            for metric in &scope.metrics {
                out += &format!("metric {:?} {:?} {:?}\n", metric.name, metric.description, metric.unit);
                their_points(metric.data.as_ref(), &mut out);
            }
        }
    }
    out
}

fn their_points(data: Option<&ProtoData>, out: &mut String) {
    let temporality = |t: i32| match t {
        1 => "Delta",
        2 => "Cumulative",
        _ => "Unspecified",
    };
    match data {
        None => {}
        Some(ProtoData::Gauge(gauge)) => their_numbers("gauge", &gauge.data_points, out),
        Some(ProtoData::Sum(sum)) => {
            let kind = format!("sum {} {}", temporality(sum.aggregation_temporality), sum.is_monotonic);
            their_numbers(&kind, &sum.data_points, out);
        }
        Some(ProtoData::Histogram(histogram)) => {
            for p in &histogram.data_points {
                *out += &format!(
                    "histogram {} {} {} {} {:?} {:?} {:?} {} {}\n",
                    temporality(histogram.aggregation_temporality),
                    p.start_time_unix_nano,
                    p.time_unix_nano,
                    p.count,
                    p.sum,
                    p.bucket_counts,
                    p.explicit_bounds,
                    p.flags & 1 != 0,
                    their_attributes(&p.attributes)
                );
            }
        }
        Some(ProtoData::ExponentialHistogram(histogram)) => {
            for p in &histogram.data_points {
                let (positive, negative) = (
                    p.positive.clone().unwrap_or_default(),
                    p.negative.clone().unwrap_or_default(),
                );
                *out += &format!(
                    "exponential {} {} {} {:?} {} {} {:?} {} {:?} {} {:?} {} {}\n",
                    temporality(histogram.aggregation_temporality),
                    p.time_unix_nano,
                    p.count,
                    p.sum,
                    p.scale,
                    p.zero_count,
                    plain(p.zero_threshold),
                    positive.offset,
                    positive.bucket_counts,
                    negative.offset,
                    negative.bucket_counts,
                    p.flags & 1 != 0,
                    their_attributes(&p.attributes)
                );
            }
        }
        Some(ProtoData::Summary(summary)) => {
            for p in &summary.data_points {
                let quantiles: Vec<_> = p.quantile_values.iter().map(|q| (q.quantile, plain(q.value))).collect();
                *out += &format!(
                    "summary {} {} {:?} {quantiles:?} {} {}\n",
                    p.time_unix_nano,
                    p.count,
                    plain(p.sum),
                    p.flags & 1 != 0,
                    their_attributes(&p.attributes)
                );
            }
        }
    }
}

/// prost leaves out a zero of either sign where the field has no presence.
fn plain(value: f64) -> f64 {
    value + 0.0
}

fn their_numbers(kind: &str, points: &[proto::NumberDataPoint], out: &mut String) {
    for p in points {
        let value = p.value.map(|v| match v {
            Value::AsDouble(v) => v,
            Value::AsInt(v) => v as f64,
        });
        *out += &format!(
            "{kind} {} {} {value:?} {} {}\n",
            p.start_time_unix_nano,
            p.time_unix_nano,
            p.flags & 1 != 0,
            their_attributes(&p.attributes)
        );
    }
}

fn their_attributes(attributes: &[KeyValue]) -> String {
    let render = |value: &Option<ProtoValue>| match value.as_ref().and_then(|v| v.value.as_ref()) {
        None => String::new(),
        Some(ProtoKind::StringValue(text)) => text.clone(),
        Some(ProtoKind::BoolValue(value)) => value.to_string(),
        Some(ProtoKind::IntValue(value)) => value.to_string(),
        Some(ProtoKind::DoubleValue(value)) => value.to_string(),
        Some(ProtoKind::ArrayValue(array)) => {
            let inner: Vec<_> = array.values.iter().map(|v| format!("{:?}", int_of(v))).collect();
            format!("[{}]", inner.join(","))
        }
        Some(ProtoKind::KvlistValue(list)) => {
            let inner: Vec<_> = list
                .values
                .iter()
                .map(|p| format!("\"{}\":{}", p.key, int_of(&p.value.clone().unwrap_or_default())))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Some(other) => format!("{other:?}"),
    };
    attributes
        .iter()
        .map(|a| format!("{:?}={:?} ", a.key, render(&a.value)))
        .collect()
}

fn int_of(value: &ProtoValue) -> i64 {
    if let Some(ProtoKind::IntValue(value)) = value.value {
        value
    } else {
        0
    }
}

fn proto_value(kind: ProtoKind) -> ProtoValue {
    ProtoValue { value: Some(kind) }
}

fn pair(key: String, value: Option<ProtoValue>) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

fn any_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let int = any::<i64>().prop_map(|v| proto_value(ProtoKind::IntValue(v)));
    let value = prop_oneof![
        3 => ".{0,12}".prop_map(|t| Some(proto_value(ProtoKind::StringValue(t)))),
        1 => any::<bool>().prop_map(|v| Some(proto_value(ProtoKind::BoolValue(v)))),
        1 => int.clone().prop_map(Some),
        1 => (-1000..1000_i32).prop_map(|v| Some(proto_value(ProtoKind::DoubleValue(f64::from(v) / 8.0)))),
        1 => prop::collection::vec(int.clone(), 0..4)
            .prop_map(|values| Some(proto_value(ProtoKind::ArrayValue(ArrayValue { values })))),
        1 => prop::collection::btree_map("[a-z]{1,4}", int, 0..4).prop_map(|map| {
            let values = map.into_iter().map(|(k, v)| pair(k, Some(v))).collect();
            Some(proto_value(ProtoKind::KvlistValue(KeyValueList { values })))
        }),
        1 => Just(Some(ProtoValue::default())),
        1 => Just(None),
    ];
    prop::collection::vec((".{0,10}", value).prop_map(|(key, value)| pair(key, value)), 0..4)
}

fn any_numbers() -> impl Strategy<Value = Vec<proto::NumberDataPoint>> {
    let value = prop_oneof![
        any::<f64>().prop_map(|v| Some(Value::AsDouble(v))),
        any::<i64>().prop_map(|v| Some(Value::AsInt(v))),
        Just(None)
    ];
    let point = (any_attributes(), any::<u64>(), any::<u64>(), value, 0..4_u32).prop_map(
        |(attributes, start, at, value, flags)| proto::NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: at,
            exemplars: vec![proto::Exemplar {
                time_unix_nano: at,
                ..Default::default()
            }],
            flags,
            value,
        },
    );
    prop::collection::vec(point, 0..4)
}

fn any_data() -> impl Strategy<Value = ProtoData> {
    let histogram = (
        any_attributes(),
        any::<[u64; 3]>(),
        any::<Option<f64>>(),
        prop::collection::vec(any::<f64>(), 0..4),
    )
        .prop_map(
            |(attributes, [start, at, count], sum, explicit_bounds)| proto::HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: at,
                count,
                sum,
                bucket_counts: (0..=explicit_bounds.len() as u64).collect(),
                explicit_bounds,
                flags: (count % 3) as u32,
                ..Default::default()
            },
        );
    let exponential = (
        any_attributes(),
        any::<[u64; 3]>(),
        any::<[i32; 3]>(),
        prop::collection::vec(any::<u64>(), 0..5),
    )
        .prop_map(|(attributes, [at, count, zero_count], [scale, a, b], bucket_counts)| {
            proto::ExponentialHistogramDataPoint {
                attributes,
                time_unix_nano: at,
                count,
                sum: (scale % 2 == 0).then_some(f64::from(a)),
                scale,
                zero_count,
                positive: Some(Buckets {
                    offset: a,
                    bucket_counts: bucket_counts.clone(),
                }),
                negative: (b > 0).then_some(Buckets {
                    offset: b,
                    bucket_counts,
                }),
                flags: (at % 2) as u32,
                zero_threshold: f64::from(b),
                ..Default::default()
            }
        });
    let summary = (any_attributes(), any::<[u64; 2]>(), any::<f64>()).prop_map(|(attributes, [at, count], sum)| {
        proto::SummaryDataPoint {
            attributes,
            time_unix_nano: at,
            count,
            sum,
            quantile_values: vec![
                ValueAtQuantile {
                    quantile: 0.5,
                    value: sum,
                },
                ValueAtQuantile::default(),
            ],
            ..Default::default()
        }
    });
    prop_oneof![
        any_numbers().prop_map(|data_points| ProtoData::Gauge(proto::Gauge { data_points })),
        (any_numbers(), 0..4_i32, any::<bool>()).prop_map(|(data_points, aggregation_temporality, is_monotonic)| {
            ProtoData::Sum(proto::Sum {
                data_points,
                aggregation_temporality,
                is_monotonic,
            })
        }),
        (prop::collection::vec(histogram, 0..3), 0..4_i32).prop_map(|(data_points, aggregation_temporality)| {
            ProtoData::Histogram(proto::Histogram {
                data_points,
                aggregation_temporality,
            })
        }),
        (prop::collection::vec(exponential, 0..3), 0..4_i32).prop_map(|(data_points, aggregation_temporality)| {
            ProtoData::ExponentialHistogram(proto::ExponentialHistogram {
                data_points,
                aggregation_temporality,
            })
        }),
        prop::collection::vec(summary, 0..3).prop_map(|data_points| ProtoData::Summary(proto::Summary { data_points })),
    ]
}

fn any_request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (".{0,12}", ".{0,12}", ".{0,5}", prop::option::weighted(0.9, any_data())).prop_map(
        |(name, description, unit, data)| proto::Metric {
            name,
            description,
            unit,
            data,
            ..Default::default()
        },
    );
    let scope =
        (".{0,5}", any_attributes(), prop::collection::vec(metric, 0..3)).prop_map(|(name, attributes, metrics)| {
            let scope = InstrumentationScope {
                name,
                version: "1".into(),
                attributes,
                ..Default::default()
            };
            proto::ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: String::new(),
            }
        });
    let resource =
        (prop::option::of(any_attributes()), prop::collection::vec(scope, 0..3)).prop_map(|(attributes, scopes)| {
            proto::ResourceMetrics {
                resource: attributes.map(|attributes| Resource {
                    attributes,
                    ..Default::default()
                }),
                scope_metrics: scopes,
                schema_url: "https://example.org".into(),
            }
        });
    prop::collection::vec(resource, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_official_encoder_writes_is_read_alike(request in any_request()) {
        let body = request.encode_to_vec();
        prop_assert_eq!(ours(&body).expect("a valid message is read"), theirs(&request));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        ours(&body).map_or_else(drop, drop);
    }

    #[test]
    fn damaged_requests_never_panic(request in any_request(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut body = request.encode_to_vec();
        if !body.is_empty() {
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            ours(&body).map_or_else(drop, drop);
        }
    }
}

const TIME: MetricDef = MetricDef {
    name: "system.cpu.time",
    unit: "s",
    kind: Kind::Counter,
    help: "Seconds by mode",
};
const LOAD: MetricDef = MetricDef {
    name: "load",
    unit: "",
    kind: Kind::Gauge,
    help: "",
};
const USED: MetricDef = MetricDef {
    name: "used",
    unit: "By",
    kind: Kind::UpDownCounter,
    help: "",
};
const LATENCY: MetricDef = MetricDef {
    name: "latency",
    unit: "s",
    kind: Kind::Histogram,
    help: "",
};

fn sample_request(writer: &mut RequestWriter) -> Vec<u8> {
    writer
        .metric(&TIME)
        .point(&[("cpu.mode", "user"), ("x", "")], 5, 10, 1.5)
        .point(&[], 5, 10, 0.0);
    writer.metric(&LOAD).metric(&USED).point(&[("a", "b")], 0, 10, -3.0);
    writer
        .next_resource(&[("host.name", "b"), ("service.name", "s")])
        .metric(&LOAD);
    writer.point(&[], 0, 11, f64::from_bits(0x7ff0_0000_0000_0002));
    writer
        .metric(&LATENCY)
        .histogram_point(&[("p", "q")], 1, 12, 2.5, &[0.1, 1.0], &[1, 0, 2]);
    writer.histogram_point(&[], 0, 12, 0.0, &[], &[4]);
    let mut of = Distribution {
        start_unix_nano: 0,
        time_unix_nano: 13,
        sum: None,
        gone: false,
    };
    writer.histogram_of(&[("p", "q")], &of, &[0.5], &[2, 1]);
    of.gone = true;
    writer.histogram_of(&[("p", "q")], &of, &[0.5], &[0, 0]);
    writer
        .summary_named("pause", "", "Seconds that it stood still")
        .summary_point(&[("g", "1")], &of, 0, &[]);
    of = Distribution {
        start_unix_nano: 1,
        sum: Some(2.5),
        gone: false,
        ..of
    };
    writer.summary_point(&[], &of, 7, &[(0.5, 0.25), (1.0, f64::INFINITY)]);
    writer.finish()
}

#[test]
fn the_official_decoder_reads_what_the_writer_writes() {
    let mut writer = RequestWriter::new(&[("host.name", "a")], "scope");
    let body = sample_request(&mut writer);
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).expect("the writer's bytes are a request");
    // Field order and lengths are canonical, so encoding it again gives the same bytes.
    assert_eq!(request.encode_to_vec(), body);
    assert_eq!(theirs(&request), ours(&body).expect("the reader agrees"));
    assert_eq!(
        theirs(&request),
        r#"resource "host.name"="a" 
scope "scope" "" 
metric "system.cpu.time" "Seconds by mode" "s"
sum Cumulative true 5 10 Some(1.5) false "cpu.mode"="user" "x"="" 
sum Cumulative true 5 10 Some(0.0) false 
metric "used" "" "By"
sum Cumulative false 0 10 Some(-3.0) false "a"="b" 
resource "host.name"="b" "service.name"="s" 
scope "scope" "" 
metric "load" "" ""
gauge 0 11 None true 
metric "latency" "" "s"
histogram Cumulative 1 12 3 Some(2.5) [1, 0, 2] [0.1, 1.0] false "p"="q" 
histogram Cumulative 0 12 4 Some(0.0) [4] [] false 
histogram Cumulative 0 13 3 None [2, 1] [0.5] false "p"="q" 
histogram Cumulative 0 13 0 None [0, 0] [0.5] true "p"="q" 
metric "pause" "Seconds that it stood still" ""
summary 13 0 0.0 [] true "g"="1" 
summary 13 7 2.5 [(0.5, 0.25), (1.0, inf)] false 
"#
    );
}

#[test]
fn a_writer_used_again_gives_the_same_bytes() {
    let mut writer = RequestWriter::new(&[("host.name", "a")], "scope");
    let first = sample_request(&mut writer);
    writer.next_resource(&[("host.name", "a")]);
    assert_eq!(sample_request(&mut writer), first);
    writer.metric(&LOAD);
    assert!(writer.is_empty() && writer.finish().is_empty());
}

#[test]
fn what_the_conventions_have_as_a_number_is_one() {
    let mut writer = RequestWriter::default();
    writer.metric(&LOAD);
    for (key, value) in [
        ("cpu.logical_number", "0"),
        ("cpu.logical_number", "511"),
        ("cpu.logical_number", "007"),
        ("cpu.logical_number", "18446744073709551615"),
        ("cpu.logical_number", "x"),
        ("cpu.mode", "12"),
    ] {
        writer.point(&[(key, value)], 0, 10, 1.0);
    }
    let body = writer.finish();
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).expect("a request");
    assert_eq!(request.encode_to_vec(), body);
    let Some(ProtoData::Gauge(gauge)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("the load is a gauge")
    };
    let kinds = gauge.data_points.iter().map(|point| {
        let value = point.attributes[0].value.as_ref().and_then(|value| value.value.clone());
        value.expect("a value")
    });
    let text = |text: &str| ProtoKind::StringValue(text.to_owned());
    let expected = [
        ProtoKind::IntValue(0),
        ProtoKind::IntValue(511),
        text("007"),
        text("18446744073709551615"),
        text("x"),
        text("12"),
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    let said = ours(&body).expect("the reader agrees");
    assert!(said.contains("\"cpu.logical_number\"=\"511\""), "{said}");
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_request() {
    let body = sample_request(&mut RequestWriter::new(&[("host.name", "a")], "scope"));
    let first = body.len() - ours_first_len(&body);
    for end in 1..body.len() {
        // The request is whole again only where its first resource ends.
        assert_eq!(
            ours(&body[..end]).is_ok(),
            end == first,
            "at byte {end} of {}",
            body.len()
        );
    }
}

/// Bytes after the first resource.
fn ours_first_len(body: &[u8]) -> usize {
    let request = ExportMetricsServiceRequest::decode(body).expect("valid");
    let rest = ExportMetricsServiceRequest {
        resource_metrics: request.resource_metrics[1..].to_vec(),
    };
    rest.encoded_len()
}

#[test]
fn values_are_written_as_the_collector_writes_them() {
    let check = |value: ProtoKind, expected: &str| {
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![proto::ResourceMetrics {
                resource: Some(Resource {
                    attributes: vec![pair("k".into(), Some(proto_value(value)))],
                    ..Default::default()
                }),
                ..Default::default()
            }],
        };
        let body = request.encode_to_vec();
        let resource = read::request(&body).next().expect("one resource").expect("valid");
        let (_, value) = resource.resource.iter().next().expect("one attribute").expect("valid");
        let mut scratch = String::from("left over");
        assert_eq!(value.text(&mut scratch).expect("valid"), expected);
    };
    check(ProtoKind::DoubleValue(1e21), "1e+21");
    check(ProtoKind::DoubleValue(1e20), "100000000000000000000");
    check(ProtoKind::DoubleValue(0.000_000_5), "5e-7");
    check(ProtoKind::DoubleValue(1.0), "1");
    check(ProtoKind::DoubleValue(f64::NAN), "json: unsupported value: NaN");
    check(ProtoKind::BytesValue(b"hello".to_vec()), "aGVsbG8=");
    check(ProtoKind::BytesValue(vec![255, 254]), "//4=");
    check(ProtoKind::BytesValue(vec![1, 2, 3]), "AQID");
    let text = |t: &str| proto_value(ProtoKind::StringValue(t.into()));
    let inner = ProtoKind::ArrayValue(ArrayValue {
        values: vec![text("a\"\n\u{1}"), ProtoValue::default()],
    });
    let map = KeyValueList {
        values: vec![
            pair("z".into(), Some(proto_value(ProtoKind::BoolValue(true)))),
            pair("a".into(), Some(proto_value(inner))),
        ],
    };
    check(ProtoKind::KvlistValue(map), r#"{"a":["a\"\n\u0001",null],"z":true}"#);
    check(ProtoKind::ArrayValue(ArrayValue::default()), "[]");
}

#[test]
fn values_nested_too_deep_are_refused() {
    let mut value = ProtoValue::default();
    for _ in 0..40 {
        value = proto_value(ProtoKind::ArrayValue(ArrayValue { values: vec![value] }));
    }
    let attributes = vec![pair("k".into(), Some(value))];
    let bytes = Resource {
        attributes,
        ..Default::default()
    }
    .encode_to_vec();
    let mut body = Vec::new();
    crate::protobuf::put_message_key(&mut body, 1, crate::protobuf::bytes_field_len(bytes.len()));
    crate::protobuf::put_bytes_field(&mut body, 1, &bytes);
    assert_eq!(
        ours(&body),
        Err(DecodeError::TooDeep {
            message: "AnyValue",
            limit: 16
        })
    );
}

#[test]
fn values_that_take_too_much_as_text_are_refused() {
    let check = |kind: ProtoKind, bytes: Option<usize>| {
        let resource = Resource {
            attributes: vec![pair("k".into(), Some(proto_value(kind)))],
            ..Default::default()
        };
        let resource_metrics = vec![proto::ResourceMetrics {
            resource: Some(resource),
            ..Default::default()
        }];
        let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let resource = read::request(&body).next().expect("one resource").expect("valid");
        let (_, value) = resource.resource.iter().next().expect("one attribute").expect("valid");
        let too_large = DecodeError::TooLarge {
            message: "AnyValue",
            limit: 1 << 20,
        };
        let mut scratch = String::new();
        assert_eq!(value.text(&mut scratch).map(str::len), bytes.ok_or(too_large));
        // A pair is two bytes of the message, and 40 as it is read: they stop being read where their text is too long.
        assert!(scratch.capacity() < 8 << 20, "{}", scratch.capacity());
    };
    let empty_pairs = |n| {
        ProtoKind::KvlistValue(KeyValueList {
            values: vec![KeyValue::default(); n],
        })
    };
    let array = |values| ProtoKind::ArrayValue(ArrayValue { values });
    // `"":null` and a comma, and two braces for one comma too many.
    check(empty_pairs(131_071), Some(131_071 * 8 + 1));
    check(empty_pairs(131_072), None);
    check(empty_pairs(1_000_000), None);
    check(array(vec![proto_value(empty_pairs(70_000)); 2]), None);
    check(array(vec![ProtoValue::default(); 300_000]), None);
    check(ProtoKind::BytesValue(vec![0; 786_432]), Some(1 << 20));
    check(ProtoKind::BytesValue(vec![0; 786_433]), None);
    // Text is not written but there; within an array it is.
    let text = ProtoKind::StringValue("x".repeat(1 << 20));
    check(text.clone(), Some(1 << 20));
    check(array(vec![proto_value(text)]), None);
    // Six bytes for each.
    check(
        array(vec![proto_value(ProtoKind::StringValue("\u{1}".repeat(200_000)))]),
        None,
    );
    // What is still to be written counts within each level.
    let mut nested = empty_pairs(20_000);
    for _ in 0..14 {
        let KeyValueList { mut values } = KeyValueList {
            values: vec![KeyValue::default(); 20_000],
        };
        values[0].value = Some(proto_value(nested));
        nested = ProtoKind::KvlistValue(KeyValueList { values });
    }
    check(nested, None);
}

#[test]
fn an_empty_value_is_no_text() {
    assert_eq!(AnyValue::Empty.text(&mut String::from("x")), Ok(""));
}

#[test]
fn responses_are_read_as_they_were_written() {
    use super::response::{export_response, read_export_response};
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
    for (rejected, message) in [(0, ""), (7, ""), (0, "a warning"), (300, "too far ahead")] {
        let body = export_response(rejected, message);
        assert_eq!(read_export_response(&body), Ok((rejected, message)));
        let theirs = ExportMetricsServiceResponse::decode(body.as_slice()).expect("a valid response");
        let partial = theirs.partial_success.unwrap_or_default();
        assert_eq!(
            (partial.rejected_data_points, partial.error_message.as_str()),
            (rejected as i64, message)
        );
    }
}
