//! Evaluates PromQL over samples given as JSON lines: a way to compare the evaluator with others, from any language.
//!
//! One request a line on standard input, one answer a line on standard output:
//! ```text
//! {"op":"write","tenant":"a","labels":{"__name__":"up"},"samples":[[1000,"1"],[2000,"NaN"],[3000,"stale"]]}
//! {"op":"write","tenant":"a","labels":{"__name__":"h"},"histograms":[[1000,{"schema":3,"count":3,"sum":4,"positive":[[0,1],[2,2]]}]]}
//! {"op":"query","tenant":"a","query":"up","time":3000}
//! {"op":"range","tenant":"a","query":"up","start":0,"end":60000,"step":15000}
//! ```
//! Histograms may also have hint, zero_threshold, zero_count, negative and bounds. Answers have the shape of Prometheus' HTTP API. Times are milliseconds here, seconds there.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Arc;

use foreshock_store::promql::{Answer, Engine, EngineOptions, Memory, QueryErrorKind, QueryOptions, Value};
use foreshock_store::{Bucket, Histogram, HistogramError, Histograms, Labels, ResetHint, Samples, stale_nan};
use serde_json::{Value as Json, json};

type Series = BTreeMap<Labels, (BTreeMap<i64, f64>, BTreeMap<i64, Arc<Histogram>>)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let experimental = std::env::args().any(|arg| arg == "--experimental");
    let engine = Engine::new(EngineOptions {
        experimental,
        ..EngineOptions::default()
    });
    let mut tenants: BTreeMap<String, (Series, Option<Memory>)> = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line?)?;
        let (series, memory) = tenants
            .entry(request["tenant"].as_str().unwrap_or("").to_owned())
            .or_default();
        let answer = if request["op"] == "write" {
            *memory = None;
            match write(series, &request) {
                Ok(()) => json!({"status": "success"}),
                Err(error) => json!({"status": "error", "errorType": "bad_data", "error": error.to_string()}),
            }
        } else {
            let memory = memory.get_or_insert_with(|| loaded(series));
            query(&engine, memory, &request)
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn write(series: &mut Series, request: &Json) -> Result<(), HistogramError> {
    let pairs = request["labels"].as_object().into_iter().flatten();
    let labels = Labels::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or(""))));
    let (samples, histograms) = series.entry(labels).or_default();
    for sample in request["samples"].as_array().into_iter().flatten() {
        let value = match sample[1].as_str().unwrap_or("NaN") {
            "stale" => stale_nan(),
            text => text.parse().unwrap_or(f64::NAN),
        };
        samples.insert(sample[0].as_i64().unwrap_or(0), value);
    }
    for sample in request["histograms"].as_array().into_iter().flatten() {
        let value = read_histogram(&sample[1])?;
        histograms.insert(sample[0].as_i64().unwrap_or(0), Arc::new(value));
    }
    Ok(())
}

/// A number, or the text of one, such as `"NaN"`.
fn number(value: &Json) -> f64 {
    value
        .as_f64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        .unwrap_or(0.0)
}

fn read_histogram(json: &Json) -> Result<Histogram, HistogramError> {
    let buckets = |side: &Json| -> Vec<Bucket> {
        let pairs = side.as_array().into_iter().flatten();
        pairs
            .map(|pair| Bucket {
                index: pair[0].as_i64().and_then(|index| index.try_into().ok()).unwrap_or(0),
                count: number(&pair[1]),
            })
            .collect()
    };
    let bounds = json["bounds"].as_array().map(|all| all.iter().map(number).collect());
    let schema = json["schema"]
        .as_i64()
        .and_then(|schema| schema.try_into().ok())
        .unwrap_or(0);
    let histogram = Histogram {
        reset: ResetHint::of_number(json["hint"].as_u64().and_then(|hint| hint.try_into().ok()).unwrap_or(0)),
        schema,
        zero_threshold: number(&json["zero_threshold"]),
        zero_count: number(&json["zero_count"]),
        count: number(&json["count"]),
        sum: number(&json["sum"]),
        positive: buckets(&json["positive"]),
        negative: buckets(&json["negative"]),
        bounds,
    };
    histogram.checked()
}

fn loaded(series: &Series) -> Memory {
    let mut memory = Memory::default();
    for (labels, (samples, histograms)) in series {
        let samples = Samples {
            timestamps: samples.keys().copied().collect(),
            values: samples.values().copied().collect(),
        };
        let histograms = Histograms {
            timestamps: histograms.keys().copied().collect(),
            values: histograms.values().map(Arc::clone).collect(),
        };
        memory.insert_mixed(labels.clone(), samples, histograms);
    }
    memory
}

fn query(engine: &Engine, memory: &Memory, request: &Json) -> Json {
    let text = request["query"].as_str().unwrap_or("");
    let time = |name: &str| request[name].as_i64().unwrap_or(0);
    let options = QueryOptions::default();
    let answer = if request["op"] == "query" {
        engine.instant(memory, text, time("time"), &options)
    } else {
        engine.range(memory, text, time("start"), time("end"), time("step"), &options)
    };
    match answer {
        Ok(answer) => success(answer),
        Err(error) => {
            let kind = match error.kind() {
                QueryErrorKind::BadData => "bad_data",
                QueryErrorKind::Execution => "execution",
                QueryErrorKind::Timeout => "timeout",
                QueryErrorKind::Canceled => "canceled",
                QueryErrorKind::Internal => "internal",
            };
            json!({"status": "error", "errorType": kind, "error": error.to_string(), "hint": error.hint()})
        }
    }
}

fn success(answer: Answer) -> Json {
    let point = |t: i64, v: f64| json!([t as f64 / 1000.0, written(v)]);
    let metric = |labels: &Labels| {
        labels
            .iter()
            .map(|(n, v)| (n.to_owned(), json!(v)))
            .collect::<serde_json::Map<_, _>>()
    };
    let (kind, result) = match answer.value {
        Value::Scalar { t, v } => ("scalar", point(t, v)),
        Value::String { t, v } => ("string", json!([t as f64 / 1000.0, v])),
        Value::Vector(points) => {
            let points = points.iter().map(|p| match &p.histogram {
                Some(h) => json!({"metric": metric(&p.labels), "histogram": [p.t as f64 / 1000.0, histogram(h)]}),
                None => json!({"metric": metric(&p.labels), "value": point(p.t, p.v)}),
            });
            ("vector", points.collect())
        }
        Value::Matrix(lines) => {
            let lines = lines.iter().map(|line| {
                let values: Vec<Json> = line.points.iter().map(|&(t, v)| point(t, v)).collect();
                let histograms: Vec<Json> = line
                    .histograms
                    .iter()
                    .map(|(t, h)| json!([*t as f64 / 1000.0, histogram(h)]))
                    .collect();
                json!({"metric": metric(&line.labels), "values": values, "histograms": histograms})
            });
            ("matrix", lines.collect())
        }
    };
    let mut body = json!({"status": "success", "data": {"resultType": kind, "result": result}});
    for (name, texts) in [("warnings", answer.warnings), ("infos", answer.infos)] {
        if !texts.is_empty() {
            body[name] = json!(texts);
        }
    }
    body
}

fn histogram(histogram: &Histogram) -> Json {
    let buckets: Vec<Json> = histogram
        .spans()
        .map(|span| json!([written(span.lower), written(span.upper), written(span.count)]))
        .collect();
    json!({"count": written(histogram.count), "sum": written(histogram.sum), "buckets": buckets})
}

fn written(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}
