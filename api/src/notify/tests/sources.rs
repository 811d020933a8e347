//! Alerts that more than one source raises.

use super::*;

/// From outside, until it is said again or this second.
fn from_outside(alert: &Notification, until_s: i64) -> Notification {
    Notification {
        expires_ms: Some(START + until_s * 1000),
        ..alert.clone()
    }
}

#[tokio::test]
async fn an_alert_of_two_rules_is_over_when_both_say_so() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let full = alert("Full", "a");
    let later = Notification {
        starts_ms: START + 5000,
        annotations: [("summary".to_owned(), "the copy".to_owned())].into(),
        ..full.clone()
    };
    bench.put_by("disks/Full", 0, &full);
    assert_eq!(bench.deliver(0).await, "delivered");
    bench.put_by("own/Full", 5, &later);
    bench.put_by("disks/Full", 20, &ended(&full, 20));
    assert_eq!(bench.deliver(30).await, "", "the other one still fires");
    let held = bench.outbox.alerts(&bench.state, START + 30_000).unwrap();
    let shown = &held[0].alert;
    assert_eq!((shown.starts_ms, shown.ends_ms), (START, None), "one episode");
    assert_eq!(shown.annotations["summary"], "the copy", "what holds is what is shown");
    // After a restart as before it, and told again as what goes on is.
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(bench.deliver(3700).await, "delivered");
    bench.put_by("own/Full", 4000, &ended(&later, 4000));
    assert_eq!(bench.deliver(4010).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "a:firing", "a:resolved"]);
    assert_eq!(
        Outbox::next_due_ms(&bench.state).unwrap(),
        None,
        "nothing of it is left behind"
    );
}

#[tokio::test]
async fn nobody_outside_ends_what_a_rule_raised() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let hot = alert("Hot", "a");
    bench.put(0, &hot);
    assert_eq!(bench.deliver(0).await, "delivered");
    // That it is over, once and where the sender had said before that it is there; and silence after that.
    bench.post(5, &ended(&hot, 5));
    bench.post(6, &from_outside(&hot, 300));
    bench.post(7, &ended(&hot, 7));
    bench.post(8, &from_outside(&hot, 300));
    for at in [10, 20, 310, 900] {
        assert_eq!(bench.deliver(at).await, "", "at {at} s");
    }
    assert_eq!(bench.outbox.alerts(&bench.state, START + 900_000).unwrap().len(), 1);
    bench.put(901, &ended(&hot, 901));
    assert_eq!(bench.deliver(911).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "a:resolved"]);
}

#[tokio::test]
async fn what_a_rule_ends_goes_on_as_long_as_somebody_outside_says_so() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let hot = alert("Hot", "a");
    bench.put(0, &hot);
    bench.post(1, &from_outside(&hot, 301));
    assert_eq!(bench.deliver(1).await, "delivered");
    bench.put(10, &ended(&hot, 10));
    assert_eq!(bench.deliver(300).await, "");
    assert_eq!(bench.deliver(311).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "a:resolved"]);
}

#[tokio::test]
async fn alerts_that_were_held_before_sources_were_told_apart_end_as_they_did() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let (ours, theirs) = (alert("Hot", "a"), alert("Hot", "b"));
    bench.put(0, &ours);
    bench.post(0, &from_outside(&theirs, 300));
    assert_eq!(bench.deliver(0).await, "delivered delivered");
    // As a version left them that had no such table.
    let before = "DROP TABLE notify_source; DELETE FROM migration WHERE component = 'notify' AND step = 4;";
    bench.state.with(|connection| connection.execute_batch(before)).unwrap();
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(bench.deliver(20).await, "");
    bench.put(30, &ended(&ours, 30));
    bench.post(30, &ended(&theirs, 30));
    assert_eq!(bench.deliver(40).await, "delivered delivered");
    assert_eq!(hook.accepted()[2..], ["a:resolved", "b:resolved"]);
}
