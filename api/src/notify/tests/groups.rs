use super::*;
use crate::silences::{Condition, Silence, SilenceBook};

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
async fn programs_are_told_of_all_alerts_of_a_group_in_as_many_messages_as_it_takes() {
    let (hook, upstream) = (Sink::start([]).await, Sink::start([]).await);
    let mut wanted = grouped(&[&hook, &upstream], |grouping| {
        grouping.by = vec!["alertname".to_owned()];
    });
    wanted.receivers[1] = Receiver::new("upstream", Channel::Alertmanager(Hook::at(&upstream.url).unwrap())).unwrap();
    // Long bodies, on a thread that makes and reads them all.
    wanted.receivers[0] = wanted.receivers[0].clone().with_timeout(Duration::from_secs(600));
    wanted.receivers[1] = wanted.receivers[1].clone().with_timeout(Duration::from_secs(600));
    let (at_once, more) = (wanted.receivers[0].alerts_max, wanted.receivers[1].alerts_max);
    let count = at_once.max(more) + 1;
    let bench = Bench::new(wanted);
    let alerts: Vec<Notification> = (0..count).map(|n| alert("Hot", &format!("h{n}"))).collect();
    bench.outbox.take_in(&bench.state, START, &alerts).unwrap();
    bench.deliver(0).await;
    let heard = |sink: &Sink| -> Vec<(String, usize)> {
        let heard = sink.heard.lock().unwrap();
        let alerts = |body: &Value| body.get("alerts").unwrap_or(body).as_array().unwrap().clone();
        let hosts = heard.iter().flat_map(|heard| {
            let told = alerts(&heard.body);
            let size = told.len();
            told.into_iter()
                .map(move |alert| (alert["labels"]["host"].as_str().unwrap().to_owned(), size))
        });
        hosts.collect()
    };
    for (sink, most) in [(&hook, at_once), (&upstream, more)] {
        let told = heard(sink);
        let hosts: std::collections::BTreeSet<&str> = told.iter().map(|(host, _)| host.as_str()).collect();
        assert_eq!((told.len(), hosts.len()), (count, count), "each of them once");
        assert!(
            told.iter().all(|(_, size)| *size <= most),
            "no message has more than {most}"
        );
        let keys = sink.keys();
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
    }
    let bodies = hook.heard.lock().unwrap().clone();
    assert!(bodies.iter().all(|heard| heard.body["truncatedAlerts"] == 0));
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
