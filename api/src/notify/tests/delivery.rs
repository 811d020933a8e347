use super::*;

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
    assert!(
        bench
            .outbox
            .revive(&bench.state, dead[0].id, START + 2_400_000)
            .unwrap()
    );
    assert!(
        !bench
            .outbox
            .revive(&bench.state, dead[0].id, START + 2_400_000)
            .unwrap()
    );
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
async fn a_clock_that_is_set_back_makes_nothing_wait() {
    let busy = Answer::Status(429, vec![("retry-after", "30".to_owned())]);
    let hook = Sink::start([busy]).await;
    let bench = Bench::new(settings(&[&hook]));
    // Two hours ahead, until somebody sets it right.
    let (ahead, right) = (7200, 60);
    bench.put(ahead, &alert("Hot", "a"));
    assert_eq!(bench.deliver(ahead).await, "again");
    bench.put(ahead + 1, &alert("Hot", "b"));
    let bench = bench.restart(settings(&[&hook]));
    assert_eq!(bench.deliver(right + 10).await, "", "what it asked for still holds");
    assert_eq!(bench.deliver(right + 80).await, "delivered delivered");
    // News of a group that has spoken, and the repetition of what goes on, count from then as well.
    bench.put(right + 90, &ended(&alert("Hot", "b"), right + 90));
    assert_eq!(bench.deliver(right + 110).await, "delivered");
    assert_eq!(bench.deliver(right + 3700).await, "delivered");
    assert_eq!(hook.accepted(), ["a:firing", "b:firing", "b:resolved", "a:firing"]);
    assert_eq!(hook.keys()[4], format!("{}-repeat1", hook.keys()[0]));
}
