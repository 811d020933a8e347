//! Whether probabilities are true: of the scores of each range, how many an incident followed.
//!
//! Bins of equal mass, which the calibration error is an average over, are no help here: failures are rare, so nearly all of
//! them hold scores of less than a percent. What is acted upon is the few scores above.

use serde::{Deserialize, Serialize};

/// Where the ranges begin.
const BOUNDS: [f64; 7] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// Scores from here on are those that one would act upon; one of the bounds.
const SURE: f64 = 0.1;

/// The scores from one probability on up to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreRange {
    /// The least of them.
    pub from: f64,
    /// More than any of them; for the last range, the most a probability can be.
    pub to: f64,
    /// How many there were.
    pub scores: usize,
    /// How many of them should have come true by what they said: their sum.
    pub foretold: f64,
    /// How many an incident followed within the horizon.
    pub came_true: usize,
}

impl ScoreRange {
    /// What they said, in the mean.
    #[must_use]
    pub fn said(&self) -> f64 {
        self.foretold / self.scores.max(1) as f64
    }

    /// The share of them that came true.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.came_true as f64 / self.scores.max(1) as f64
    }

    /// The range in words: `under 1 %`, `10 to 20 %`, `50 % and more`.
    #[must_use]
    pub fn words(&self) -> String {
        let (from, to) = (self.from * 100.0, self.to * 100.0);
        match self.from {
            0.0 => format!("under {to:.0} %"),
            _ if self.to >= 1.0 => format!("{from:.0} % and more"),
            _ => format!("{from:.0} to {to:.0} %"),
        }
    }
}

/// The ranges that hold any score, from low to high.
pub(super) fn ranges(outcomes: &[bool], scores: &[f64]) -> Vec<ScoreRange> {
    let ends = BOUNDS[1..].iter().copied().chain([1.0]);
    let range = |(from, to)| ScoreRange {
        from,
        to,
        ..ScoreRange::default()
    };
    let mut all: Vec<ScoreRange> = BOUNDS.into_iter().zip(ends).map(range).collect();
    for (came_true, score) in outcomes.iter().zip(scores) {
        let at = BOUNDS.partition_point(|from| from <= score).saturating_sub(1);
        all[at].scores += 1;
        all[at].foretold += score;
        all[at].came_true += usize::from(*came_true);
    }
    all.retain(|range| range.scores > 0);
    all
}

/// In a sentence, what came of the scores of [`SURE`] and more.
pub(super) fn kept_promises(ranges: &[ScoreRange]) -> String {
    let mut sure = ScoreRange {
        from: SURE,
        to: 1.0,
        ..ScoreRange::default()
    };
    for range in ranges.iter().filter(|range| range.from >= SURE) {
        sure.scores += range.scores;
        sure.foretold += range.foretold;
        sure.came_true += range.came_true;
    }
    let ScoreRange { scores, came_true, .. } = sure;
    match scores {
        0 => format!("no score was of {}", sure.words()),
        1 => format!("one score was of {}, and {came_true} came true", sure.words()),
        _ => format!(
            "of {scores} scores of {} {came_true} came true, {:.0} were foretold",
            sure.words(),
            sure.foretold.round()
        ),
    }
}
