use super::*;

fn even() -> Tail {
    Tail::fit((0..1_024).map(f64::from))
}

#[test]
fn rarity_counts_halvings_of_the_rows_that_reach_as_high() {
    let tail = even();
    for (value, expected) in [(-5.0, 0.0), (512.0, 1.0), (768.0, 2.0), (640.0, 1.5), (1_020.0, 8.0)] {
        assert!(
            (tail.rarity(value) - expected).abs() < 1e-9,
            "{value}: {}",
            tail.rarity(value)
        );
    }
    assert!(tail.rarity(1_022.0) > 8.0 && tail.rarity(1e12) <= 13.0);
    assert!(tail.rarity(f64::NAN).is_nan());
}

#[test]
fn rarity_never_falls_and_says_nothing_of_nothing() {
    let tail = Tail::fit([0.0; 900].into_iter().chain((1..=100).map(f64::from)));
    let mut before = -1.0;
    for i in -10..1_200 {
        let rarity = tail.rarity(f64::from(i) / 10.0);
        assert!(rarity >= before, "{i}");
        before = rarity;
    }
    assert_eq!(Tail::fit(std::iter::empty()).rarity(3.0), 0.0);
}

#[test]
fn the_under_way_head_speaks_only_when_it_is_sixteen_times_rarer() {
    let both = Combination {
        soon: even(),
        under_way: even(),
        stands_back: STANDS_BACK,
    };
    // Halvings of 1,008 and of 1,016 are six and seven.
    assert!(!both.under_way_speaks(768.0, 1_008.0));
    assert!(both.under_way_speaks(768.0, 1_016.0));
    assert_eq!(both.apply(768.0, 1_016.0), 3.0);
    assert_eq!(both.apply(512.0, f64::NAN), 1.0);
    assert!(both.apply(f64::NAN, 1_016.0).is_nan());

    let equals = Combination {
        stands_back: 0.0,
        ..both
    };
    assert!(equals.under_way_speaks(512.0, 768.0), "the rarer of the two");
    assert_eq!(equals.apply(512.0, 768.0), 2.0);
}

#[test]
fn in_models_from_before_the_choice_the_under_way_head_stands_back() {
    let both = Combination {
        soon: even(),
        under_way: even(),
        stands_back: STANDS_BACK,
    };
    let mut json = serde_json::to_value(&both).expect("json");
    json.as_object_mut()
        .expect("an object")
        .remove("stands_back")
        .expect("written");
    let before: Combination = serde_json::from_value(json).expect("a combination");
    assert_eq!(before, both);
}

#[test]
fn a_reload_changes_no_bit() {
    let both = Combination::fit(
        (0..500).map(|i| f64::from(i).sin()),
        (0..500).map(|i| f64::from(i).cos()),
        1.0,
    );
    let again: Combination = serde_json::from_str(&serde_json::to_string(&both).expect("json")).expect("a combination");
    assert_eq!(both, again);
}
