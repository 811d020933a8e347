use store::promql::{Engine, Memory, QueryOptions};

use super::*;
use crate::problem::Kind;

#[tokio::test]
async fn one_too_many_is_told_when_to_come_back() {
    let slots = Slots::new(1, Duration::from_millis(1));
    let held = slots.take().await.expect("one is free");
    let refused = slots.run(Duration::from_secs(1), |_| Ok(1)).await.expect_err("none is free");
    assert_eq!(refused.kind(), Kind::Unavailable);
    drop(held);
    assert_eq!(slots.run(Duration::from_secs(1), |_| Ok(1)).await.expect("one is free again"), 1);
}

#[tokio::test]
async fn a_deadline_stops_the_work_and_frees_its_slot() {
    let slots = Slots::new(1, Duration::from_secs(10));
    let late = slots
        .run(Duration::from_millis(1), |deadline| {
            let (engine, source) = (Engine::default(), Memory::default());
            let options = QueryOptions { deadline: deadline.clone(), ..QueryOptions::default() };
            while engine.instant(&source, "1", 0, &options).is_ok() {}
            Ok(())
        })
        .await
        .expect_err("past its deadline");
    assert_eq!(late.kind(), Kind::Timeout);
    slots.run(Duration::from_secs(10), |_| Ok(())).await.expect("the slot is free again");
}
