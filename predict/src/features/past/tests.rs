use proptest::prelude::*;

use super::*;
use crate::features::baseline::Aggregate;
use crate::window::Grid;

const COLUMNS: usize = 3;

/// What column `column` shows in block `block`: gaps, steps and noise, the same whenever it is asked.
fn value(column: usize, block: i64) -> f32 {
    let mixed = (block as u64 ^ ((column as u64) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let noise = (mixed >> 40) as f32 / 1e6;
    match mixed >> 61 {
        0 => f32::NAN,
        1 => 1e9 + noise,
        _ => noise,
    }
}

fn columns(first: i64, last: i64) -> HostColumns {
    HostColumns {
        first,
        values: (0..COLUMNS)
            .map(|c| (first..=last).map(|b| value(c, b)).collect())
            .collect(),
        reported: (first..=last).map(|b| b % 7 != 0).collect(),
    }
}

fn bits(view: View<'_>) -> Vec<u64> {
    let w = view.windows;
    let blocks = view.blocks(w.recent(), 0).iter().map(|v| u64::from(v.to_bits()));
    let runs = [
        view.runs(w.long, w.middle),
        view.runs(2 * w.short, w.day),
        view.runs(4 * w.middle, 0),
    ];
    let of_run = |r: Aggregate| [u64::from(r.n), r.mean.to_bits(), r.m2.to_bits()];
    let sums = runs.iter().flat_map(|r| r.iter().flat_map(of_run));
    let since = of_run(view.since(w.middle));
    blocks
        .chain(sums)
        .chain(since)
        .chain([view.most().to_bits(), view.tail as u64])
        .collect()
}

/// Whatever rows read at `at` has the same bits in both.
fn check(kept: &Past, all: &Past, at: i64, windows: Windows) {
    for column in 0..COLUMNS {
        let of = |past: &Past| bits(past.view(column, at, windows).expect("known"));
        assert_eq!(of(kept), of(all), "column {column} at {at}");
    }
    let reported = kept.reported(at);
    assert!(reported.len() >= windows.history());
    assert!(all.reported(at).ends_with(reported));
}

proptest! {
    #[test]
    fn what_is_kept_has_the_bits_of_all_that_was(
        minutes in prop::sample::select(vec![1_i64, 2, 5, 60, 1_440]),
        start in 30_000_000_i64..30_001_000,
        steps in prop::collection::vec(prop::sample::select(vec![0_i64, 1, 1, 1, 2, 9, 40]), 1..60),
    ) {
        let windows = Grid { step_ms: minutes * 60_000 }.windows();
        let first = windows.first_block(start);
        let end = start + steps.iter().sum::<i64>();
        let all = Past::new(columns(first, end), windows);
        let mut kept = Past::new(columns(first, start), windows);
        kept.forget(windows);
        check(&kept, &all, start, windows);
        let mut at = start;
        for step in steps {
            at += step;
            // The newest blocks again, as a round does.
            let from = kept.last() - 9;
            prop_assert!(kept.reaches(from, windows.first_block(at)));
            kept.extend(&columns(from, at), windows);
            prop_assert_eq!(kept.last(), at);
            check(&kept, &all, at, windows);
        }
    }
}

#[test]
fn a_column_of_minutes_takes_little_more_than_a_kilobyte() {
    let windows = Grid::MINUTE.windows();
    let mut past = Past::new(columns(windows.first_block(30_000_000), 30_000_000), windows);
    past.forget(windows);
    for at in 30_000_001..30_000_400 {
        past.extend(&columns(at - 10, at), windows);
    }
    let cells = past.values.cells.capacity() + past.runs.mean.cells.capacity() + past.runs.deviation.cells.capacity();
    let bytes = 4 * cells + past.runs.n.cells.capacity();
    assert!(bytes <= COLUMNS * 1_250, "{bytes} for {COLUMNS} columns");
}

#[test]
fn what_is_replaced_counts_in_its_run() {
    let windows = Grid::MINUTE.windows();
    let at = 30_000_010;
    let mut late = columns(windows.first_block(at), at);
    let mut past = Past::new(late.clone(), windows);
    past.forget(windows);
    // A sample of five blocks ago arrives now, in a run that was complete.
    let changed = late.values[1].len() - 6;
    late.values[1][changed] = 77.0;
    let from = late.values[1].len() - 10;
    let newest = HostColumns {
        first: at - 9,
        values: late.values.iter().map(|v| v[from..].to_vec()).collect(),
        reported: late.reported[from..].to_vec(),
    };
    past.extend(&newest, windows);
    check(&past, &Past::new(late, windows), at, windows);
}
