use store::TimeRange;

use super::*;
use crate::testing::{GRID, fleet};
use crate::train::{TrainInput, train};

fn model() -> Model {
    let fleet = fleet(4, 4, 31);
    let input = TrainInput {
        grid: GRID,
        stride_ms: 600_000,
        rows_max: 1_000,
        challenger: false,
        ..TrainInput::new(
            &fleet.telemetry,
            &fleet.incidents,
            TimeRange::millis(fleet.from, fleet.to),
        )
    };
    train(&input, &mut |_| ()).expect("training").model
}

/// What a model did is kept as readable decimals, what it does bit by bit.
fn without_evaluation(model: Model) -> Model {
    Model {
        evaluation: crate::Evaluation::default(),
        ..model
    }
}

#[test]
fn champions_come_go_and_come_back_bit_by_bit() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let registry = Registry::open(&state).expect("registry");
    let first = model();
    assert!(registry.champion(Horizon::HOUR).expect("none").is_none());
    let a = registry.save(&first, 1).expect("save");
    assert_eq!(registry.list().expect("list")[0].role, Role::Challenger);
    registry.promote(a, 2).expect("promote");
    let (id, loaded) = registry.champion(Horizon::HOUR).expect("read").expect("a champion");
    assert!(
        id == a && without_evaluation(loaded) == without_evaluation(first.clone()),
        "the same bits"
    );

    let mut second = first.clone();
    second.name = "second".into();
    let b = registry.save(&second, 3).expect("save");
    assert_eq!(registry.challengers(Horizon::HOUR).expect("list").len(), 1);
    registry.promote(b, 4).expect("promote");
    assert_eq!(
        registry.champion(Horizon::HOUR).expect("read").expect("a champion").0,
        b
    );
    assert_eq!(registry.rollback(Horizon::HOUR).expect("rollback"), a);
    assert_eq!(
        registry.champion(Horizon::HOUR).expect("read").expect("a champion").0,
        a
    );
    let error = registry.rollback(Horizon::HOUR).expect_err("nothing earlier");
    assert_eq!(error.to_string(), "there is no earlier champion for 1h to go back to");
    assert_eq!(
        registry.load(ModelId(99)).expect_err("missing").to_string(),
        "there is no model 99"
    );
}

#[test]
fn a_damaged_model_never_takes_charge() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let registry = Registry::open(&state).expect("registry");
    let id = registry.save(&model(), 1).expect("save");
    state
        .with(|conn| conn.execute("update models set body = substr(body, 1, 500)", []))
        .expect("damage");
    let error = registry.promote(id, 2).expect_err("damaged");
    assert_eq!(error.kind(), "corrupt");
    assert!(error.hint().expect("a hint").contains("train a new model"));
    assert!(registry.champion(Horizon::HOUR).expect("none").is_none());
    assert!(registry.challengers(Horizon::HOUR).expect("skipped").is_empty());
    assert_eq!(registry.challenger_ids(Horizon::HOUR).expect("list"), [id]);
}

#[test]
fn a_champion_that_was_damaged_is_of_no_use_and_nothing_is_rolled_back_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let registry = Registry::open(&state).expect("registry");
    let (a, b) = (
        registry.save(&model(), 1).expect("save"),
        registry.save(&model(), 2).expect("save"),
    );
    registry.promote(a, 3).expect("promote");
    registry.promote(b, 4).expect("promote");
    let damage = |id: ModelId| {
        state
            .with(|conn| conn.execute("update models set body = substr(body, 1, 500) where id = ?1", [id.0]))
            .expect("damage");
    };
    damage(a);
    assert_eq!(registry.rollback(Horizon::HOUR).expect_err("damaged").kind(), "corrupt");
    let usable = registry.usable_champion(Horizon::HOUR).expect("read");
    assert_eq!(usable.map(|(id, _)| id), Some(b), "the present one stays");
    damage(b);
    assert!(registry.usable_champion(Horizon::HOUR).expect("read").is_none());
    assert_eq!(registry.champion_id(Horizon::HOUR).expect("read"), Some(b));
}

#[test]
fn old_models_go_and_those_in_use_or_to_go_back_to_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let registry = Registry::open(&state).expect("registry");
    let ids = || -> Vec<i64> { registry.list().expect("list").iter().map(|e| e.id.0).rev().collect() };
    let (model, other) = (model(), Horizon::from_millis(24 * 3_600_000).expect("a day"));
    let save = |model: &Model| registry.save(model, 1).expect("save");
    // One of another horizon, and a family that nobody trains any more but that still scores in the shadow.
    let of_a_day = Model {
        horizon: other,
        ..model.clone()
    };
    assert_eq!((save(&of_a_day).0, save(&model).0), (1, 2));
    state
        .with(|conn| conn.execute("update models set family = 'shadow' where id = 2", []))
        .expect("another family");
    // Every second one takes charge.
    let days = 3 * MODELS_KEPT as i64;
    for day in 1..=days {
        let id = save(&model);
        if day % 2 == 0 {
            registry.promote(id, day).expect("promote");
        }
    }
    let newest = 2 + days;
    registry.prune(Horizon::HOUR).expect("prune");
    let left = ids();
    assert_eq!(left[..2], [1, 2]);
    let to_go_back_to: Vec<i64> = (0..PROMOTIONS_KEPT as i64).map(|i| newest - 2 * i).collect();
    assert!(to_go_back_to.iter().all(|id| left.contains(id)), "{left:?}");
    assert_eq!(left.len(), 2 + PROMOTIONS_KEPT + MODELS_KEPT, "{left:?}");
    assert!(left[2] > 3, "the oldest are gone: {left:?}");
    assert_eq!(registry.prune(Horizon::HOUR).expect("again"), 0);
    for id in &to_go_back_to[1..] {
        assert_eq!(registry.rollback(Horizon::HOUR).expect("rollback"), ModelId(*id));
    }
    assert_eq!(
        registry.rollback(Horizon::HOUR).expect_err("forgotten").kind(),
        "conflict"
    );
    let gone = registry.promote(ModelId(3), 1).expect_err("it was deleted");
    assert_eq!(gone.to_string(), "there is no model 3");
}
