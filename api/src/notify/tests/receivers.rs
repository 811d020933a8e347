use super::*;

#[tokio::test]
async fn a_test_message_says_so_and_is_logged() {
    let hook = Sink::start([status(200), status(403)]).await;
    let bench = Bench::new(settings(&[&hook]));
    let delivery = bench
        .outbox
        .test(&bench.state, START, &bench.client, "hook")
        .await
        .unwrap()
        .delivery;
    assert_eq!(delivery.outcome, Outcome::Delivered);
    let text = hook.heard.lock().unwrap()[0].body["foreshock"]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        text.contains("This is a test") && text.contains("6\u{a0}h before: ▁"),
        "{text}"
    );
    let delivery = bench
        .outbox
        .test(&bench.state, START, &bench.client, "hook")
        .await
        .unwrap()
        .delivery;
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

/// The second stands in for the first, and only the first is spoken to by the route.
fn with_fallback(first: &Sink, second: &Sink) -> Settings {
    let mut wanted = settings(&[first, second]);
    wanted.receivers[0] = wanted.receivers[0].clone().with_fallback(Some("hook1".to_owned()));
    let grouping = Grouping {
        wait_ms: 0,
        interval_ms: 10_000,
        ..Grouping::default()
    };
    wanted.routing = Routing::new(Route::new(Some("hook".to_owned()), Vec::new(), grouping));
    wanted
}

#[tokio::test]
async fn a_broken_receiver_s_fallback_gets_one_copy_of_each_message_in_its_own_form() {
    let broken = Sink::start((0..3).map(|_| status(503))).await;
    let fallback = Sink::start([]).await;
    let wanted = with_fallback(&broken, &fallback);
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
async fn a_receiver_that_wants_to_be_left_alone_for_long_has_a_fallback_meanwhile() {
    let after = |seconds: &str| Answer::Status(503, vec![("retry-after", seconds.to_owned())]);
    let away = Sink::start([after("60"), after("86400")]).await;
    let fallback = Sink::start([]).await;
    let bench = Bench::new(with_fallback(&away, &fallback));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "again");
    bench.outbox.divert_new(&bench.state, START + 1000).unwrap();
    assert_eq!(bench.deliver(1).await, "", "a minute is soon over");
    assert_eq!(bench.deliver(90).await, "again delivered");
    bench.put(100, &alert("Hot", "b"));
    bench.outbox.flush(&bench.state, START + 100_000).unwrap();
    bench.outbox.divert_new(&bench.state, START + 100_000).unwrap();
    assert_eq!(bench.deliver(100).await, "delivered");
    assert_eq!(fallback.accepted(), ["a:firing", "b:firing"]);
    // The hold itself is as long as it was asked for.
    assert_eq!(bench.deliver(86_000).await, "");
    assert_eq!(away.heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_goes_to_its_fallback() {
    let gone = Sink::start([status(410)]).await;
    let fallback = Sink::start([]).await;
    let mut wanted = with_fallback(&gone, &fallback);
    wanted.refusals_max = 1;
    let bench = Bench::new(wanted);
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "dead delivered");
    assert_eq!(fallback.accepted(), ["a:firing"]);
}

#[tokio::test]
async fn messages_to_a_receiver_that_is_gone_are_dead_letters_that_say_so() {
    let (away, free) = (Sink::start([status(503)]).await, Sink::start([]).await);
    let bench = Bench::new(settings(&[&away]));
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "again");
    let mut renamed = settings(&[&free]);
    renamed.receivers[0] = Receiver::webhook("duty", &free.url).unwrap();
    let bench = bench.restart(renamed);
    bench.outbox.reroute(&bench.state, START + 1000).unwrap();
    assert_eq!(Outbox::waiting(&bench.state).unwrap(), 0);
    let dead = Outbox::dead_letters(&bench.state, 10).unwrap();
    assert_eq!((dead.len(), dead[0].receiver.as_str()), (1, "hook"));
    assert!(
        dead[0].reason.contains("knows no receiver of this name"),
        "{}",
        dead[0].reason
    );
    assert_eq!(Outbox::log(&bench.state, 1).unwrap()[0].outcome, Outcome::Dead);
    // It would wait for ever again.
    let error = bench.outbox.revive(&bench.state, dead[0].id, START + 2000).unwrap_err();
    assert!(
        matches!(error, NotifyError::Receiver { ref name } if name == "hook"),
        "{error}"
    );
    let bench = bench.restart(settings(&[&away]));
    assert!(bench.outbox.revive(&bench.state, dead[0].id, START + 3000).unwrap());
    bench.outbox.reroute(&bench.state, START + 3000).unwrap();
    assert_eq!(bench.deliver(60).await, "delivered");
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
        outbox.enqueue(store.state(), START, RULE, &alert("Hot", host)).unwrap();
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

#[tokio::test]
async fn who_may_not_send_pictures_somewhere_still_sends_the_words() {
    let hook = Sink::start([status(403), status(204), status(204), status(503)]).await;
    let mut wanted = settings(&[&hook]);
    let channel = Channel::Discord(Hook::at(&hook.url).unwrap());
    wanted.receivers[0] = Receiver::new("hook", channel).unwrap();
    let bench = Bench::new(wanted);
    let with_trend = |host: &str| Notification {
        trend: Some(crate::rule::Trend {
            start_ms: START - 900_000,
            step_ms: 450_000,
            values: vec![Some(0.1), Some(0.2), Some(0.71)],
            threshold: None,
            unit: "1".to_owned(),
        }),
        ..alert("Hot", host)
    };
    for (host, expected) in [("a", "delivered"), ("b", "delivered"), ("c", "again")] {
        bench.put(0, &with_trend(host));
        assert_eq!(bench.deliver(0).await, expected, "{host}");
    }
    let heard = hook.heard.lock().unwrap().clone();
    let has_words: Vec<bool> = heard.iter().map(|heard| heard.body["embeds"].is_array()).collect();
    assert_eq!(
        has_words,
        [false, true, false, false],
        "one who is busy is not asked twice"
    );
    assert_eq!(heard[0].key, heard[1].key);
}

/// A receiver as Alertmanager's configuration has it, at the sink.
fn configured(receiver: &str) -> Settings {
    let text = format!(
        "route: {{receiver: hook, group_by: [alertname, host], group_wait: 0s, group_interval: 10s}}\nreceivers: [{{name: hook, {receiver}}}]"
    );
    let read = load_configuration(&text, std::path::Path::new("alertmanager.yml")).unwrap();
    Settings {
        receivers: read.receivers,
        routing: read.routing,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_text_that_fails_or_is_refused_costs_no_alert() {
    let hook = Sink::start([status(204), status(204), status(400), status(204), status(403)]).await;
    let bench = Bench::new(configured(&format!(
        "discord_configs: [{{webhook_url: '{}', title: '{{{{ .CommonLabels.host }}}} {{{{ if eq .CommonLabels.host \"b\" }}}}{{{{ index .Alerts 7 }}}}{{{{ end }}}}', message: own}}]",
        hook.url
    )));
    let title = |at: usize| hook.heard.lock().unwrap()[at].body["embeds"][0]["title"].clone();
    let said = || Outbox::log(&bench.state, 1).unwrap().remove(0).text;
    bench.put(0, &alert("Hot", "a"));
    assert_eq!(bench.deliver(0).await, "delivered");
    assert_eq!((title(0), said()), ("a".into(), String::new()));
    // It fails for this one alone.
    bench.put(1, &alert("Hot", "b"));
    assert_eq!(bench.deliver(3).await, "delivered");
    assert_eq!(title(1), "b is Hot");
    let expected = "Sent in Foreshock's words, for its own failed: receivers[0].discord_configs[0].title, line 1: index: there is nothing at 7 of 1.";
    assert_eq!(said(), expected);
    // The platform does not take what was made of it, and takes ours, under the same key.
    bench.put(4, &alert("Hot", "c"));
    assert_eq!(bench.deliver(6).await, "delivered");
    assert_eq!((title(2), title(3)), ("c".into(), "c is Hot".into()));
    assert!(
        said().starts_with("Sent in Foreshock's words, for its own were refused: http://127.0.0.1:"),
        "{}",
        said()
    );
    let keys = hook.keys();
    assert_eq!(keys[2], keys[3]);
    // Who may not write there may not write anything else there either.
    bench.put(7, &alert("Hot", "d"));
    assert_eq!(bench.deliver(9).await, "again");
    assert_eq!(hook.keys().len(), 5);
}

#[tokio::test]
async fn a_test_says_in_which_words_the_message_was() {
    let hook = Sink::start([status(204), status(204)]).await;
    let test = async |receiver: &str| {
        let bench = Bench::new(configured(&format!(
            "discord_configs: [{{webhook_url: '{}'{receiver}}}]",
            hook.url
        )));
        bench
            .outbox
            .test(&bench.state, START, &bench.client, "hook")
            .await
            .unwrap()
    };
    let tested = test(", title: '{{ .Status }}: {{ .CommonLabels.alertname }}'").await;
    let words = vec![("title".to_owned(), "firing: ForeshockTest".to_owned())];
    assert_eq!((tested.delivery.outcome, tested.words), (Outcome::Delivered, words));
    assert_eq!(test("").await.words, Vec::new());
}
