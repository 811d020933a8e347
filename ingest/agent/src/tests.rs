mod coverage;
mod kubernetes;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use super::*;
use crate::catalogue::ALL;
use wire::otlp::read::{self as otlp, Data};

/// A host without `/proc`, or with this kernel's log alone.
fn bare_host(kernel_log: Option<&str>) -> (tempfile::TempDir, Paths) {
    let root = tempfile::tempdir().expect("temporary directory");
    let paths = Paths {
        root: None,
        proc: root.path().join("proc"),
        sys: root.path().join("sys"),
    };
    if let Some(records) = kernel_log {
        let random = paths.proc.join("sys/kernel/random");
        std::fs::create_dir_all(&random).expect("proc");
        std::fs::write(random.join("boot_id"), "boot-1").expect("boot");
        std::fs::write(paths.proc.join("kmsg-records"), records).expect("records");
    }
    (root, paths)
}

/// A server that gives each POST the next answer (the last one for ever) and passes on what was posted.
struct FakeServer {
    url: String,
    posts: mpsc::Receiver<Post>,
}

struct Post {
    head: String,
    body: Vec<u8>,
}

fn serve(answers: &'static [&'static str]) -> FakeServer {
    let mut answers = answers.iter().peekable();
    serve_by(move |_| {
        let answer = answers.peek().map_or("", |answer| **answer);
        if answers.len() > 1 {
            answers.next();
        }
        answer
    })
}

/// A server that answers each POST by what it is, and passes on what was posted.
fn serve_by(mut answer: impl FnMut(&Post) -> &'static str + Send + 'static) -> FakeServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let (send, posts) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            while let Some(post) = post(&mut reader) {
                let answer = answer(&post);
                if send.send(post).is_err() || reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    FakeServer { url, posts }
}

fn post(reader: &mut BufReader<TcpStream>) -> Option<Post> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Post { head, body })
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

impl FakeServer {
    fn next(&self) -> Post {
        self.posts
            .recv_timeout(Duration::from_secs(60))
            .expect("a post within a minute")
    }

    fn config(&self) -> Config {
        Config {
            server: Some(Server {
                url: self.url.clone(),
                token: Some("t0ken".to_owned()),
                tenant: Some("fleet".to_owned()),
                ..Server::default()
            }),
            interval: INTERVAL_MIN,
            host_name: Some("db-1".to_owned()),
            ..Config::default()
        }
    }
}

/// The first value of a metric without attributes.
fn value(body: &[u8], wanted: &str) -> f64 {
    let body = zstd::bulk::decompress(body, 16 << 20).expect("zstd");
    let metrics = otlp::request(&body)
        .flat_map(|resource| resource.expect("resource").scopes())
        .flat_map(|scope| scope.expect("scope").metrics());
    let mut found = metrics
        .map(|metric| metric.expect("metric"))
        .filter(|metric| metric.name == wanted);
    match found.next().and_then(|metric| metric.data) {
        Some(Data::Gauge(points)) => {
            let mut points = points.numbers().map(|point| point.expect("point").value);
            points.next().flatten().expect("a value")
        }
        _ => panic!("no gauge {wanted}"),
    }
}

fn names(body: &[u8]) -> Vec<String> {
    let body = zstd::bulk::decompress(body, 16 << 20).expect("zstd");
    let mut names = Vec::new();
    for resource in otlp::request(&body) {
        let resource = resource.expect("resource");
        let host = resource
            .resource
            .iter()
            .map(|pair| pair.expect("attribute").0.to_owned())
            .collect::<Vec<_>>();
        assert!(host.contains(&"host.name".to_owned()), "{host:?}");
        for scope in resource.scopes() {
            for metric in scope.expect("scope").metrics() {
                names.push(metric.expect("metric").name.to_owned());
            }
        }
    }
    names
}

#[test]
fn an_agent_whose_host_is_warned_of_reads_each_second() {
    let intervals = |adaptive| {
        let server = serve(&["HTTP/1.1 200 OK\r\nX-Foreshock-Sampling: fast\r\nContent-Length: 0\r\n\r\n"]);
        let (_root, paths) = bare_host(None);
        let config = Config {
            interval: Duration::from_secs(2),
            adaptive,
            paths,
            ..server.config()
        };
        let handle = Agent::new(config).expect("config").start().expect("start");
        // The one that goes out at once, and those after it.
        let mut intervals = Vec::new();
        while intervals.len() < 4 {
            let post = server.posts.recv_timeout(Duration::from_secs(60)).expect("a batch");
            assert!(post.head.contains("x-foreshock-host: db-1"), "{}", post.head);
            intervals.push(value(&post.body, "foreshock.agent.interval"));
        }
        handle.stop();
        intervals
    };
    assert_eq!(intervals(true).last(), Some(&1.0));
    assert_eq!(intervals(false), [2.0; 4]);
}

#[test]
fn a_probe_of_no_such_name_or_time_is_refused_in_words() {
    let (_root, paths) = bare_host(None);
    let refused = |probe: &str, seconds: u64| {
        let every = Every {
            probe: probe.to_owned(),
            time: Duration::from_secs(seconds),
        };
        let config = Config {
            every: vec![every],
            paths: paths.clone(),
            ..Config::default()
        };
        Agent::new(config).err().map(|error| (error.to_string(), error.hint()))
    };
    assert_eq!(refused("cgroup", 10), None);
    assert_eq!(refused("disk_health", 3600), None);
    let (told, _) = refused("cgrup", 60).expect("no such probe");
    assert!(
        told.starts_with("there is no probe \"cgrup\"; there are cpu, load, "),
        "{told}"
    );
    for seconds in [9, 3601] {
        let (told, hint) = refused("cpu", seconds).expect("no such time");
        assert_eq!(
            told,
            format!("cpu cannot be read every {seconds}s, while the interval is 10s")
        );
        assert!(hint.is_some());
    }
}

#[test]
fn batches_arrive_as_otlp_with_token_and_tenant() {
    let server = serve(&[OK]);
    let handle = Agent::new(server.config()).expect("config").start().expect("start");
    let first = server.next();
    for line in [
        "post /v1/metrics http/1.1",
        "content-type: application/x-protobuf",
        "content-encoding: zstd",
        "authorization: bearer t0ken",
        "x-scope-orgid: fleet",
    ] {
        assert!(first.head.contains(line), "{line} not in {}", first.head);
    }
    let names = names(&server.next().body);
    for name in [
        "system.cpu.time",
        "system.memory.utilization",
        "system.filesystem.utilization",
        "system.uptime",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} not in {names:?}");
    }
    let stats = handle.stop();
    assert!(
        stats.sent_batches >= 2 && stats.dropped_batches == 0 && stats.refused_batches == 0,
        "{stats:?}"
    );
}

#[test]
fn a_proxy_is_told_who_asks_and_where_to_and_sees_no_token() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let proxy = listener.local_addr().expect("address");
    let (send, heads) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.expect("a connection"));
            // What follows the CONNECT would be TLS, for a server of https://.
            for answer in ["HTTP/1.1 200 Connection established\r\n\r\n", OK] {
                let Some(post) = post(&mut reader) else { break };
                let written = reader.get_mut().write_all(answer.as_bytes());
                if written.is_err() || send.send(post.head).is_err() {
                    break;
                }
            }
        }
    });
    let config = Config {
        server: Some(Server {
            url: "http://foreshock.invalid:9750".to_owned(),
            token: Some("t0ken".to_owned()),
            proxy: Some(format!("http://user:p%40ss@{proxy}")),
            ..Server::default()
        }),
        interval: Duration::from_secs(3600),
        ..Config::default()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    let head = || {
        heads
            .recv_timeout(Duration::from_secs(60))
            .expect("a request within a minute")
    };
    let (connect, post) = (head(), head());
    assert!(connect.starts_with("connect foreshock.invalid:9750 "), "{connect}");
    // user:p@ss in Base64.
    assert!(
        connect.contains("proxy-authorization: basic dxnlcjpwqhnz\r\n"),
        "{connect}"
    );
    assert!(
        !connect.contains("t0ken") && post.contains("authorization: bearer t0ken"),
        "{post}"
    );
    while handle.stats().sent_batches == 0 {
        thread::yield_now();
    }
    handle.stop();
}

#[test]
fn a_batch_is_sent_again_after_the_pause_that_the_server_asks_for() {
    let server = serve(&[
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
        OK,
    ]);
    let config = Config {
        interval: Duration::from_secs(3600),
        ..server.config()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    let first = server.next();
    // A newer batch may be ready by then; it goes first.
    assert!(
        (0..3).any(|_| server.next().body == first.body),
        "it was not sent again"
    );
    let stats = handle.stop();
    assert!(stats.sent_batches >= 1, "{stats:?}");
    assert_eq!(stats.retries, 1, "{stats:?}");
}

#[test]
fn a_refused_batch_is_counted_and_not_sent_again() {
    let server = serve(&["HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nbad", OK]);
    let handle = Agent::new(server.config()).expect("config").start().expect("start");
    let (first, second) = (server.next(), server.next());
    assert_ne!(first.body, second.body);
    let stats = handle.stop();
    assert_eq!((stats.refused_batches, stats.retries), (1, 0), "{stats:?}");
}

#[test]
fn who_leads_to_a_sign_in_page_refuses_no_batch() {
    let server = serve(&[
        "HTTP/1.1 302 Found\r\nlocation: https://sso.example/login?state=hidden\r\ncontent-length: 0\r\n\r\n",
        OK,
    ]);
    let config = Config {
        interval: Duration::from_secs(3600),
        ..server.config()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    let first = server.next();
    assert!(
        (0..3).any(|_| server.next().body == first.body),
        "it was not sent again"
    );
    let stats = handle.stop();
    assert_eq!((stats.refused_batches, stats.retries), (0, 1), "{stats:?}");
}

#[test]
fn an_unacknowledged_batch_survives_in_the_spool() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let spool = SpoolOptions {
        dir: Some(dir.path().to_path_buf()),
        ..SpoolOptions::default()
    };
    // Nobody listens here: the port was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0")
        .expect("loopback")
        .local_addr()
        .expect("address");
    // Whose kernel tells of no events: those would be batches of their own.
    let (_root, paths) = bare_host(None);
    let config = Config {
        server: Some(Server {
            url: format!("http://{dead}"),
            ..Server::default()
        }),
        interval: Duration::from_secs(3600),
        spool: spool.clone(),
        paths: paths.clone(),
        ..Config::default()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    while handle.stats().retries == 0 {
        thread::yield_now();
    }
    assert_eq!(handle.stop().waiting_batches, 1);

    let server = serve(&[OK]);
    let config = Config {
        interval: Duration::from_secs(3600),
        spool,
        paths,
        ..server.config()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    server.next();
    server.next();
    while handle.stats().waiting_batches > 0 {
        thread::yield_now();
    }
    assert_eq!(handle.stop().sent_batches, 2);
}

/// An agent on a host whose kernel told of an XID, with a spool, at this server.
fn agent_with_an_event(server: &FakeServer) -> (tempfile::TempDir, Handle) {
    let (root, paths) = bare_host(Some("3,7,5140900,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1"));
    let config = Config {
        interval: Duration::from_secs(3600),
        spool: SpoolOptions {
            dir: Some(root.path().join("spool")),
            ..SpoolOptions::default()
        },
        paths,
        ..server.config()
    };
    (root, Agent::new(config).expect("config").start().expect("start"))
}

#[test]
fn what_the_kernel_tells_arrives_as_a_log_record_under_an_id() {
    let server = serve(&[OK]);
    let (_root, handle) = agent_with_an_event(&server);
    let post = [server.next(), server.next()]
        .into_iter()
        .find(|post| post.head.starts_with("post /v1/logs "))
        .expect("logs among the first two");
    assert!(post.head.contains("content-encoding: zstd"), "{}", post.head);
    assert!(post.head.contains("authorization: bearer t0ken"), "{}", post.head);
    assert!(post.head.contains("/kernel/0-8\r\n"), "{}", post.head);
    let body = zstd::bulk::decompress(&post.body, 1 << 20).expect("zstd");
    let resource = otlp::logs::request(&body).next().expect("one").expect("resource");
    let scope = resource.scopes().next().expect("one").expect("scope");
    let record = scope.records().next().expect("one").expect("record");
    assert_eq!(
        (scope.name, record.event_name, record.severity_number),
        ("foreshock.agent", "gpu_xid", 17)
    );
    assert_eq!(handle.stop().refused_batches, 0);
}

#[test]
fn a_receiver_without_logs_gets_the_readings_and_holds_nothing_up() {
    const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let server = serve(&[OK, NOT_FOUND, OK]);
    let (_root, handle) = agent_with_an_event(&server);
    while handle.stats().waiting_batches > 0 || handle.stats().sent_batches == 0 {
        thread::yield_now();
    }
    let stats = handle.stop();
    // Either the readings went first, and the events were passed over, or these went alone and later.
    assert_eq!((stats.refused_batches, stats.dropped_batches), (0, 0), "{stats:?}");
    let first = server.next();
    if first.head.starts_with("post /v1/metrics ") {
        assert_eq!((stats.sent_batches, stats.retries), (1, 0), "{stats:?}");
    }
}

#[test]
fn events_that_are_not_let_in_do_not_keep_the_backlog_of_readings_waiting() {
    const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    let (root, paths) = bare_host(Some("3,7,5140900,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1"));
    let spool = SpoolOptions {
        dir: Some(root.path().join("spool")),
        ..SpoolOptions::default()
    };
    let mut backlog = Spool::open(spool.clone()).expect("spool");
    let now = clock::unix_nanos();
    for n in 0..20 {
        let batch = batch::readings(&[n]).expect("compresses");
        backlog.push(now + u64::from(n), Instant::now(), batch);
    }
    drop(backlog);
    let server = serve_by(|post| {
        if post.head.starts_with("post /v1/logs ") {
            FORBIDDEN
        } else {
            OK
        }
    });
    let config = Config {
        interval: Duration::from_secs(3600),
        spool,
        paths,
        ..server.config()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    // Twenty that waited, and those of this start; events at the head of the line would be tried again and again instead.
    let (mut readings, mut events) = (0, 0);
    while readings < 21 {
        if server.next().head.starts_with("post /v1/metrics ") {
            readings += 1;
        } else {
            events += 1;
        }
        assert!(events < 12, "{readings} batches of readings after so many attempts");
    }
    let stats = handle.stop();
    assert!(events > 0 && stats.refused_batches == 0, "{events} {stats:?}");
}

#[test]
fn a_recording_needs_no_server_and_holds_each_round() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("r.otlp.zst");
    let config = Config {
        record: Some(path.clone()),
        interval: INTERVAL_MIN,
        ..Config::default()
    };
    let handle = Agent::new(config).expect("config").start().expect("start");
    handle.watch(Watch::Cgroup("/nothing".to_owned()));
    handle.stop();
    let batches: Vec<_> = recording::read(&path)
        .expect("open")
        .map(|batch| batch.expect("batch"))
        .collect();
    assert!(!batches.is_empty());
    assert!(batches.windows(2).all(|pair| pair[0].unix_millis < pair[1].unix_millis));
    let sums = otlp::request(&batches[0].body)
        .flat_map(|resource| resource.expect("resource").scopes())
        .flat_map(|scope| scope.expect("scope").metrics())
        .filter(|metric| matches!(metric.as_ref().expect("metric").data, Some(Data::Sum { .. })))
        .count();
    assert!(sums > 10, "{sums}");
}

#[test]
fn every_metric_has_a_name_a_unit_a_help_text_and_a_source_and_stands_once() {
    let mut names: Vec<&str> = ALL.iter().map(|metric| metric.def.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for metric in ALL {
        let def = &metric.def;
        assert!(
            def.name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte)),
            "{def:?}"
        );
        assert!(
            !def.unit.is_empty() && def.help.ends_with('.') && !metric.source.is_empty(),
            "{def:?}"
        );
    }
}

#[test]
fn intervals_and_servers_are_checked_with_a_hint() {
    let short = Agent::new(Config {
        interval: Duration::ZERO,
        ..Config::default()
    })
    .expect_err("too short");
    assert!(short.hint().is_some(), "{short}");
    let server = Server {
        url: "nowhere".to_owned(),
        ..Server::default()
    };
    let wrong = Agent::new(Config {
        server: Some(server),
        ..Config::default()
    })
    .expect_err("no URL");
    assert!(wrong.hint().is_some_and(|hint| hint.contains("--server")), "{wrong}");
}

/// Values of one series of a recording with their times, milliseconds since 1970; the series is named as [`TextSink`] does.
fn series(recording: &str, wanted: &str) -> Vec<(i64, f64)> {
    let mut values = Vec::new();
    let path = recordings().join(recording).join("recording.otlp.zst");
    for batch in recording::read(&path).expect("open") {
        let batch = batch.expect("batch");
        let metrics = otlp::request(&batch.body)
            .flat_map(|resource| resource.expect("resource").scopes())
            .flat_map(|scope| scope.expect("scope").metrics());
        for metric in metrics {
            let metric = metric.expect("metric");
            let (Some(Data::Gauge(points)) | Some(Data::Sum { points, .. })) = metric.data else {
                continue;
            };
            for point in points.numbers() {
                let point = point.expect("point");
                let mut name = metric.name.to_owned();
                for pair in point.attributes.iter() {
                    let (key, value) = pair.expect("attribute");
                    let mut scratch = String::new();
                    name.push_str(&format!(",{key}={}", value.text(&mut scratch).expect("text")));
                }
                if name.starts_with(wanted) {
                    values.push(((point.time_unix_nano / 1_000_000) as i64, point.value.expect("value")));
                }
            }
        }
    }
    assert!(values.len() > 200, "{} values of {wanted}", values.len());
    values
}

fn recordings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recordings")
}

/// A number of `incidents.json`.
fn incident(recording: &str, key: &str) -> i64 {
    let text = std::fs::read_to_string(recordings().join(recording).join("incidents.json")).expect("incidents");
    let (_, rest) = text.split_once(&format!("\"{key}\": ")).expect("key");
    rest.split(|c: char| !c.is_ascii_digit())
        .next()
        .expect("number")
        .parse()
        .expect("number")
}

/// The values before and from the incident's start.
fn around(recording: &str, series: Vec<(i64, f64)>) -> (Vec<f64>, Vec<f64>) {
    let start = incident(recording, "start");
    let (before, after): (Vec<_>, Vec<_>) = series.into_iter().partition(|(at, _)| *at < start);
    let values = |pairs: Vec<(i64, f64)>| pairs.into_iter().map(|(_, value)| value).collect::<Vec<f64>>();
    (values(before), values(after))
}

#[test]
fn the_recorded_leak_climbs_to_its_limit_and_ends_in_a_kill() {
    let usage = series("memory-leak", "cgroup.memory.usage");
    let (before, after) = around("memory-leak", usage);
    let limit = series("memory-leak", "cgroup.memory.limit")[0].1;
    assert!(
        before[30] < 0.3 * limit && before.last() > Some(&(0.98 * limit)),
        "{limit}"
    );
    assert!(after.last() < Some(&(0.01 * limit)));
    let (before, after) = around("memory-leak", series("memory-leak", "cgroup.memory.oom_kills"));
    assert_eq!((before.last(), after.last()), (Some(&0.0), Some(&1.0)));
}

#[test]
fn the_recorded_file_system_fills_until_nothing_is_left() {
    let fill = series(
        "disk-full",
        "system.filesystem.utilization,system.filesystem.mountpoint=/srv/recorded",
    );
    let (before, after) = around("disk-full", fill);
    assert!(before.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(before[30] < 0.31 && before.last() > Some(&0.99));
    assert_eq!(after.last(), Some(&1.0));
}

#[test]
fn the_recorded_service_slows_down_with_its_disk_before_it_fails() {
    let (before, _) = around("io-starvation", series("io-starvation", "probe.duration"));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (calm, late) = (mean(&before[10..50]), mean(&before[before.len() - 20..]));
    assert!(late > 20.0 * calm, "{calm} {late}");
    let stalled = series(
        "io-starvation",
        "system.linux.pressure.stall_time,resource=io,kind=some",
    );
    let (before, _) = around("io-starvation", stalled);
    let (calm, late) = (
        before[50] - before[10],
        before[before.len() - 1] - before[before.len() - 41],
    );
    assert!(late > 5.0 * calm, "{calm} {late}");
}
