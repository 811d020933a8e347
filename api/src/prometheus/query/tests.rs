use std::sync::Arc;

use store::promql::{Line, Point, Value};
use store::{Bucket, CUSTOM_SCHEMA, Histogram, Labels};

use super::write_value;

fn written(value: &Value) -> String {
    let mut out = Vec::new();
    write_value(&mut out, value);
    String::from_utf8(out).expect("JSON is text")
}

fn histogram() -> Arc<Histogram> {
    let bucket = |index, count| Bucket { index, count };
    Arc::new(Histogram {
        zero_threshold: 0.25,
        zero_count: 3.0,
        count: 42.0,
        sum: 34_593.34,
        positive: vec![bucket(-1, 12.0), bucket(0, 21.0), bucket(2, 5.0)],
        negative: vec![bucket(0, 1.0)],
        ..Histogram::default()
    })
}

#[test]
fn histograms_are_written_as_prometheus_writes_them() {
    let histogram = histogram();
    let labels = Labels::from_pairs([("__name__", "h")]);
    let point = Point {
        labels: labels.clone(),
        t: 1500,
        v: f64::NAN,
        histogram: Some(Arc::clone(&histogram)),
    };
    let buckets = r#"{"count":"42","sum":"34593.34","buckets":[[1,"-1","-0.5","1"],[3,"-0.25","0.25","3"],[0,"0.25","0.5","12"],[0,"0.5","1","21"],[0,"2","4","5"]]}"#;
    assert_eq!(
        written(&Value::Vector(vec![point])),
        format!(
            r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"h"}},"histogram":[1.500,{buckets}]}}]}}"#
        )
    );
    let line = Line {
        labels: labels.clone(),
        points: Vec::new(),
        histograms: vec![(2000, Arc::clone(&histogram))],
    };
    assert_eq!(
        written(&Value::Matrix(vec![line])),
        format!(r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"h"}},"histograms":[[2,{buckets}]]}}]}}"#)
    );
    let custom = Histogram {
        schema: CUSTOM_SCHEMA,
        positive: vec![Bucket { index: 0, count: 1.0 }, Bucket { index: 2, count: 1.0 }],
        bounds: Some(Arc::from([1.0, 2.0])),
        ..Histogram::default()
    };
    let line = Line {
        labels,
        points: vec![(1000, 2.0)],
        histograms: vec![(2000, Arc::new(custom)), (3000, Arc::new(Histogram::default()))],
    };
    assert_eq!(
        written(&Value::Matrix(vec![line])),
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"h"},"values":[[1,"2"]],"histograms":[[2,{"count":"0","sum":"0","buckets":[[3,"-Inf","1","1"],[0,"2","+Inf","1"]]}],[3,{"count":"0","sum":"0"}]]}]}"#
    );
}
