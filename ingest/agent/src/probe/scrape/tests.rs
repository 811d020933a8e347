use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use wire::exposition::Format;

use super::fetch::{BODY_BYTES_MAX, BUDGET_BYTES_MAX, Fetched};
use super::*;
use crate::probe::{Paths, testing};
use crate::reading::{Sink as _, TextSink};

fn host() -> Host {
    Host {
        name: "db-1".to_owned(),
        id: String::new(),
        ..Host::read(&Paths::default(), None)
    }
}

fn target(given: &str) -> ScrapeTarget {
    given.parse().expect("a target")
}

/// Texts of successive scrapes, each as what is sent of it but for the time that it took.
struct Scrapes(Series);

impl Scrapes {
    fn new() -> Self {
        Self(Series::new(&target("app=http://localhost:8080"), &host()))
    }

    fn take(&mut self, fetched: Result<Fetched, ScrapeError>) -> String {
        let scraped = self.0.take(fetched, 1_000_000_000, 0.0);
        let mut sink = TextSink::default();
        sink.batch(scraped.batch.expect("a batch"));
        sink.text().to_owned()
    }

    fn text(&mut self, text: &str) -> String {
        self.take(Ok(Fetched::of(text, Format::Text)))
    }

    fn check(&mut self, text: &str, expected: &str) {
        let told = self.text(text);
        let told: Vec<&str> = told
            .lines()
            .take_while(|line| !line.starts_with("up "))
            .skip(1)
            .collect();
        assert_eq!(told.join("\n"), expected.trim_end(), "{text}");
    }
}

fn check(text: &str, expected: &str) {
    Scrapes::new().check(text, expected);
}

#[test]
fn a_target_is_a_name_and_a_page() {
    for (given, instance, shown) in [
        (
            "node=http://localhost:9100",
            "db-1:9100",
            "node=http://localhost:9100/metrics",
        ),
        (
            "dcgm=http://127.0.0.1:9400/metrics",
            "db-1:9400",
            "dcgm=http://127.0.0.1:9400/metrics",
        ),
        ("a.b-c=http://[::1]:1/x?y=z", "db-1:1", "a.b-c=http://[::1]:1/x?y=z"),
        (
            "ipmi=https://bmc.example/",
            "bmc.example:443",
            "ipmi=https://bmc.example/",
        ),
        ("x=http://[fe80::1]", "[fe80::1]:80", "x=http://[fe80::1]/metrics"),
    ] {
        let target = target(given);
        assert_eq!(
            (target.instance("db-1").as_str(), target.to_string().as_str()),
            (instance, shown)
        );
    }
    for (given, part) in [
        ("http://localhost:9100/metrics", "has no name"),
        ("=http://localhost:9100", "has no name"),
        ("no de=http://localhost", "has no name"),
        ("node=localhost:9100", "no page to scrape"),
        ("node=ftp://localhost", "no page to scrape"),
        ("node=http://", "no page to scrape"),
        ("node=http://user:secret@localhost:9100", "without a user"),
    ] {
        let error = given.parse::<ScrapeTarget>().expect_err(given).to_string();
        assert!(error.contains(part), "{given}: {error}");
    }
    let long = format!("{}=http://h", "x".repeat(65));
    assert!(long.parse::<ScrapeTarget>().is_err());
}

#[test]
fn numbers_keep_their_names_and_labels() {
    check(
        "# HELP node_cpu_seconds_total Seconds\n# TYPE node_cpu_seconds_total counter\n\
         node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1.5\nnode_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 2\n\
         # TYPE node_load1 gauge\nnode_load1 0.5\nuntyped_thing{a=\"\"} NaN\n",
        "node_cpu_seconds_total{cpu=0,mode=idle} 1.5\nnode_cpu_seconds_total{cpu=1,mode=idle} 2\nnode_load1 0.5\nuntyped_thing NaN",
    );
}

#[test]
fn what_would_speak_for_another_host_or_target_is_kept_beside() {
    check(
        "a{job=\"j\",instance=\"i\",exported_job=\"e\",host=\"h\",host_name=\"n\",Hostname=\"H\"} 1\n",
        "a{Hostname=H,exported_exported_job=j,exported_host=h,exported_host_name=n,exported_instance=i,exported_job=e} 1",
    );
}

/// Whether a sample goes out as a counter, so that its name comes back.
fn kind(text: &str) -> Vec<(String, bool)> {
    let mut series = Series::new(&target("app=http://localhost"), &host());
    let scraped = series.take(Ok(Fetched::of(text, Format::Text)), 1, 0.0);
    let body = zstd::bulk::decompress(&scraped.batch.expect("a batch"), 1 << 20).expect("zstd");
    let mut out = Vec::new();
    for resource in wire::otlp::read::request(&body) {
        for scope in resource.expect("resource").scopes() {
            for metric in scope.expect("scope").metrics() {
                let metric = metric.expect("metric");
                let counts = matches!(metric.data, Some(wire::otlp::read::Data::Sum { monotonic: true, .. }));
                out.push((metric.name.to_owned(), counts));
            }
        }
    }
    out.retain(|(name, _)| name != "up" && !name.starts_with("scrape_"));
    out
}

#[test]
fn a_counter_is_one_where_its_name_then_stays_as_it_is() {
    let text = "# TYPE a_total counter\na_total 1\n# TYPE DCGM_FI_DEV_XID counter\nDCGM_FI_DEV_XID 2\n\
                # TYPE total_bytes_read counter\ntotal_bytes_read 3\n# TYPE b counter\nb_total 4\nb_created 5\n";
    let expected = [
        ("a_total", true),
        ("DCGM_FI_DEV_XID", false),
        ("total_bytes_read", false),
        ("b_total", true),
        ("b_created", false),
    ];
    assert_eq!(kind(text), expected.map(|(name, counts)| (name.to_owned(), counts)));
}

#[test]
fn buckets_and_quantiles_become_one_point() {
    check(
        "# TYPE h histogram\nh_bucket{p=\"/\",le=\"0.1\"} 1\nh_bucket{p=\"/\",le=\"1\"} 1\nh_bucket{p=\"/\",le=\"+Inf\"} 3\n\
         h_sum{p=\"/\"} 2.5\nh_count{p=\"/\"} 3\nh_bucket{p=\"/x\",le=\"+Inf\"} 7\nh_count{p=\"/x\"} 7\n\
         # TYPE s summary\ns{quantile=\"0.5\"} 0.1\ns{quantile=\"1\"} NaN\ns_sum 4\ns_count 9\n",
        "h{p=/} 3 of 2.5\nh{p=/x} 7 of NaN\ns 9 of 4",
    );
}

#[test]
fn what_does_not_fit_together_is_sent_as_it_is() {
    for (text, expected) in [
        // Buckets that shrink.
        (
            "h_bucket{le=\"1\"} 4\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 3\n",
            "h_bucket{le=1} 4\nh_bucket{le=+Inf} 3\nh_sum 1\nh_count 3",
        ),
        // No whole numbers.
        (
            "h_bucket{le=\"+Inf\"} 1.5\nh_count 1.5\n",
            "h_bucket{le=+Inf} 1.5\nh_count 1.5",
        ),
        // Not all of it, or more than all.
        ("h_bucket{le=\"1\"} 4\nh_count 4\n", "h_bucket{le=1} 4\nh_count 4"),
        ("h_bucket{le=\"+Inf\"} 4\nh_count 5\n", "h_bucket{le=+Inf} 4\nh_count 5"),
        ("h_sum 1\nh_count 5\n", "h_sum 1\nh_count 5"),
        (
            "h_bucket{le=\"x\"} 4\nh_bucket 1\nh_other 2\n",
            "h_bucket{le=x} 4\nh_bucket 1\nh_other 2",
        ),
    ] {
        check(&format!("# TYPE h histogram\n{text}"), expected);
    }
    check(
        "# TYPE s summary\ns{quantile=\"0.5\"} 0.1\ns_count 2\n",
        "s{quantile=0.5} 0.1\ns_count 2",
    );
}

#[test]
fn what_vanishes_is_said_to_be_gone_once() {
    let mut scrapes = Scrapes::new();
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 4\nh_count 4\n";
    scrapes.check(
        &format!("a{{x=\"1\"}} 1\na{{x=\"2\"}} 2\nown_time 3 5000\n{histogram}"),
        "a{x=1} 1\na{x=2} 2\nown_time 3\nh 4 of NaN",
    );
    scrapes.check("a{x=\"2\"} 3\n", "a{x=2} 3\na{x=1} gone\nh gone");
    scrapes.check("a{x=\"2\"} 3\n", "a{x=2} 3");
    let down = scrapes.take(Err(ScrapeError::NotText));
    let expected = "#{service.name=app,service.instance.id=db-1:8080,host.name=db-1}\na{x=2} gone\nup 0\nscrape_duration_seconds 0\n\
                    scrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\n";
    assert_eq!(down, expected);
    assert_eq!(
        scrapes.take(Err(ScrapeError::NotText)),
        expected.replace("a{x=2} gone\n", ""),
        "gone is said once"
    );
    // A text that breaks off half-way gives nothing, and what was there is gone.
    scrapes.check("a{x=\"2\"} 4\n", "a{x=2} 4");
    scrapes.check("a{x=\"2\"} 5\nb five\n", "a{x=2} gone");
}

#[test]
fn what_a_scrape_was_like_is_told_as_prometheus_does() {
    let mut scrapes = Scrapes::new();
    let long = "v".repeat(4097);
    let told = scrapes.text(&format!("a 1\nb 2\nc{{x=\"{long}\"}} 3\n"));
    assert!(
        told.ends_with(
            "up 1\nscrape_duration_seconds 0\nscrape_samples_scraped 3\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 2\n"
        ),
        "{told}"
    );
    let labels: Vec<String> = (0..61).map(|i| format!("l{i}=\"x\"")).collect();
    let told = scrapes.text(&format!("a 1\nd{{{}}} 3\ne 1\n", labels.join(",")));
    assert!(
        told.ends_with("scraped 3\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 1\n"),
        "{told}"
    );
}

#[test]
fn samples_are_bounded() {
    let text: String = (0..=translate::SAMPLES_MAX)
        .map(|i| format!("a{{i=\"{i}\"}} 1\n"))
        .collect();
    let scraped = Scrapes::new().0.take(Ok(Fetched::of(&text, Format::Text)), 1, 0.0);
    assert_eq!(
        scraped.failure,
        Some(ScrapeError::TooManySamples {
            max: translate::SAMPLES_MAX
        })
    );
    assert_eq!(scraped.points, 5);
}

/// Answers each connection with the next of these (the last one for ever); keeps what was asked.
fn serve(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("address").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    thread::spawn(move || {
        let mut answers = answers.iter().peekable();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(answer) = answers.peek().map(|answer| answer.to_vec()) else {
                return;
            };
            if answers.len() > 1 {
                answers.next();
            }
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap_or_default();
            heads
                .lock()
                .expect("lock")
                .push(String::from_utf8_lossy(&request[..n]).to_lowercase());
            // A thread of its own, since one that is to hang must not keep the next from being answered.
            thread::spawn(move || {
                stream.write_all(&answer).unwrap_or_default();
                if answer.is_empty() {
                    // Says nothing until the other end gives up.
                    stream.read(&mut [0; 16]).unwrap_or_default();
                }
            });
        }
    });
    (address, asked)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

fn fetch(address: &str, timeout: Duration) -> Result<Fetched, ScrapeError> {
    fetch_with(&format!("http://{address}/metrics"), Access::default(), timeout)
}

fn fetch_with(url: &str, access: Access, timeout: Duration) -> Result<Fetched, ScrapeError> {
    Fetcher::new(url, access, timeout, Arc::default()).fetch()
}

#[test]
fn texts_come_plain_compressed_and_as_openmetrics() {
    let minute = Duration::from_secs(60);
    let (address, asked) = serve(vec![
        answer("200 OK\r\ncontent-type: text/plain; version=0.0.4", b"a 1\n"),
        answer("200 OK\r\ncontent-encoding: gzip", &gzip(b"a 2\n")),
        answer(
            "200 OK\r\ncontent-type: application/openmetrics-text; version=1.0.0",
            b"a 3\n# EOF\n",
        ),
        answer("302 Found\r\nlocation: /other", b""),
        answer("200 OK", b"a 4\n"),
    ]);
    for (text, format) in [
        ("a 1\n", Format::Text),
        ("a 2\n", Format::Text),
        ("a 3\n# EOF\n", Format::OpenMetrics),
        ("a 4\n", Format::Text),
    ] {
        let fetched = fetch(&address, minute).expect(text);
        assert_eq!((fetched.text.as_str(), fetched.format), (text, format));
    }
    let asked = asked.lock().expect("lock");
    for line in [
        "accept: application/openmetrics-text",
        "accept-encoding: gzip",
        "x-prometheus-scrape-timeout-seconds: 60\r\n",
    ] {
        assert!(asked[0].contains(line), "{line} in {}", asked[0]);
    }
    assert!(asked[4].starts_with("get /other "), "{}", asked[4]);
}

fn file(job: &str, path: &str) -> ScrapeFile {
    format!("{job}={path}").parse().expect("a name and a file")
}

#[test]
fn a_target_is_shown_what_lets_the_agent_in_and_nobody_else_is() {
    let minute = Duration::from_secs(60);
    let files = testing::files(&[
        ("pass", "ops:s3cret \n"),
        ("token", "t-1\n"),
        ("two", "t-1\nx: y\n"),
        ("none", "\n"),
    ]);
    let (other, asked_of_other) = serve(vec![answer("200 OK", b"a 1\n")]);
    let elsewhere = format!(
        "302 Found\r\nlocation: http://{}/x",
        other.replace("127.0.0.1", "localhost")
    );
    let (address, asked) = serve(vec![
        answer("200 OK", b"a 1\n"),
        answer("302 Found\r\nlocation: /here", b""),
        answer("200 OK", b"a 1\n"),
        answer("200 OK", b"a 1\n"),
        answer(&elsewhere, b""),
    ]);
    let url = format!("http://{address}/metrics");
    let given = ScrapeAccess {
        tokens: vec![file("node", &files.path("token")), file("broken", &files.path("two"))],
        passwords: vec![file("app", &files.path("pass")), file("odd", &files.path("token"))],
        ..ScrapeAccess::default()
    };
    // user:password in Base64.
    assert!(fetch_with(&url, given.of("app"), minute).is_ok());
    let mut node = Fetcher::new(&url, given.of("node"), minute, Arc::default());
    assert!(node.fetch().is_ok());
    // Who issues tokens that end writes them anew.
    files.write("token", "t-2");
    assert!(node.fetch().is_ok());
    // A redirect to another host goes without.
    assert!(node.fetch().is_ok());
    let asked = asked.lock().expect("lock");
    for (question, line) in [
        (0, "authorization: basic b3bzonmzy3jlda==\r\n"),
        (1, "authorization: bearer t-1\r\n"),
        (2, "authorization: bearer t-1\r\n"),
        (3, "authorization: bearer t-2\r\n"),
        (4, "authorization: bearer t-2\r\n"),
    ] {
        assert!(asked[question].contains(line), "{line} in {}", asked[question]);
    }
    let elsewhere = asked_of_other.lock().expect("lock");
    assert!(
        elsewhere[0].starts_with("get /x ") && !elsewhere[0].contains("authorization"),
        "{}",
        elsewhere[0]
    );
    // What is in a file that cannot be used is not told.
    let token = |path: &str| ScrapeAccess {
        tokens: vec![file("x", &files.path(path))],
        ..ScrapeAccess::default()
    };
    for (access, part) in [
        (given.of("broken"), "two: it holds more than one line"),
        (given.of("odd"), "token: it does not hold user:password"),
        (token("none").of("x"), "none: it is empty"),
        (token("absent").of("x"), "absent: No such file"),
    ] {
        let error = fetch_with(&url, access, minute).expect_err(part).to_string();
        assert!(error.contains(part) && !error.contains("t-"), "{error}");
    }
}

#[test]
fn a_target_may_be_vouched_for_by_an_authority_of_its_own() {
    let minute = Duration::from_secs(60);
    let server = crate::trust::tests::tls();
    let files = testing::files(&[("ca.pem", &server.pem), ("empty", "no certificate\n")]);
    let by = |path: &str| ScrapeAccess {
        authorities: vec![file("app", &files.path(path))],
        ..ScrapeAccess::default()
    };
    let read = fetch_with(&server.url, by("ca.pem").of("app"), minute);
    assert_eq!(read.expect("believed").text, "");
    assert!(server.heads.recv().expect("a question").starts_with("get / "));
    let stranger = fetch_with(&server.url, Access::default(), minute).expect_err("nobody vouches");
    assert!(matches!(stranger, ScrapeError::Unreachable { .. }), "{stranger}");
    let error = fetch_with(&server.url, by("empty").of("app"), minute).expect_err("no certificate");
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    // It may come later than the agent.
    let mut early = Fetcher::new(&server.url, by("late.pem").of("app"), minute, Arc::default());
    assert!(matches!(early.fetch(), Err(ScrapeError::File { .. })));
    files.write("late.pem", &server.pem);
    assert!(early.fetch().is_ok());
}

#[test]
fn files_are_for_targets_that_there_are() {
    let targets = [
        target("app=https://h"),
        target("app=http://h:2"),
        target("node=http://h"),
    ];
    let check = |tokens: &[&str], passwords: &[&str], authorities: &[&str]| {
        let files = |given: &[&str]| given.iter().map(|job| file(job, "/f")).collect();
        let access = ScrapeAccess {
            tokens: files(tokens),
            passwords: files(passwords),
            authorities: files(authorities),
        };
        access.check(&targets).map_err(|error| error.to_string())
    };
    assert_eq!(check(&["app"], &["node"], &["app"]), Ok(()));
    for (tokens, passwords, authorities, part) in [
        (&["db"][..], &[][..], &[][..], "\"/f\" is for targets named \"db\""),
        (&["app"], &["app"], &[], "\"app\" have more than one token or password"),
        (&[], &[], &["app", "app"], "more than one file of certificates"),
        (&[], &[], &["node"], "no target named \"node\" is asked by https://"),
    ] {
        let error = check(tokens, passwords, authorities).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
    for given in ["node", "=/f", "node="] {
        assert!(given.parse::<ScrapeFile>().is_err(), "{given}");
    }
}

#[test]
fn what_is_no_page_of_metrics_is_an_error_that_says_so() {
    let minute = Duration::from_secs(60);
    let bomb = gzip(&vec![b'\n'; BODY_BYTES_MAX + 1]);
    let (address, _) = serve(vec![
        answer("503 Service Unavailable", b""),
        answer("200 OK\r\ncontent-encoding: br", b"x"),
        answer("200 OK", &[0xff, 0xfe]),
        answer("200 OK", &vec![b'\n'; BODY_BYTES_MAX + 1]),
        answer("200 OK\r\ncontent-encoding: gzip", &bomb),
        answer("200 OK\r\ncontent-encoding: gzip", b"no gzip"),
        b"garbage\r\n\r\n".to_vec(),
        answer("302 Found\r\nlocation: /again", b""),
    ]);
    let error = || {
        fetch(&address, minute)
            .map(|fetched| fetched.text)
            .expect_err("an error")
    };
    assert_eq!(error(), ScrapeError::Status { status: 503 });
    assert_eq!(
        error(),
        ScrapeError::Encoding {
            encoding: "br".to_owned()
        }
    );
    assert_eq!(error(), ScrapeError::NotText);
    assert_eq!(error(), ScrapeError::TooLarge { max: BODY_BYTES_MAX });
    assert_eq!(error(), ScrapeError::TooLarge { max: BODY_BYTES_MAX });
    for _ in 0..3 {
        let error = error();
        assert!(matches!(error, ScrapeError::Unreachable { .. }), "{error:?}");
    }
}

#[test]
fn a_target_that_hangs_is_given_up_and_down() {
    let (address, _) = serve(vec![Vec::new()]);
    let error = fetch(&address, Duration::from_millis(200)).map(|fetched| fetched.text);
    assert!(matches!(error, Err(ScrapeError::Unreachable { .. })), "{error:?}");
}

#[test]
fn all_texts_together_are_bounded() {
    let body = answer("200 OK", &vec![b'\n'; BODY_BYTES_MAX]);
    let (address, _) = serve(vec![body]);
    let budget = Arc::default();
    let minute = Duration::from_secs(60);
    let mut fetcher = Fetcher::new(
        &format!("http://{address}/"),
        Access::default(),
        minute,
        Arc::clone(&budget),
    );
    let held = [
        fetcher.fetch().expect("the first"),
        fetcher.fetch().expect("the second"),
    ];
    let third = fetcher.fetch().map(|fetched| fetched.text.len());
    assert_eq!(third, Err(ScrapeError::TooMuchAtOnce { max: BUDGET_BYTES_MAX }));
    drop(held);
    assert!(fetcher.fetch().is_ok(), "what is dropped is given back");
}

#[test]
fn a_probe_asks_the_targets_of_its_name_and_counts_a_dead_one() {
    let (address, _) = serve(vec![answer("200 OK", b"a 1\n")]);
    let dead = TcpListener::bind("127.0.0.1:0")
        .expect("loopback")
        .local_addr()
        .expect("address");
    let targets = [
        target(&format!("app=http://{address}")),
        target(&format!("node=http://{address}")),
        target(&format!("app=http://{dead}")),
    ];
    let mut probes = probes(&targets, &ScrapeAccess::default(), &host(), Duration::from_secs(20));
    assert_eq!(
        probes.iter().map(|probe| probe.name()).collect::<Vec<_>>(),
        ["scrape.app", "scrape.node"]
    );
    let told = testing::sample(&mut *probes[0]);
    assert!(told.contains("\na 1\nup 1\n"), "{told}");
    assert!(
        told.contains(&format!("service.instance.id=db-1:{}", dead.port())),
        "{told}"
    );
    assert!(told.contains("\nup 0\n"), "{told}");
    assert!(
        told.ends_with(&format!("error: cannot scrape http://{dead}/metrics\n")),
        "{told}"
    );
    assert_eq!(
        attempt(&targets[1], Access::default(), &host(), Duration::from_secs(20)),
        Ok(1)
    );
}

proptest! {
    #[test]
    fn any_text_is_translated_or_refused(text in "([a-c_]{1,3}(_bucket|_sum|_count|_total)?(\\{(le|quantile|job|x)=\"[-+0-9Infa.]{0,4}\"\\})? [0-9.NaInf+-]{1,4}( [0-9]{1,3})?\n|# TYPE [a-c_]{1,3} (histogram|summary|counter)\n){0,20}") {
        let mut scrapes = Scrapes::new();
        let first = scrapes.text(&text);
        // What came is either kept or the whole is refused, and what was kept goes when nothing comes.
        let kept = first.lines().filter(|line| !line.starts_with('#')).count();
        let second = scrapes.text("");
        prop_assert!(second.lines().count() <= kept + 1, "{text}\n{first}\n{second}");
        prop_assert!(!second.contains("up 0"));
    }
}
