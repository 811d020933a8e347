use std::sync::mpsc;

use super::*;

#[tokio::test]
async fn one_too_many_is_told_when_to_come_back() {
    let slots = Slots::new(1, Duration::from_millis(1));
    let held = slots.take().await.expect("one is free");
    let refused = slots
        .run(Length::Any, Duration::from_secs(1), |_| Ok(1))
        .await
        .expect_err("none is free");
    assert_eq!(refused.kind(), Kind::Unavailable);
    drop(held);
    assert_eq!(
        slots
            .run(Length::Any, Duration::from_secs(1), |_| Ok(1))
            .await
            .expect("one is free again"),
        1
    );
}

#[tokio::test]
async fn late_work_is_given_up_and_keeps_its_slot_until_it_ends() {
    let slots = Slots::new(1, Duration::from_millis(1));
    let (release, released) = mpsc::channel::<()>();
    let work = move |_: &Deadline| released.recv().map_err(|_| Problem::internal("nobody waits"));
    let late = slots
        .run(Length::Any, Duration::from_millis(1), work)
        .await
        .expect_err("past its deadline");
    assert_eq!(late.kind(), Kind::Timeout);
    assert!(slots.take().await.is_err(), "the work goes on, so its slot is not free");
    release.send(()).expect("the work waits for this");
    let patient = Slots {
        wait: Duration::from_secs(60),
        ..slots
    };
    drop(patient.take().await.expect("free once the work has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn brief_work_stays_where_it_is_and_gives_its_slot_back() {
    let asked = tokio::spawn(async {
        let slots = Slots::new(1, Duration::from_secs(60));
        let long = Duration::from_secs(60);
        for length in [Length::Brief, Length::Tiny, Length::Brief] {
            let there = slots.run(length, long, |_| Ok(std::thread::current().id()));
            assert_eq!(there.await.expect("an id"), std::thread::current().id());
        }
    });
    asked.await.expect("no assertion fails");
}

#[tokio::test]
async fn a_runtime_of_one_thread_hands_brief_work_on_and_does_what_is_tiny() {
    let slots = Slots::new(1, Duration::from_secs(60));
    for (length, stays) in [(Length::Brief, false), (Length::Tiny, true), (Length::Any, false)] {
        let there = slots.run(length, Duration::from_secs(60), |_| Ok(std::thread::current().id()));
        assert_eq!(
            there.await.expect("an id") == std::thread::current().id(),
            stays,
            "{length:?}"
        );
    }
}

#[test]
fn lengths_go_by_cost_and_the_longest_counts() {
    let of = |cost| Length::of(cost, 2, 4);
    assert_eq!(
        [of(2), of(3), of(4), of(5)],
        [Length::Tiny, Length::Brief, Length::Brief, Length::Any]
    );
    assert_eq!(of(0).max(of(3)), Length::Brief);
    assert_eq!(of(9).max(of(0)), Length::Any);
}
