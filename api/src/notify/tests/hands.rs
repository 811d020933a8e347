//! What somebody has in hand, and what climbs because nobody has.

use super::*;

/// Escalation to `hook1` after 10 minutes and to whoever is on duty, `hook2`, after 30.
fn climbing(hooks: &[&Sink]) -> Settings {
    let mut wanted = settings(hooks);
    let grouping = Grouping {
        wait_ms: 0,
        interval_ms: 10_000,
        repeat_ms: 3_600_000,
        ..Grouping::default()
    };
    wanted.routing = Routing::new(Route::new(Some("hook".to_owned()), Vec::new(), grouping));
    let steps = vec![(600_000, "hook1".to_owned()), (1_800_000, "duty".to_owned())];
    let policy = Escalation::new("pages", &["severity=page".to_owned()], steps).unwrap();
    let duty = Schedule::new("duty", None, Vec::new(), "hook2".to_owned()).unwrap();
    wanted.escalations = Escalations::new(vec![policy], vec![duty], &["hook", "hook1", "hook2"]).unwrap();
    wanted
}

fn named(alert: &Notification) -> Vec<String> {
    vec![alert.fingerprint.clone()]
}

#[tokio::test]
async fn what_is_in_hand_is_not_repeated_until_something_new_comes_or_it_ends() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(grouped(&[&hook], |grouping| grouping.by = vec!["alertname".to_owned()]));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "delivered");
    assert_eq!(
        bench.deliver(3600).await,
        "delivered",
        "nobody has it, so it is repeated"
    );
    let hot = alert("Hot", "a");
    let noted = bench
        .outbox
        .acknowledge(&bench.state, START + 3_700_000, &named(&hot), "eva", "on it")
        .unwrap();
    assert_eq!((noted[0].who.as_str(), noted[0].at_ms), ("eva", START + 3_700_000));
    let bench = bench.restart(grouped(&[&hook], |grouping| grouping.by = vec!["alertname".to_owned()]));
    assert_eq!(bench.deliver(7200).await, "", "eva has it");
    let held = bench.outbox.alerts(&bench.state, START + 7_200_000).unwrap();
    assert_eq!(held[0].acknowledged.as_ref(), Some(&noted[0]));
    // To say it twice changes nothing, not even when.
    let again = bench
        .outbox
        .acknowledge(&bench.state, START + 7_300_000, &named(&hot), "eva", "on it")
        .unwrap();
    assert_eq!(again, noted);
    // Another host is news, and repeated, for nobody has that one.
    bench.put(7400, &alert("Hot", "b"));
    assert_eq!(bench.deliver(7420).await, "delivered");
    assert_eq!(bench.deliver(11_100).await, "delivered");
    bench.put(11_200, &ended(&alert("Hot", "b"), 11_200));
    assert_eq!(bench.deliver(11_220).await, "delivered");
    assert_eq!(bench.deliver(20_000).await, "");
    // Laid down, it is repeated again.
    bench
        .outbox
        .take_back(&bench.state, START + 20_000_000, &named(&hot))
        .unwrap();
    assert_eq!(bench.deliver(20_010).await, "delivered");
    // With the end of the alert it is over: the next one is another one.
    bench
        .outbox
        .acknowledge(&bench.state, START + 20_100_000, &named(&hot), "", "")
        .unwrap();
    bench.put(20_200, &ended(&hot, 20_200));
    assert_eq!(bench.deliver(20_220).await, "delivered");
    let error = bench
        .outbox
        .acknowledge(&bench.state, START + 20_230_000, &named(&hot), "eva", "")
        .unwrap_err();
    assert!(matches!(error, NotifyError::Alert { .. }), "{error}");
    let next = Notification {
        starts_ms: START + 20_300_000,
        ..hot
    };
    bench.put(20_300, &next);
    assert_eq!(bench.deliver(20_300).await, "delivered");
    assert_eq!(
        bench.outbox.alerts(&bench.state, START + 20_300_000).unwrap()[0].acknowledged,
        None
    );
    assert_eq!(bench.deliver(24_000).await, "delivered");
}

#[tokio::test]
async fn what_nobody_acknowledges_climbs_once_a_step_and_its_end_goes_the_same_way() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let hooks = [&first, &second, &third];
    let bench = Bench::new(climbing(&hooks));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "delivered");
    assert_eq!(Outbox::next_due_ms(&bench.state).unwrap(), Some(START + 10_000));
    bench.deliver(599).await;
    assert!(second.accepted().is_empty());
    // Killed between the step and its delivery: the step was taken, and is not taken again.
    assert_eq!(bench.outbox.escalate(&bench.state, START + 600_000).unwrap(), 1);
    let bench = bench.restart(climbing(&hooks));
    assert_eq!(bench.outbox.escalate(&bench.state, START + 600_000).unwrap(), 0);
    assert_eq!(bench.deliver(600).await, "delivered");
    let body = second.heard.lock().unwrap()[0].body.clone();
    let text = body["foreshock"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("Nobody acknowledged this within 10 min.\n\na is Hot"),
        "{text}"
    );
    assert_eq!(body["notification_reason"], "escalation");
    // A restart in which the time of the next step passed only makes it late.
    let bench = bench.restart(climbing(&hooks));
    assert_eq!(bench.deliver(3000).await, "delivered");
    assert_eq!((second.accepted().len(), third.accepted().len()), (1, 1));
    assert_eq!(
        bench.deliver(90_000).await.split(' ').count(),
        1,
        "only the repetition to the first"
    );
    assert_eq!(
        (second.accepted().len(), third.accepted().len()),
        (1, 1),
        "there is no further step"
    );
    bench.put(90_100, &ended(&alert("Hot", "a"), 90_100));
    assert_eq!(bench.deliver(90_110).await, "delivered delivered delivered");
    for hook in hooks {
        assert_eq!(hook.accepted().last().unwrap(), "a:resolved");
    }
    let keys = third.keys();
    assert_eq!(keys.len(), keys.iter().collect::<std::collections::BTreeSet<_>>().len());
    assert_eq!(bench.deliver(99_999).await, "");
}

#[tokio::test]
async fn those_above_hear_the_end_of_what_ended_and_fired_again_between_two_messages() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let bench = Bench::new(climbing(&[&first, &second, &third]));
    let hot = alert("Hot", "a");
    bench.put(0, &hot);
    assert_eq!(bench.deliver(0).await, "delivered");
    bench.deliver(600).await;
    assert_eq!(second.accepted(), ["a:firing"]);
    bench.put(601, &ended(&hot, 601));
    let again = Notification {
        starts_ms: START + 602_000,
        ..hot
    };
    bench.put(602, &again);
    // Another one makes the group say what it has now.
    bench.put(602, &alert("Hot", "b"));
    bench.deliver(620).await;
    assert_eq!(second.accepted(), ["a:firing"], "it fires still, or again");
    bench.put(700, &ended(&again, 700));
    bench.deliver(720).await;
    assert_eq!(second.accepted(), ["a:firing", "a:resolved"]);
}

#[tokio::test]
async fn each_episode_keeps_how_long_it_took_and_hands_it_out_until_it_is_taken_over() {
    let hook = Sink::start([]).await;
    let bench = Bench::new(settings(&[&hook]));
    let mut hot = alert("Hot", "a");
    hot.since_ms = Some(START - 60_000);
    hot.labels.insert("job".to_owned(), "shop".to_owned());
    let fresh = |bench: &Bench| -> Vec<(Measure, f64)> {
        let measured = Outbox::measured(&bench.state).unwrap();
        measured
            .iter()
            .map(|(episode, measure)| (*measure, measure.of(episode).unwrap()))
            .collect()
    };
    bench.put(0, &hot);
    // Told twice, as after a crash.
    bench.put(0, &hot);
    assert_eq!(fresh(&bench), [(Measure::Detect, 60.0)]);
    assert_eq!(fresh(&bench), [(Measure::Detect, 60.0)], "until it is taken over");
    Outbox::take_over(&bench.state, &Outbox::measured(&bench.state).unwrap()).unwrap();
    assert_eq!(fresh(&bench), []);
    for (at_s, who) in [(90, "eva"), (200, "max")] {
        bench
            .outbox
            .acknowledge(&bench.state, START + at_s * 1000, &named(&hot), who, "")
            .unwrap();
    }
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(
        fresh(&bench),
        [(Measure::Acknowledge, 90.0)],
        "the first who has it counts"
    );
    bench.put(300, &ended(&hot, 300));
    assert_eq!(fresh(&bench), [(Measure::Acknowledge, 90.0), (Measure::Resolve, 300.0)]);
    // Fired again before anyone looked, and once more though nobody said that it was over.
    for at_s in [400, 500] {
        let again = Notification {
            starts_ms: START + at_s * 1000,
            expires_ms: Some(START + at_s * 1000 + 60_000),
            since_ms: None,
            trend: None,
            ..hot.clone()
        };
        bench.put(at_s, &again);
    }
    let episodes = Outbox::episodes(&bench.state, 10).unwrap();
    let spans: Vec<(i64, Option<i64>)> = episodes
        .iter()
        .map(|one| (one.starts_ms - START, one.ends_ms.map(|at_ms| at_ms - START)))
        .collect();
    assert_eq!(spans, [(500_000, None), (400_000, Some(460_000)), (0, Some(300_000))]);
    let first = episodes.last().unwrap();
    assert_eq!(
        (
            first.host.as_deref(),
            first.service.as_deref(),
            first.acknowledged_by.as_deref()
        ),
        (Some("a"), Some("shop"), Some("eva"))
    );
    // The last one ends by itself, for nobody says it again.
    bench.deliver(700).await;
    assert_eq!(
        Outbox::episodes(&bench.state, 1).unwrap()[0].ends_ms,
        Some(START + 560_000)
    );
}

#[tokio::test]
async fn without_routes_those_for_escalations_hear_only_what_is_passed_on() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let mut wanted = climbing(&[&first, &second, &third]);
    wanted.routing = settings(&[]).routing;
    for receiver in &mut wanted.receivers[1..] {
        *receiver = receiver.clone().with_only_escalated(true);
    }
    let shown = wanted.shown();
    assert!(
        shown.contains("{receiver: \"hook\", continue: true}") && !shown.contains("{receiver: \"hook1\""),
        "{shown}"
    );
    assert!(shown.contains("- name: \"hook1\""), "{shown}");
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "delivered");
    assert_eq!(bench.outbox.alerts(&bench.state, START).unwrap()[0].receivers, ["hook"]);
    assert_eq!(bench.deliver(600).await, "delivered");
    assert_eq!(
        (first.accepted().len(), second.accepted().len(), third.accepted().len()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn an_acknowledgement_stops_the_climb_and_those_above_hear_nothing_of_it() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let bench = Bench::new(climbing(&[&first, &second, &third]));
    let hot = alert("Hot", "a");
    bench.put(0, &hot);
    bench.deliver(0).await;
    bench.deliver(600).await;
    assert_eq!(second.accepted(), ["a:firing"]);
    bench
        .outbox
        .acknowledge(&bench.state, START + 700_000, &named(&hot), "eva", "")
        .unwrap();
    bench.deliver(2000).await;
    assert!(third.accepted().is_empty());
    bench.put(2100, &ended(&hot, 2100));
    bench.deliver(2110).await;
    assert_eq!(
        second.accepted(),
        ["a:firing", "a:resolved"],
        "who was told hears the end"
    );
    assert!(third.accepted().is_empty());
}

#[tokio::test]
async fn alerts_of_one_group_climb_together_but_to_a_pager_one_by_one() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let mut wanted = climbing(&[&first, &second, &third]);
    wanted.external_url = "https://foreshock.example".to_owned();
    wanted.receivers[1] = wanted.receivers[1].clone().with_alerts_max(2);
    let pager = Channel::PagerDuty {
        hook: Hook::at(&third.url).unwrap(),
        routing_key: Secret::new("key"),
    };
    wanted.receivers[2] = Receiver::new("hook2", pager).unwrap();
    let grouping = Grouping {
        by: vec!["alertname".to_owned()],
        wait_ms: 0,
        interval_ms: 10_000,
        ..Grouping::default()
    };
    wanted.routing = Routing::new(Route::new(Some("hook".to_owned()), Vec::new(), grouping));
    let bench = Bench::new(wanted);
    let alerts = ["a", "b", "c"].map(|host| alert("Hot", host));
    for alert in &alerts {
        bench.put(0, alert);
    }
    bench.put(0, &alert("Cold", "a"));
    assert_eq!(bench.deliver(0).await, "delivered delivered");
    assert_eq!(bench.deliver(600).await, "delivered delivered");
    let heard = second.heard.lock().unwrap().clone();
    let of_hot = heard
        .iter()
        .find(|heard| heard.body["commonLabels"]["alertname"] == "Hot")
        .unwrap();
    assert_eq!(
        (
            of_hot.body["alerts"].as_array().unwrap().len(),
            &of_hot.body["truncatedAlerts"]
        ),
        (2, &1.into()),
        "one message for all three, in which two are shown"
    );
    let answer = of_hot.body["foreshock"]["answerUrl"].as_str().unwrap();
    let token = answer.split_once("?t=").unwrap().1;
    let (_, about) = bench.outbox.granted(&bench.state, START + 600_000, token).unwrap();
    assert_eq!(about.len(), 3, "by which all of them can be answered");
    bench
        .outbox
        .acknowledge(&bench.state, START + 700_000, &named(&alerts[0]), "eva", "")
        .unwrap();
    assert_eq!(bench.deliver(1800).await.split(' ').count(), 3);
    let keys = |event: &str| -> std::collections::BTreeSet<String> {
        let heard = third.heard.lock().unwrap();
        let events = heard.iter().filter(|heard| heard.body["event_action"] == event);
        events
            .map(|heard| heard.body["dedup_key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys("trigger").len(), 3, "an incident for each that nobody has");
    for alert in &alerts {
        bench.put(1900, &ended(alert, 1900));
    }
    bench.deliver(1910).await;
    assert_eq!(keys("resolve").len(), 2);
    assert!(keys("resolve").is_subset(&keys("trigger")));
    let over = second.heard.lock().unwrap().last().unwrap().body.clone();
    assert_eq!(
        (&over["status"], &over["truncatedAlerts"]),
        (&"resolved".into(), &1.into()),
        "and one that they are over"
    );
}

#[tokio::test]
async fn what_is_silenced_waits_and_other_alerts_do_not_climb() {
    let (first, second, third) = (Sink::start([]).await, Sink::start([]).await, Sink::start([]).await);
    let bench = Bench::new(climbing(&[&first, &second, &third]));
    let mut minor = alert("Hot", "b");
    minor.labels.insert("severity".to_owned(), "info".to_owned());
    minor.fingerprint = crate::rule::fingerprint(&minor.labels);
    bench.put(0, &alert("Hot", "a"));
    bench.put(0, &minor);
    bench.deliver(0).await;
    let book = crate::silences::SilenceBook::open(&bench.state).unwrap();
    let silence = crate::silences::Silence {
        id: 0,
        conditions: vec![crate::silences::Condition {
            name: "host".to_owned(),
            value: "a".to_owned(),
            is_regex: false,
            is_equal: true,
        }],
        starts_ms: START,
        ends_ms: START + 1_000_000,
        created_by: String::new(),
        comment: String::new(),
        updated_ms: START,
    };
    book.add(&silence).unwrap();
    bench.deliver(600).await;
    bench.deliver(999).await;
    assert!(second.accepted().is_empty());
    bench.deliver(1030).await;
    assert_eq!(second.accepted(), ["a:firing"]);
}

#[test]
fn names_and_times_that_do_not_fit_are_refused_with_their_place() {
    fn check(made: Result<impl std::fmt::Debug, EscalationError>, problem: &str) {
        assert_eq!(made.unwrap_err().to_string(), problem);
    }
    let step = |after_ms, to: &str| (after_ms, to.to_owned());
    check(
        Escalation::new("e", &[], Vec::new()),
        "escalation \"e\": it needs 1 to 20 steps",
    );
    check(
        Escalation::new("e", &[], vec![step(2, "a"), step(1, "b")]),
        "escalation \"e\": after_minutes counts from the first message, grows from step to step, and is at most a week",
    );
    assert!(Escalation::new("e", &["a=~\"(\"".to_owned()], vec![step(1, "a")]).is_err());
    let shift = |from: &str, to: &str, day: &str| ShiftDraft {
        days: vec![day.to_owned()],
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        receiver: "a".to_owned(),
    };
    let schedule = |zone, shift| Schedule::new("s", zone, vec![shift], "a".to_owned());
    check(
        schedule(None, shift("9:00", "10:00", "monday")),
        "schedule \"s\": shifts[0]: \"9:00\" is no time of day between 00:00 and 24:00",
    );
    check(
        schedule(None, shift("09:00", "09:00", "monday")),
        "schedule \"s\": shifts[0]: it ends when it begins",
    );
    check(
        schedule(None, shift("09:00", "10:00", "moonday")),
        "schedule \"s\": shifts[0]: \"moonday\" is no day of the week",
    );
    let unknown = schedule(Some("Europe/Nowhere"), shift("09:00", "10:00", "monday")).unwrap_err();
    assert!(
        unknown.to_string().starts_with("schedule \"s\": time_zone: "),
        "{unknown}"
    );
    let good = || schedule(None, shift("09:00", "10:00", "monday")).unwrap();
    check(
        Escalations::new(Vec::new(), vec![good()], &["b"]),
        "schedule \"s\": there is no receiver \"a\"",
    );
    check(
        Escalations::new(Vec::new(), vec![good()], &["a", "s"]),
        "schedule \"s\": another schedule or a receiver has this name",
    );
    let policy = Escalation::new("e", &[], vec![step(1, "c")]).unwrap();
    check(
        Escalations::new(vec![policy], vec![good()], &["a"]),
        "escalation \"e\": there is neither a receiver nor a schedule \"c\"",
    );
}

/// Berlin's rule, which holds on machines without a database of zones as well.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

#[test]
fn a_night_shift_belongs_to_the_day_on_which_it_begins_in_its_own_zone() {
    let night = ShiftDraft {
        days: vec!["friday".to_owned(), "saturday".to_owned()],
        from: Some("22:00".to_owned()),
        to: Some("06:00".to_owned()),
        receiver: "night".to_owned(),
    };
    let day = ShiftDraft {
        days: vec!["monday:friday".to_owned()],
        from: Some("08:00".to_owned()),
        to: None,
        receiver: "day".to_owned(),
    };
    let schedule = Schedule::new("s", Some(BERLIN), vec![night, day], "pager".to_owned()).unwrap();
    for (at, expected) in [
        // 2026-07-03 was a Friday; Berlin was two hours ahead.
        ("2026-07-03T06:30:00Z", "day"),
        ("2026-07-03T05:59:00Z", "pager"),
        ("2026-07-03T19:59:00Z", "day"),
        ("2026-07-03T20:00:00Z", "night"),
        ("2026-07-04T03:59:00Z", "night"),
        ("2026-07-04T04:00:00Z", "pager"),
        ("2026-07-05T03:00:00Z", "night"),
        ("2026-07-06T03:00:00Z", "pager"),
    ] {
        let now_ms = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        assert_eq!(schedule.on_duty(now_ms), expected, "{at}");
    }
}
