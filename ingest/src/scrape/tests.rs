//! Configuration and rules as text; scrapes of an exporter on loopback, by a clock that the test sets.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use store::{Clock, Samples, StoreOptions, Tenants, TimeRange};

use super::relabel::{Pairs, Rule, RuleText, apply};
use super::*;
use crate::Limits;

const NOW_MS: i64 = 1_767_225_600_000;

fn config(text: &str) -> ScrapeConfig {
    ScrapeConfig::parse(Path::new("scrape.yml"), text).expect("a valid configuration")
}

fn refused(text: &str) -> String {
    let error = ScrapeConfig::parse(Path::new("scrape.yml"), text).expect_err("it is refused");
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Labels as `a=1 b=2`.
fn pairs(text: &str) -> Pairs {
    text.split_whitespace()
        .map(|word| word.split_once('=').expect("name=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn check_rule(rule: &str, labels: &str, expected: &str) {
    let rule: RuleText = serde_yaml_ng::from_str(rule).expect("a rule");
    let mut labels = pairs(labels);
    let kept = apply(&[Rule::new(&rule).expect("a valid rule")], &mut labels);
    labels.sort();
    let shown: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(if kept { shown.join(" ") } else { "dropped".to_owned() }, expected);
}

#[test]
fn rules_rewrite_labels_as_prometheus_does() {
    check_rule("{source_labels: [a], target_label: b}", "a=1", "a=1 b=1");
    check_rule(
        "{source_labels: [a, b], regex: '(.*);(.*)', target_label: c, replacement: '$2-${1}x'}",
        "a=1 b=2",
        "a=1 b=2 c=2-1x",
    );
    check_rule(
        "{source_labels: [a], regex: '1', target_label: a, replacement: ''}",
        "a=1 b=2",
        "b=2",
    );
    check_rule("{source_labels: [a], regex: '1', target_label: c}", "a=11", "a=11");
    check_rule("{source_labels: [a], regex: 'x.*', action: keep}", "a=xy", "a=xy");
    check_rule("{source_labels: [a], regex: 'x.*', action: keep}", "a=y", "dropped");
    check_rule("{source_labels: [a], regex: 'x.*', action: drop}", "a=xy", "dropped");
    check_rule(
        "{source_labels: [a], target_label: b, action: dropequal}",
        "a=1 b=1",
        "dropped",
    );
    check_rule(
        "{source_labels: [a], target_label: b, action: keepequal}",
        "a=1 b=1",
        "a=1 b=1",
    );
    check_rule("{regex: 'm_(.+)', action: labelmap}", "m_a=1 b=2", "a=1 b=2 m_a=1");
    check_rule("{regex: 'm_.+', action: labeldrop}", "m_a=1 b=2", "b=2");
    check_rule("{regex: 'm_.+', action: labelkeep}", "m_a=1 b=2", "m_a=1");
    check_rule("{source_labels: [a], target_label: a, action: uppercase}", "a=x", "a=X");
}

#[test]
fn what_a_configuration_cannot_mean_is_refused_by_name() {
    for (text, part) in [
        (
            "scrape_configs: [{job_name: a, kubernetes_sd_configs: []}]",
            "kubernetes_sd_configs",
        ),
        (
            "scrape_configs: [{job_name: a}, {job_name: a}]",
            "job \"a\": every job needs a name of its own",
        ),
        ("scrape_configs: [{job_name: a, scrape_interval: 5q}]", "is no duration"),
        (
            "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}]",
            "longer than scrape_interval",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{regex: '('}]}]",
            "job \"a\": regex parse error",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{action: replace}]}]",
            "needs a target_label",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod}]}]",
            "hashmod",
        ),
        ("scrape_configs: [{job_name: a, scheme: gopher}]", "gopher"),
    ] {
        let said = refused(text);
        assert!(said.contains(part), "{part} in {said}");
    }
    // What else a Prometheus is told is not our business.
    assert_eq!(config("{rule_files: [a.yml], remote_write: [{url: x}]}").jobs.len(), 0);
}

fn show(found: &Found) -> Vec<String> {
    let targets = found.targets.values().map(|made| {
        let labels: Vec<String> = made.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{} {} every {:?}", made.url, labels.join(" "), made.interval)
    });
    targets.collect()
}

#[test]
fn targets_come_from_the_configuration_and_from_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = dir.path().join("*.json").display().to_string();
    let config = config(&format!(
        "global: {{scrape_interval: 15s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ['a:9100', 'b:9100', 'drop:1'], labels: {{zone: z}}}}]
  relabel_configs: [{{source_labels: [__address__], regex: 'drop.*', action: drop}}]
- job_name: probe
  scrape_interval: 1m
  scheme: https
  metrics_path: /probe
  params: {{module: ['http 2xx'], debug: [a, b]}}
  file_sd_configs: [{{files: ['{files}'], refresh_interval: 1m}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: 'blackbox:9115'}}
"
    ));
    let file = dir.path().join("t.json");
    std::fs::write(&file, r#"[{"targets":["x.example"],"labels":{"team":"t"}}]"#).expect("written");
    let mut discovered = Discovered::default();
    let found = discovered.look(&config);
    let expected = [
        "http://a:9100/metrics instance=a:9100 job=node zone=z every 15s",
        "http://b:9100/metrics instance=b:9100 job=node zone=z every 15s",
        "https://blackbox:9115/probe?debug=a&debug=b&module=http%202xx&target=x.example instance=x.example job=probe team=t every 60s",
    ];
    assert_eq!(show(&found), expected);
    assert_eq!(found.dropped["node"], 1);
    std::fs::write(&file, r#"[{"targets":["#).expect("written");
    assert_eq!(show(&discovered.look(&config)), expected, "half a file changes nothing");
    std::fs::write(&file, "[]").expect("written");
    assert_eq!(show(&discovered.look(&config)), expected[..2]);
}

#[test]
fn a_file_that_is_not_there_names_no_targets() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("t.yml");
    let whole = "[{targets: ['x:1']}]";
    // By its name, and by a pattern.
    for named in [file.clone(), dir.path().join("*.yml")] {
        let config = config(&format!(
            "scrape_configs: [{{job_name: j, file_sd_configs: [{{files: ['{}']}}]}}]",
            named.display()
        ));
        let mut discovered = Discovered::default();
        let mut check = |content: Option<&str>, targets| {
            match content {
                Some(text) => std::fs::write(&file, text).expect("written"),
                None => std::fs::remove_file(&file).expect("removed"),
            }
            assert_eq!(
                discovered.look(&config).targets.len(),
                targets,
                "{content:?} of {named:?}"
            );
        };
        check(Some("[{targets: ["), 0);
        check(Some(whole), 1);
        check(Some("[{targets: ["), 1);
        check(None, 0);
        check(Some(whole), 1);
        check(None, 0);
    }
}

/// What the exporter answers next.
type Shown = Arc<Mutex<(StatusCode, &'static str, String)>>;

struct Exporter {
    shown: Shown,
    clock: Arc<AtomicI64>,
    tenants: Arc<Tenants>,
    state: Arc<IngestState>,
    target: Arc<Target>,
    client: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Exporter {
    /// An exporter on loopback, with a job of these further keys.
    async fn new(job: &str) -> Self {
        Self::of(job, StoreOptions::default().max_series).await
    }

    async fn of(job: &str, max_series: usize) -> Self {
        let shown: Shown = Arc::new(Mutex::new((StatusCode::OK, "text/plain", String::new())));
        let answers = Arc::clone(&shown);
        let router = Router::new().route(
            "/metrics",
            get(move |headers: HeaderMap| async move {
                assert!(headers.contains_key("x-prometheus-scrape-timeout-seconds"));
                let (status, content_type, text) = answers.lock().clone();
                (status, [(CONTENT_TYPE, content_type)], text)
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });

        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(AtomicI64::new(NOW_MS));
        let time = Arc::clone(&clock);
        let options = StoreOptions {
            clock: Clock::new(move || time.load(Ordering::Relaxed)),
            background: false,
            max_series,
            ..StoreOptions::default()
        };
        let tenants = Arc::new(Tenants::open(dir.path(), options).expect("an empty directory opens"));
        let state = Arc::new(IngestState::new(Arc::clone(&tenants), Limits::default()));
        let config = config(&format!(
            "scrape_configs: [{{job_name: j, scrape_timeout: 5s, static_configs: [{{targets: ['{address}'], labels: {{instance: i}}}}]{job}}}]"
        ));
        let found = Discovered::default().look(&config);
        let made = found.targets.into_values().next().expect("a target");
        rustls::crypto::ring::default_provider().install_default().ok();
        Self {
            shown,
            clock,
            tenants,
            state,
            target: Arc::new(Target::new(made)),
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            _dir: dir,
        }
    }

    /// A scrape a second after the last one, of a target that answers this.
    async fn scrape(&self, status: StatusCode, content_type: &'static str, text: &str) -> TargetStatus {
        *self.shown.lock() = (status, content_type, text.to_owned());
        self.clock.fetch_add(1000, Ordering::Relaxed);
        self.target.scrape(&self.state, &self.client).await;
        self.target.status()
    }

    async fn text(&self, text: &str) -> TargetStatus {
        self.scrape(StatusCode::OK, "text/plain; version=0.0.4", text).await
    }

    /// All samples in seconds since the start, but for those that measure time.
    fn stored(&self) -> String {
        let snapshot = self.tenants.get("default").expect("a store").snapshot();
        let mut out = String::new();
        for id in snapshot.select(&[], TimeRange::ALL).expect("selects") {
            let labels = snapshot.labels(id);
            if labels.metric() == "scrape_duration_seconds" {
                continue;
            }
            let mut samples = Samples::default();
            snapshot.read(id, TimeRange::ALL, &mut samples).expect("reads");
            if samples.is_empty() {
                continue;
            }
            out += &labels.to_string();
            for (at_ms, value) in samples.iter() {
                let value = if store::is_stale(value) {
                    "stale".to_owned()
                } else {
                    value.to_string()
                };
                out += &format!(" {}={value}", (at_ms - NOW_MS) / 1000);
            }
            out.push('\n');
        }
        out
    }
}

#[tokio::test]
async fn what_a_target_shows_is_stored_and_what_vanishes_is_marked() {
    let exporter = Exporter::new("").await;
    let status = exporter
        .text("# HELP a Help\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb{job=\"own\",exported_job=\"old\"} 3 1767225600500\n")
        .await;
    assert_eq!((status.health, status.last_error.as_str()), (Health::Up, ""));
    assert_eq!(status.last_scrape_ms, NOW_MS + 1000);
    exporter.text("a{x=\"1\"} 2\n").await;
    let status = exporter
        .scrape(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "a 9")
        .await;
    assert_eq!(status.health, Health::Down);
    assert!(status.last_error.contains("500"), "{}", status.last_error);
    let status = exporter.text("a{x=\"1\"} 3\na{x=\"2\"} three\n").await;
    assert!(status.last_error.contains("line 2"), "{}", status.last_error);
    exporter.text("a{x=\"1\"} 5\n").await;
    assert_eq!(
        exporter.stored(),
        r#"a{instance="i",job="j",x="1"} 1=1 2=2 3=stale 5=5
a{instance="i",job="j",x="2"} 1=2 2=stale
b{exported_exported_job="own",exported_job="old",instance="i",job="j"} 0=3
scrape_samples_post_metric_relabeling{instance="i",job="j"} 1=3 2=1 3=0 4=0 5=1
scrape_samples_scraped{instance="i",job="j"} 1=3 2=1 3=0 4=0 5=1
scrape_series_added{instance="i",job="j"} 1=3 2=0 3=0 4=0 5=0
up{instance="i",job="j"} 1=1 2=1 3=0 4=0 5=1
"#
    );
    let metadata = exporter.tenants.get("default").expect("a store").metadata();
    assert_eq!(
        (metadata["a"].kind.as_str(), metadata["a"].help.as_str()),
        ("counter", "Help")
    );
}

#[tokio::test]
async fn rules_limits_and_honoured_labels_hold() {
    let job = ", honor_labels: true, honor_timestamps: false, sample_limit: 3, metric_relabel_configs: \
               [{source_labels: [__name__], regex: 'go_.*', action: drop}]";
    let exporter = Exporter::new(job).await;
    // What the rules drop is no part of the limit.
    let status = exporter
        .text("go_x 1\ngo_y 1\ngo_z 1\na{job=\"own\"} 1 5\nb 1\nc 1\n")
        .await;
    assert_eq!((status.health, status.last_error.as_str()), (Health::Up, ""));
    exporter.text("go_x 1\na{job=\"own\"} 1 5\n").await;
    let status = exporter.text("a 1\nb 1\nc 1\ngo_x 1\nd 1\n").await;
    assert!(
        status.last_error.contains("more than 3 samples"),
        "{}",
        status.last_error
    );
    let stored = exporter.stored();
    assert!(
        stored.starts_with("a{instance=\"i\",job=\"own\"} 1=1 2=1 3=stale\nb{"),
        "{stored}"
    );
    assert!(
        stored.contains("post_metric_relabeling{instance=\"i\",job=\"j\"} 1=3 2=1 3=0\n"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_series_that_is_refused_is_looked_up_again_in_each_scrape() {
    // Room for `a` and for the five series about the target.
    let exporter = Exporter::of("", 6).await;
    for text in ["a 1\n", "a 2\nb 2\n", "a 3\nb 3\n"] {
        assert_eq!(exporter.text(text).await.health, Health::Up);
    }
    assert_eq!(
        exporter.stored(),
        r#"a{instance="i",job="j"} 1=1 2=2 3=3
scrape_samples_post_metric_relabeling{instance="i",job="j"} 1=1 2=2 3=2
scrape_samples_scraped{instance="i",job="j"} 1=1 2=2 3=2
scrape_series_added{instance="i",job="j"} 1=1 2=0 3=0
up{instance="i",job="j"} 1=1 2=1 3=1
"#
    );
}

#[tokio::test]
async fn openmetrics_brings_exemplars_and_must_end() {
    let exporter = Exporter::new("").await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = "# TYPE a counter\na_total 1 # {trace_id=\"t\"} 0.5\n";
    let cut = exporter.scrape(StatusCode::OK, open, text).await;
    assert!(cut.last_error.contains("# EOF"), "{}", cut.last_error);
    exporter.scrape(StatusCode::OK, open, &format!("{text}# EOF\n")).await;
    let store = exporter.tenants.get("default").expect("a store");
    let snapshot = store.snapshot();
    let ids = snapshot
        .select(&[store::Matcher::eq("__name__", "a_total")], TimeRange::ALL)
        .expect("selects");
    let exemplars = store.exemplars(&ids, TimeRange::ALL);
    assert_eq!(exemplars[0].1[0].labels.get("trace_id"), Some("t"));
}

#[tokio::test]
async fn the_series_of_a_target_that_has_gone_are_marked() {
    let exporter = Exporter::new("").await;
    exporter.text("a 1\n").await;
    exporter.clock.fetch_add(1000, Ordering::Relaxed);
    let (gone, is_gone) = watch::channel(false);
    gone.send_replace(true);
    let slots = Arc::new(Semaphore::new(1));
    let mut is_gone = is_gone;
    is_gone.mark_changed();
    Arc::clone(&exporter.target)
        .run(Arc::clone(&exporter.state), exporter.client.clone(), slots, is_gone)
        .await;
    let stored = exporter.stored();
    assert!(
        stored.starts_with("a{instance=\"i\",job=\"j\"} 1=1 2=stale\n"),
        "{stored}"
    );
    assert!(
        stored.ends_with("up{instance=\"i\",job=\"j\"} 1=1 2=stale\n"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_down() {
    let config = config("scrape_configs: [{job_name: j, static_configs: [{targets: ['127.0.0.1:1']}]}]");
    let exporter = Exporter::new("").await;
    let made = Discovered::default()
        .look(&config)
        .targets
        .into_values()
        .next()
        .expect("a target");
    let target = Arc::new(Target::new(made));
    target.scrape(&exporter.state, &exporter.client).await;
    assert_eq!(target.status().health, Health::Down);
    assert!(!target.status().last_error.is_empty());
    assert!(
        exporter.stored().contains("up{instance=\"127.0.0.1:1\",job=\"j\"} 0=0"),
        "{}",
        exporter.stored()
    );
}
