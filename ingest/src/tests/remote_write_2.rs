use wire::protobuf::{put_bytes_field, put_fixed64_field, put_varint, put_varint_field};

use super::*;

/// Builds `io.prometheus.write.v2.Request`.
#[derive(Default)]
struct Writer {
    symbols: Vec<String>,
    series: Vec<Vec<u8>>,
    /// When all series began to count; a minute ago where it is not said.
    start_ms: Option<i64>,
}

impl Writer {
    fn symbol(&mut self, text: &str) -> u64 {
        if self.symbols.is_empty() {
            self.symbols.push(String::new());
        }
        let at = self.symbols.iter().position(|s| s == text).unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        });
        at as u64
    }

    fn refs(&mut self, labels: &[(&str, &str)]) -> Vec<u8> {
        let mut refs = Vec::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            let symbol = self.symbol(text);
            put_varint(&mut refs, symbol);
        }
        refs
    }

    /// A series with samples, an exemplar for each of `traces`, and its metadata.
    fn series(
        &mut self,
        labels: &[(&str, &str)],
        samples: &[(i64, f64)],
        traces: &[(i64, &str)],
        (kind, help): (u64, &str),
    ) -> &mut Self {
        let mut series = Vec::new();
        put_bytes_field(&mut series, 1, &self.refs(labels));
        for &(at_ms, value) in samples {
            let mut sample = Vec::new();
            put_fixed64_field(&mut sample, 1, value.to_bits());
            put_varint_field(&mut sample, 2, at_ms as u64);
            put_varint_field(&mut sample, 3, self.start_ms.unwrap_or(NOW_MS - 60_000) as u64);
            put_bytes_field(&mut series, 2, &sample);
        }
        for (at_ms, trace) in traces {
            let mut exemplar = Vec::new();
            put_bytes_field(&mut exemplar, 1, &self.refs(&[("trace_id", trace)]));
            put_fixed64_field(&mut exemplar, 2, 0.5_f64.to_bits());
            put_varint_field(&mut exemplar, 3, *at_ms as u64);
            put_bytes_field(&mut series, 4, &exemplar);
        }
        let mut metadata = Vec::new();
        put_varint_field(&mut metadata, 1, kind);
        let help = self.symbol(help);
        put_varint_field(&mut metadata, 3, help);
        put_bytes_field(&mut series, 5, &metadata);
        self.series.push(series);
        self
    }

    fn finish(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for symbol in &self.symbols {
            put_bytes_field(&mut out, 4, symbol.as_bytes());
        }
        for series in &self.series {
            put_bytes_field(&mut out, 5, series);
        }
        out
    }
}

/// The counts that the answer's headers name: samples, histograms, exemplars.
fn written(answer: &Answer) -> [u64; 3] {
    ["samples", "histograms", "exemplars"].map(|what| {
        let header = &answer.headers[&format!("x-prometheus-remote-write-{what}-written")];
        header.to_str().expect("text").parse().expect("a number")
    })
}

#[tokio::test]
async fn what_is_acknowledged_is_counted_and_read_back() {
    let server = Server::new();
    let body = Writer::default()
        .series(
            &[("__name__", "requests_total"), ("job", "web")],
            &[(NOW_MS - 15_000, 1.0), (NOW_MS, store::stale_nan())],
            &[(NOW_MS - 15_000, "a"), (NOW_MS, "b")],
            (1, "Requests so far"),
        )
        .series(
            &[("__name__", "seconds_bucket"), ("le", "1")],
            &[(NOW_MS, 2.0)],
            &[],
            (3, "Time taken"),
        )
        .finish();
    for _ in 0..2 {
        let answer = server.remote_write_2(&[], &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        assert_eq!(written(&answer), [3, 0, 2], "sent again counts as written");
    }
    assert_eq!(
        server.stored(),
        "requests_total{job=\"web\"} -15000=1 0=stale\nseconds_bucket{le=\"1\"} 0=2\n"
    );
    assert_eq!(
        server.exemplars(),
        "requests_total{job=\"web\"}: -15000=0.5{trace_id=\"a\"} 0=0.5{trace_id=\"b\"}\n"
    );
    let metadata = server.store("default").metadata();
    let shown: Vec<String> = metadata
        .iter()
        .map(|(name, m)| format!("{name} {} {}", m.kind.as_str(), m.help))
        .collect();
    assert_eq!(
        shown,
        ["requests_total counter Requests so far", "seconds histogram Time taken"]
    );
}

#[tokio::test]
async fn a_counter_begins_with_zero_where_that_is_wanted() {
    let server = Server::with(
        Limits {
            zero_at_start: true,
            ..Limits::default()
        },
        StoreOptions::default(),
    );
    let send = async |name: &str, start_ms, samples: &[(i64, f64)]| {
        let mut writer = Writer {
            start_ms,
            ..Writer::default()
        };
        let body = writer.series(&[("__name__", name)], samples, &[], (1, "")).finish();
        let answer = server.remote_write_2(&[], &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    };
    // The zero stands there once, and not after a sample that is older than the beginning.
    send("requests_total", None, &[(NOW_MS - 15_000, 3.0), (NOW_MS, 4.0)]).await;
    send("requests_total", None, &[(NOW_MS + 1000, 5.0)]).await;
    send("requests_total", None, &[(NOW_MS - 90_000, 9.0)]).await;
    // What began long before its first sample, or at an unknown time, is left as it is.
    send("uptime_total", Some(NOW_MS - 7_200_000), &[(NOW_MS, 1.0)]).await;
    send("unknown_total", Some(0), &[(NOW_MS, 2.0)]).await;
    assert_eq!(
        server.stored(),
        "requests_total -90000=9 -60000=0 -15000=3 0=4 1000=5\nunknown_total 0=2\nuptime_total 0=1\n"
    );
}

#[tokio::test]
async fn a_part_that_is_not_written_shows_in_status_and_counts() {
    let server = Server::new();
    let body = Writer::default()
        .series(&[("__name__", "good")], &[(NOW_MS, 1.0)], &[], (0, ""))
        .series(
            &[("job", "nameless")],
            &[(NOW_MS, 1.0), (NOW_MS + 1, 2.0)],
            &[],
            (0, ""),
        )
        .series(
            &[("__name__", "ahead")],
            &[(NOW_MS + 601_000, 1.0), (NOW_MS, 3.0)],
            &[],
            (0, ""),
        )
        .finish();
    let answer = server.remote_write_2(&[], &body).await;
    assert_eq!((answer.status, written(&answer)), (StatusCode::BAD_REQUEST, [2, 0, 0]));
    let detail = answer.problem()["detail"].to_string();
    assert!(
        detail.contains("2 because the metric has no name") && detail.contains("too far ahead"),
        "{detail}"
    );
    assert_eq!(server.stored(), "ahead 0=3\ngood 0=1\n");
}

#[tokio::test]
async fn a_request_that_fails_as_a_whole_says_that_nothing_was_written() {
    let server = Server::new();
    let mut body = Writer::default()
        .series(&[("__name__", "good")], &[(NOW_MS, 1.0)], &[], (0, ""))
        .finish();
    // TimeSeries { labels_refs: [9, 9] }
    put_bytes_field(&mut body, 5, &[10, 2, 9, 9]);
    let answer = server.remote_write_2(&[], &body).await;
    assert_eq!((answer.status, written(&answer)), (StatusCode::BAD_REQUEST, [0, 0, 0]));
    assert!(answer.problem()["detail"].to_string().contains("symbol 9"));
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn exemplars_that_are_too_long_are_left_out_without_a_refusal() {
    let server = Server::new();
    let long = "x".repeat(121);
    let body = Writer::default()
        .series(
            &[("__name__", "m")],
            &[(NOW_MS, 1.0)],
            &[(NOW_MS, &long), (NOW_MS, &long[..120]), (NOW_MS - 1, "older")],
            (0, ""),
        )
        .finish();
    let answer = server.remote_write_2(&[], &body).await;
    assert_eq!((answer.status, written(&answer)), (StatusCode::NO_CONTENT, [1, 0, 1]));
}
