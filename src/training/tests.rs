use predict::registry::Role;

use super::*;

#[test]
fn a_model_of_another_horizon_makes_the_one_that_pages_no_younger() {
    let model = |id, horizon, saved_ms| Entry {
        id: ModelId(id),
        name: String::new(),
        family: "logistic".to_owned(),
        horizon,
        saved_ms,
        trained_from_ms: 0,
        trained_to_ms: 1,
        role: Role::Champion,
    };
    let day = Horizon::from_millis(24 * 3_600_000).expect("a day is a horizon");
    assert_ne!(day, HORIZON);
    let models = [model(3, day, 500), model(2, HORIZON, 200), model(1, HORIZON, 100)];
    assert_eq!(newest_saved_ms(&models, HORIZON), Some(200));
    assert_eq!(newest_saved_ms(&models, day), Some(500));
    assert_eq!(newest_saved_ms(&models[..1], HORIZON), None);
}
