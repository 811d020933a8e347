use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use store::State;

use super::*;
use crate::silences::{Condition, Silence, SilenceBook};

const START: i64 = 1_700_000_000_000;

/// An answer of the test's receiver: a status, or silence for longer than anyone waits, or a closed connection.
#[derive(Clone, Debug)]
enum Answer {
    Status(u16, Vec<(&'static str, String)>),
    Hang,
}

fn status(code: u16) -> Answer {
    Answer::Status(code, Vec::new())
}

/// A webhook on a loopback port that answers as it is told, then always with 200, and keeps what it accepted and refused.
#[derive(Clone)]
struct Sink {
    url: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[derive(Clone, Debug)]
struct Heard {
    key: String,
    authorization: Option<String>,
    body: Value,
    accepted: bool,
}

impl Sink {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/secret-key", listener.local_addr().unwrap());
        let hook = Self {
            url,
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            heard: Arc::default(),
        };
        let router = Router::new()
            .route("/hook/secret-key", post(answer))
            .with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    fn keys(&self) -> Vec<String> {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .map(|heard| heard.key.clone())
            .collect()
    }

    /// What was accepted, in words.
    fn accepted(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let accepted = heard.iter().filter(|heard| heard.accepted);
        accepted
            .map(|heard| {
                let alerts = heard.body["alerts"].as_array().unwrap();
                let one = |alert: &Value| {
                    format!(
                        "{}:{}",
                        alert["labels"]["host"].as_str().unwrap(),
                        alert["status"].as_str().unwrap()
                    )
                };
                alerts.iter().map(one).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }
}

async fn answer(Shared(hook): Shared<Sink>, headers: HeaderMap, body: Bytes) -> Response {
    let next = hook.answers.lock().unwrap().pop_front().unwrap_or(status(200));
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let accepted = matches!(next, Answer::Status(200..=299, _));
    hook.heard.lock().unwrap().push(Heard {
        key: text("idempotency-key").unwrap(),
        authorization: text("authorization"),
        body: serde_json::from_slice(&body).unwrap(),
        accepted,
    });
    match next {
        Answer::Status(code, headers) => {
            let mut response = (StatusCode::from_u16(code).unwrap(), "said").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Answer::Hang => std::future::pending().await,
    }
}

struct Bench {
    directory: tempfile::TempDir,
    state: State,
    outbox: Outbox,
    client: reqwest::Client,
}

fn settings(hooks: &[&Sink]) -> Settings {
    grouped(hooks, |_| {})
}

fn grouped(hooks: &[&Sink], change: impl FnOnce(&mut Grouping)) -> Settings {
    let mut grouping = Grouping {
        wait_ms: 0,
        interval_ms: 10_000,
        repeat_ms: 3_600_000,
        ..Grouping::default()
    };
    change(&mut grouping);
    let receiver = |(n, hook): (usize, &&Sink)| {
        let name = if n == 0 { "hook".to_owned() } else { format!("hook{n}") };
        Receiver::webhook(&name, &hook.url)
            .unwrap()
            .with_timeout(Duration::from_millis(300))
    };
    Settings {
        receivers: hooks.iter().enumerate().map(receiver).collect(),
        routing: Routing::simple(grouping),
        ..Settings::default()
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).unwrap();
        let outbox = Outbox::open(&state, settings).unwrap();
        Self {
            directory,
            state,
            outbox,
            client: client().unwrap(),
        }
    }

    /// As after kill -9: only the file is left.
    fn restart(self, settings: Settings) -> Self {
        drop(self.state);
        let state = State::open(&self.directory.path().join("state.sqlite")).unwrap();
        let outbox = Outbox::open(&state, settings).unwrap();
        Self {
            directory: self.directory,
            state,
            outbox,
            client: self.client,
        }
    }

    fn put(&self, at_s: i64, alert: &Notification) {
        self.outbox.enqueue(&self.state, START + at_s * 1000, alert).unwrap();
    }

    /// Outcomes of what was due at that second.
    async fn deliver(&self, at_s: i64) -> String {
        let deliveries = self
            .outbox
            .deliver_due(&self.state, START + at_s * 1000, &self.client)
            .await
            .unwrap();
        deliveries
            .iter()
            .map(|delivery| delivery.outcome.name())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn alert(name: &str, host: &str) -> Notification {
    let labels: BTreeMap<String, String> = [("alertname", name), ("host", host), ("severity", "page")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into();
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: [("summary".to_owned(), format!("{host} is {name}"))].into(),
        starts_ms: START,
        ends_ms: None,
        value: Some(0.5),
        generator_url: String::new(),
        outlook: None,
        expires_ms: None,
        updated_ms: START,
    }
}

fn ended(alert: &Notification, at_s: i64) -> Notification {
    Notification {
        ends_ms: Some(START + at_s * 1000),
        ..alert.clone()
    }
}

#[tokio::test]
async fn an_alert_is_told_once_and_its_end_once() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let hot = alert("Hot", "a");
    bench.put(0, &hot);
    assert_eq!(bench.deliver(0).await, "delivered");
    bench.put(1, &hot);
    assert_eq!(bench.deliver(20).await, "", "said already");
    bench.put(30, &ended(&hot, 30));
    assert_eq!(bench.deliver(40).await, "delivered");
    assert_eq!(bench.deliver(4000).await, "");
    assert_eq!(hook.accepted(), ["a:firing", "a:resolved"]);
    let (fingerprint, begun) = (hot.fingerprint, START);
    assert_eq!(
        hook.keys(),
        [
            format!("{fingerprint}-firing-{begun}"),
            format!("{fingerprint}-resolved-{begun}")
        ]
    );
    assert_eq!(Outbox::next_due_ms(&bench.state).unwrap(), None);
    let log = Outbox::log(&bench.state, 10).unwrap();
    assert_eq!(
        log.iter().map(|d| (d.what.as_str(), d.status)).collect::<Vec<_>>(),
        [("resolved Hot a", Some(200)), ("firing Hot a", Some(200))]
    );
}

#[tokio::test]
async fn the_payload_is_alertmanagers_with_ours_beside_it() {
    let hook = Sink::start([]).await;
    let mut settings = settings(&[&hook]);
    settings.external_url = "http://foreshock.example".to_owned();
    let authorized = Hook::at(&hook.url)
        .unwrap()
        .with_auth(Some(Auth::Bearer(Secret::new("t0ken"))));
    settings.receivers[0] = Receiver::new("hook", Channel::Webhook(authorized)).unwrap();
    let bench = Bench::new(settings);
    let mut likely = alert("FailureLikely", "a");
    likely
        .annotations
        .insert("action".to_owned(), "Drain the host.".to_owned());
    likely.outlook = Some(Outlook {
        probability: Some(0.42),
        horizon: Some("1h".to_owned()),
        signals: vec![Signal {
            name: "memory".to_owned(),
            value: Some(0.93),
            unit: "1".to_owned(),
            usual: Some(0.41),
            text: "memory 93 %, usually 41 %".to_owned(),
            since_ms: START - 600_000,
        }],
        since_ms: Some(START - 600_000),
        ..Outlook::default()
    });
    bench.put(0, &likely);
    assert_eq!(bench.deliver(0).await, "delivered");
    let heard = hook.heard.lock().unwrap()[0].clone();
    assert_eq!(heard.authorization.as_deref(), Some("Bearer t0ken"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&heard.body).unwrap());
}

#[tokio::test]
async fn errors_are_tried_again_with_growing_pauses_and_the_same_key() {
    let hook = Sink::start([status(500), status(503), status(500)]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    let mut now = START;
    let mut pauses = Vec::new();
    loop {
        let deliveries = bench
            .outbox
            .deliver_due(&bench.state, now, &bench.client)
            .await
            .unwrap();
        match deliveries.as_slice() {
            [
                Delivery {
                    outcome: Outcome::Again { at_ms },
                    text,
                    ..
                },
            ] => {
                assert!(text.contains("answered 50") && text.contains("(said)"), "{text}");
                pauses.push(at_ms - now);
                assert_eq!(
                    Outbox::next_due_ms(&bench.state).unwrap().unwrap().max(now),
                    (now + 10_000).min(*at_ms)
                );
                assert!(
                    bench
                        .outbox
                        .deliver_due(&bench.state, at_ms - 1000, &bench.client)
                        .await
                        .unwrap()
                        .is_empty()
                );
                now = *at_ms;
            }
            [
                Delivery {
                    outcome: Outcome::Delivered,
                    attempt: 4,
                    ..
                },
            ] => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        pauses.is_sorted() && pauses[0] >= 500 && pauses[2] >= 2000,
        "{pauses:?}"
    );
    assert_eq!(hook.keys().iter().collect::<std::collections::HashSet<_>>().len(), 1);
    assert_eq!(hook.accepted(), ["a:firing"]);
}

#[tokio::test]
async fn retry_after_holds_for_all_messages_to_that_receiver_alone() {
    let busy = Sink::start([Answer::Status(429, vec![("retry-after", "120".to_owned())])]).await;
    let free = Sink::start([]).await;
    let bench = Bench::new(settings(&[&busy, &free]));
    bench.put(0, &alert("Hot", "a"));
    let mut outcomes: Vec<String> = bench.deliver(0).await.split(' ').map(str::to_owned).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["again", "delivered"]);
    for at in (1..=119).step_by(10) {
        bench.put(at, &alert("Hot", &format!("h{at}")));
        bench.deliver(at).await;
        assert_eq!(busy.heard.lock().unwrap().len(), 1, "at {at} s");
    }
    // Also a restart does not shorten it.
    let bench = bench.restart(settings(&[&busy, &free]));
    bench.deliver(119).await;
    assert_eq!(busy.heard.lock().unwrap().len(), 1);
    assert_eq!(free.heard.lock().unwrap().len(), 13);
    bench.deliver(122).await;
    assert_eq!(busy.heard.lock().unwrap().len(), 14, "then all of them, in order");
    assert_eq!(busy.accepted()[..2], ["a:firing", "h1:firing"]);
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let headers = vec![
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT".to_owned()),
        ("retry-after", "Tue, 14 Nov 2023 22:14:50 GMT".to_owned()),
    ];
    let hook = Sink::start([Answer::Status(503, headers)]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "again");
    assert_eq!(bench.deliver(89).await, "");
    assert_eq!(bench.deliver(92).await, "delivered");
}

#[tokio::test]
async fn a_crash_between_sending_and_noting_repeats_the_message_with_its_key() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    bench.outbox.flush(&bench.state, START).unwrap();
    // Sent, and killed before it could be struck out.
    let letter = ledger::due_letter(&bench.state, "hook", START).unwrap().unwrap();
    let receiver = bench.outbox.receivers()[0].clone();
    let message = serde_json::from_str(&letter.body).unwrap();
    send::send(&bench.client, &receiver, &letter.key, &message, START).await;
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(bench.deliver(1).await, "delivered");
    assert_eq!(bench.deliver(30).await, "");
    let keys = hook.keys();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_is_in_the_outbox_survives_a_kill() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    let bench = bench.restart(settings(&[&hook]));
    bench.outbox.flush(&bench.state, START + 1000).unwrap();
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(Outbox::waiting(&bench.state).unwrap(), 1);
    assert_eq!(bench.deliver(2).await, "delivered");
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(bench.deliver(60).await, "");
    bench.put(70, &ended(&alert("Hot", "a"), 70));
    assert_eq!(bench.restart(settings(&[&hook])).deliver(80).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "a:resolved"]);
}

#[tokio::test]
async fn a_refused_message_becomes_a_dead_letter_and_does_not_block_others() {
    let hook = Sink::start([status(400), status(200), status(404), status(400)]).await;
    let mut wanted = settings(&[&hook]);
    wanted.refusals_max = 3;
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    bench.put(0, &alert("Hot", "b"));
    assert_eq!(bench.deliver(0).await, "again delivered");
    assert_eq!(bench.deliver(600).await, "again");
    assert_eq!(bench.deliver(1200).await, "dead");
    assert_eq!(bench.deliver(2400).await, "");
    let dead = Outbox::dead_letters(&bench.state, 10).unwrap();
    assert_eq!(
        (dead.len(), dead[0].attempts, dead[0].what.as_str()),
        (1, 3, "firing Hot a")
    );
    assert!(Outbox::revive(&bench.state, dead[0].id, START + 2_400_000).unwrap());
    assert!(!Outbox::revive(&bench.state, dead[0].id, START + 2_400_000).unwrap());
    assert_eq!(bench.deliver(2401).await, "delivered");
    assert_eq!(hook.accepted(), ["b:firing", "a:firing"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_what_to_do() {
    let trap = Sink::start([]).await;
    let hook = Sink::start([Answer::Status(307, vec![("location", trap.url.clone())])]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "again");
    let text = Outbox::log(&bench.state, 1).unwrap()[0].text.clone();
    assert!(text.contains("a redirect to http://127.0.0.1:"), "{text}");
    assert!(text.contains("give the receiver's final address"), "{text}");
    assert!(!text.contains("secret-key"), "{text}");
    assert!(trap.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_away_is_tried_again_and_keeps_nobody_waiting() {
    let hanging = Sink::start([Answer::Hang]).await;
    let free = Sink::start([]).await;
    let mut wanted = settings(&[&hanging, &free]);
    // Nobody listens on port 1 of the loopback.
    wanted
        .receivers
        .push(Receiver::webhook("away", "http://127.0.0.1:1/secret-key").unwrap());
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    let outcomes = bench.deliver(0).await;
    assert_eq!(outcomes.matches("again").count(), 2, "{outcomes}");
    assert_eq!(free.accepted(), ["a:firing"]);
    let texts: Vec<String> = Outbox::log(&bench.state, 3)
        .unwrap()
        .into_iter()
        .map(|delivery| delivery.text)
        .collect();
    assert!(
        texts.iter().any(|text| text.contains("did not answer within 0.3 s")),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text.contains("cannot connect to http://127.0.0.1:1")),
        "{texts:?}"
    );
    assert!(texts.iter().all(|text| !text.contains("secret-key")), "{texts:?}");
    bench.deliver(600).await;
    assert_eq!(hanging.accepted(), ["a:firing"]);
    assert_eq!(hanging.keys()[0], hanging.keys()[1]);
}

#[tokio::test]
async fn alerts_of_a_group_share_a_message_after_the_wait() {
    let hook = Sink::start([]).await;
    let mut wanted = grouped(&[&hook], |grouping| {
        grouping.wait_ms = 5000;
        grouping.by = vec!["alertname".to_owned()];
    });
    wanted.receivers[0] = wanted.receivers[0].clone().with_alerts_max(2);
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    bench.put(
        3,
        &Notification {
            starts_ms: START + 3000,
            ..alert("Hot", "b")
        },
    );
    bench.put(3, &alert("Full", "a"));
    assert_eq!(bench.deliver(4).await, "");
    assert_eq!(bench.deliver(5).await, "delivered");
    assert_eq!(bench.deliver(8).await, "delivered");
    let mut accepted = hook.accepted();
    accepted.sort();
    assert_eq!(accepted, ["a:firing", "a:firing b:firing"]);
    bench.put(9, &alert("Hot", "c"));
    assert_eq!(bench.deliver(14).await, "", "a group speaks once in its interval");
    assert_eq!(bench.deliver(18).await, "delivered");
    let last = hook.heard.lock().unwrap().last().unwrap().body.clone();
    assert_eq!(last["truncatedAlerts"], 1);
    assert_eq!(last["commonLabels"]["alertname"], "Hot");
    assert_eq!(last["groupKey"], "{}:{alertname=\"Hot\"}");
    let keys: std::collections::HashSet<String> = hook.keys().into_iter().collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn what_goes_on_firing_is_said_again_after_the_repeat_interval() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    bench.put(0, &alert("Hot", "a"));
    for (at, outcome) in [
        (0, "delivered"),
        (1800, ""),
        (3600, "delivered"),
        (5400, ""),
        (7200, "delivered"),
    ] {
        assert_eq!(bench.deliver(at).await, outcome, "at {at} s");
    }
    let keys = hook.keys();
    assert!(
        keys[1].ends_with("-repeat1") && keys[2].ends_with("-repeat2"),
        "{keys:?}"
    );
}

#[tokio::test]
async fn what_ends_before_anyone_heard_of_it_is_not_told() {
    let hook = Sink::start([]).await;
    let wanted = grouped(&[&hook], |grouping| grouping.wait_ms = 5000);
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    bench.put(2, &ended(&alert("Hot", "a"), 2));
    assert_eq!(bench.deliver(5).await, "");
    assert_eq!(Outbox::next_due_ms(&bench.state).unwrap(), None);
}

#[tokio::test]
async fn a_new_episode_of_an_alert_is_news() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let first = alert("Hot", "a");
    bench.put(0, &first);
    assert_eq!(bench.deliver(0).await, "delivered");
    bench.put(2, &ended(&first, 2));
    bench.put(
        4,
        &Notification {
            starts_ms: START + 4000,
            ..first
        },
    );
    assert_eq!(bench.deliver(10).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "a:firing"]);
    assert_ne!(hook.keys()[0], hook.keys()[1]);
}

#[tokio::test]
async fn a_receiver_may_do_without_ends() {
    let hook = Sink::start([]).await;
    let mut wanted = settings(&[&hook]);
    wanted.receivers[0] = wanted.receivers[0].clone().with_resolved(false);
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "delivered");
    bench.put(5, &ended(&alert("Hot", "a"), 5));
    assert_eq!(bench.deliver(20).await, "");
}

#[tokio::test]
async fn a_silenced_alert_is_shown_but_not_told_until_the_silence_ends() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let silence = Silence {
        id: 0,
        conditions: vec![Condition {
            name: "host".to_owned(),
            value: "a".to_owned(),
            is_regex: false,
            is_equal: true,
        }],
        starts_ms: START,
        ends_ms: START + 60_000,
        created_by: "me".to_owned(),
        comment: "known".to_owned(),
        updated_ms: START,
    };
    let id = SilenceBook::open(&bench.state).unwrap().add(&silence).unwrap();
    bench.put(0, &alert("Hot", "a"));
    bench.put(0, &alert("Hot", "b"));
    assert_eq!(bench.deliver(0).await, "delivered");
    assert_eq!(hook.accepted(), ["b:firing"]);
    let held = bench.outbox.alerts(&bench.state, START + 1000).unwrap();
    let silenced: Vec<(&str, &[i64])> = held
        .iter()
        .map(|h| (h.alert.labels["host"].as_str(), h.silenced_by.as_slice()))
        .collect();
    assert!(
        silenced.contains(&("a", &[id])) && silenced.contains(&("b", &[])),
        "{silenced:?}"
    );
    assert_eq!(bench.deliver(50).await, "");
    assert_eq!(bench.deliver(70).await, "delivered");
    assert_eq!(hook.accepted(), ["b:firing", "a:firing"]);
}

#[tokio::test]
async fn beyond_the_queue_the_oldest_message_is_given_up() {
    let hook = Sink::start([Answer::Status(503, vec![("retry-after", "600".to_owned())])]).await;
    let mut wanted = settings(&[&hook]);
    wanted.queue_max = 2;
    let bench = Bench::new(wanted);
    for (at, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
        bench.put(at as i64, &alert("Hot", host));
        bench.deliver(at as i64).await;
    }
    assert_eq!(Outbox::waiting(&bench.state).unwrap(), 2);
    let dead: Vec<String> = Outbox::dead_letters(&bench.state, 9)
        .unwrap()
        .into_iter()
        .map(|letter| letter.what)
        .collect();
    assert_eq!(dead, ["firing Hot b", "firing Hot a"]);
    bench.deliver(700).await;
    assert_eq!(hook.accepted(), ["c:firing", "d:firing"]);
}

#[tokio::test]
async fn a_test_message_says_so_and_is_logged() {
    let hook = Sink::start([status(200), status(403)]).await;
    let bench = Bench::new(settings(&[&hook]));
    let delivery = bench
        .outbox
        .test(&bench.state, START, &bench.client, "hook")
        .await
        .unwrap();
    assert_eq!(delivery.outcome, Outcome::Delivered);
    let delivery = bench
        .outbox
        .test(&bench.state, START, &bench.client, "hook")
        .await
        .unwrap();
    assert!(
        delivery.text.contains("check the receiver's address and token"),
        "{}",
        delivery.text
    );
    let error = bench
        .outbox
        .test(&bench.state, START, &bench.client, "nobody")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "there is no receiver \"nobody\"");
    assert_eq!(Outbox::log(&bench.state, 9).unwrap().len(), 2);
}

#[test]
fn a_message_says_the_probability_once() {
    let mut likely = alert("FailureLikely", "a");
    likely.outlook = Some(Outlook {
        probability: Some(0.71),
        horizon: Some("1h".to_owned()),
        ..Outlook::default()
    });
    let text = |alert: &Notification| message::alert_text(alert);
    assert!(text(&likely).contains("71 % likely to fail within 1h."));
    likely.labels.insert("horizon".to_owned(), "1h".to_owned());
    likely
        .annotations
        .insert("summary".to_owned(), "a: 71.2% likely to fail within 1h".to_owned());
    assert_eq!(text(&likely).matches("likely to fail").count(), 1, "{}", text(&likely));
}

#[tokio::test]
async fn a_broken_receiver_s_fallback_gets_one_copy_of_each_message_in_its_own_form() {
    let broken = Sink::start((0..3).map(|_| status(503))).await;
    let fallback = Sink::start([]).await;
    let mut wanted = settings(&[&broken, &fallback]);
    wanted.receivers[0] = wanted.receivers[0].clone().with_fallback(Some("hook1".to_owned()));
    // Only the first is spoken to by the route.
    let grouping = Grouping {
        wait_ms: 0,
        interval_ms: 10_000,
        ..Grouping::default()
    };
    wanted.routing = Routing::new(Route::new(Some("hook".to_owned()), Vec::new(), grouping));
    let bench = Bench::new(wanted.clone());
    bench.put(0, &alert("Hot", "a"));
    bench.put(0, &alert("Hot", "b"));
    for at in [0, 10] {
        assert_eq!(bench.deliver(at).await, "again");
        assert!(fallback.accepted().is_empty(), "twice is no breach yet");
    }
    assert_eq!(bench.deliver(60).await, "again delivered delivered");
    assert_eq!(fallback.accepted(), ["a:firing", "b:firing"]);
    let body = fallback.heard.lock().unwrap()[0].body.clone();
    assert_eq!(body["foreshock"]["insteadOf"], "hook");
    assert_eq!(
        fallback.keys()[0],
        broken.keys()[0],
        "the same news has the same key everywhere"
    );
    // What is written while it is broken is copied as well, what was copied is not, also after a restart.
    let bench = bench.restart(wanted);
    bench.put(61, &alert("Hot", "c"));
    bench.outbox.flush(&bench.state, START + 61_000).unwrap();
    bench.outbox.divert_new(&bench.state, START + 61_000).unwrap();
    assert_eq!(bench.deliver(61).await, "delivered");
    assert_eq!(fallback.accepted(), ["a:firing", "b:firing", "c:firing"]);
    let status = bench.outbox.receivers_status(&bench.state).unwrap();
    assert!(
        status[0].broken && status[0].waiting == 3 && !status[1].broken,
        "{status:?}"
    );
    // It is back: it gets everything that it missed, and the fallback nothing more.
    assert_eq!(bench.deliver(600).await, "delivered delivered delivered");
    assert_eq!(broken.accepted(), ["a:firing", "b:firing", "c:firing"]);
    assert_eq!(fallback.accepted().len(), 3);
    assert!(!bench.outbox.receivers_status(&bench.state).unwrap()[0].broken);
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_goes_to_its_fallback() {
    let gone = Sink::start([status(410)]).await;
    let fallback = Sink::start([]).await;
    let mut wanted = settings(&[&gone, &fallback]);
    wanted.refusals_max = 1;
    wanted.receivers[0] = wanted.receivers[0].clone().with_fallback(Some("hook1".to_owned()));
    wanted.routing = Routing::new(Route::new(
        Some("hook".to_owned()),
        Vec::new(),
        Grouping {
            wait_ms: 0,
            ..Grouping::default()
        },
    ));
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "dead delivered");
    assert_eq!(fallback.accepted(), ["a:firing"]);
}

#[tokio::test]
async fn a_receiver_s_pace_is_kept_across_restarts() {
    let hook = Sink::start([]).await;
    let mut wanted = settings(&[&hook]);
    let pace = Pace {
        messages: 2,
        within_ms: 60_000,
    };
    wanted.receivers[0] = wanted.receivers[0].clone().with_pace(Some(pace));
    let bench = Bench::new(wanted.clone());
    for host in ["a", "b", "c", "d", "e"] {
        bench.put(0, &alert("Hot", host));
    }
    assert_eq!(bench.deliver(0).await, "delivered delivered");
    assert_eq!(bench.deliver(59).await, "");
    let bench = bench.restart(wanted);
    assert_eq!(bench.deliver(59).await, "");
    assert_eq!(bench.deliver(61).await, "delivered delivered");
    assert_eq!(bench.deliver(90).await, "");
    assert_eq!(bench.deliver(122).await, "delivered");
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_no_other_one_waiting() {
    let hanging = Sink::start([Answer::Hang, Answer::Hang]).await;
    let free = Sink::start([]).await;
    let mut wanted = settings(&[&hanging, &free]);
    // Longer than this test may take.
    wanted.receivers[0] = wanted.receivers[0].clone().with_timeout(Duration::from_secs(600));
    let directory = tempfile::tempdir().unwrap();
    let options = store::StoreOptions {
        background: false,
        ..store::StoreOptions::default()
    };
    let tenants = store::Tenants::open(directory.path(), options).unwrap();
    let store = tenants.get_or_create("default").unwrap();
    let notifier = Arc::new(Notifier::new(wanted).unwrap());
    let outbox = notifier.outbox(store.state()).unwrap();
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let courier = Courier::new(Arc::clone(&notifier), store::Clock::fixed(START));
    let named = Arc::clone(&store);
    let running = tokio::spawn(courier.run(move || vec![("default".to_owned(), Arc::clone(&named))], stopping));
    for (host, count) in [("a", 1), ("b", 2), ("c", 3)] {
        outbox.enqueue(store.state(), START, &alert("Hot", host)).unwrap();
        notifier.ring();
        while free.accepted().len() < count {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(hanging.keys().len(), 1, "one attempt at a time");
    stop.send_replace(true);
    running.abort();
    assert_eq!(free.accepted(), ["a:firing", "b:firing", "c:firing"]);
}

#[test]
fn secrets_are_shown_to_nobody() {
    let hook = Hook::at("https://user:pass@hooks.example/services/T0/s3cret?key=k").unwrap();
    let hook = hook.with_auth(Some(Auth::Basic {
        user: "me".to_owned(),
        password: Secret::new("t0ken"),
    }));
    let shown = format!("{:?}", Receiver::new("chat", Channel::Webhook(hook)).unwrap());
    for secret in ["s3cret", "t0ken", "user:pass", "key=k"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("https://hooks.example"), "{shown}");
    let wrong = Receiver::webhook("chat", "file:///etc/passwd").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "receiver \"chat\" needs an address that begins with http:// or https://"
    );
    assert!(Receiver::webhook("a\nb", "http://x").is_err());
}

#[test]
fn pauses_double_up_to_a_bound_and_are_jittered() {
    let backoff = Backoff {
        first_ms: 1000,
        longest_ms: 60_000,
    };
    for failures in 1..40 {
        let full = (1000_i64 << (failures - 1).min(30)).min(60_000);
        let pauses: Vec<i64> = (0..50)
            .map(|salt| backoff.pause_ms(failures, &salt.to_string()))
            .collect();
        assert!(
            pauses.iter().all(|pause| (full / 2..=full).contains(pause)),
            "{failures}: {pauses:?}"
        );
        assert!(pauses.iter().collect::<std::collections::HashSet<_>>().len() > 10);
    }
}
