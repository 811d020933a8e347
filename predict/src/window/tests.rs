use super::*;

#[test]
fn blocks_hang_on_the_epoch() {
    let grid = Grid::MINUTE;
    assert_eq!(grid.block_of(60_000), 1);
    assert_eq!(grid.block_of(60_001), 2);
    assert_eq!(grid.block_of(1), 1);
    assert_eq!(grid.block_of(0), 0);
    assert_eq!(grid.block_of(-1), 0);
    assert_eq!(grid.last_complete(119_999), 1);
    assert_eq!(grid.last_complete(120_000), 2);
    assert_eq!(grid.end_of(2), 120_000);
}

#[test]
fn windows_are_whole_numbers_of_short_ones() {
    for step in [1_000, 10_000, 60_000, 120_000, 300_000, 3_600_000] {
        let w = Grid { step_ms: step }.windows();
        for n in [w.middle, w.long, w.day] {
            assert_eq!(n % w.short, 0, "step {step}");
        }
    }
    assert_eq!(
        Grid::MINUTE.windows(),
        Windows {
            short: 15,
            middle: 120,
            long: 720,
            day: 1_440
        }
    );
    assert_eq!(
        Grid { step_ms: 300_000 }.windows(),
        Windows {
            short: 6,
            middle: 36,
            long: 288,
            day: 288
        }
    );
}

#[test]
fn durations_read_back_what_they_print() {
    for text in ["90s", "5m", "1h", "24h", "7d", "250ms"] {
        assert_eq!(short_duration(parse_duration(text).expect(text)), text);
    }
    assert_eq!(parse_duration("5min").expect("minutes"), 300_000);
    for wrong in ["", "h", "1", "1 h", "-1h", "1w", "99999999999999999999h"] {
        assert!(parse_duration(wrong).is_err(), "{wrong:?}");
    }
    assert!("0s".parse::<Horizon>().is_err());
}

#[test]
fn durations_are_spoken_in_two_units_at_most() {
    let cases = [
        (45_000, "45 s"),
        (2_460_000, "41 min"),
        (11_400_000, "3 h 10 min"),
        (7_200_000, "2 h"),
        (187_200_000, "2 d 4 h"),
    ];
    for (millis, expected) in cases {
        assert_eq!(spoken_duration(millis), expected);
    }
}
