//! Raw outputs to probabilities, and what they would have been worth.

use super::walk::Output;
use super::{Predictions, Prepared, SHARES, TrainInput};
use crate::calibration::{Calibration, Combination, STANDS_BACK};
use crate::dataset::{Scaler, Task};
use crate::evaluate::{Evaluation, Ledger, Track, Windows, evaluate};
use crate::incident::{Incidents, Outcome};
use crate::model::{FORMAT, Head, Model};

/// The head that answers "is under way".
#[derive(Clone, Copy)]
pub(super) struct UnderWay<'a> {
    pub(super) output: &'a Output,
    /// By how many halvings it stands back behind the other head.
    pub(super) stands_back: f64,
}

/// Judges what was said while walking forward.
pub(super) struct Judge<'a> {
    pub(super) input: &'a TrainInput<'a>,
    pub(super) incidents: &'a Incidents,
    pub(super) prepared: &'a Prepared,
}

/// How the outputs of two heads become a probability.
struct Calibrated {
    combination: Combination,
    soon: Calibration,
    under_way: Option<Calibration>,
    last: Calibration,
}

impl<'a> Judge<'a> {
    pub(super) fn new(input: &'a TrainInput<'a>, incidents: &'a Incidents, prepared: &'a Prepared) -> Self {
        Self {
            input,
            incidents,
            prepared,
        }
    }

    /// Whether row `i` may teach what will be judged on block `until`, and was itself predicted.
    pub(super) fn before(&self, i: usize, until: u8) -> bool {
        let examples = &self.prepared.examples;
        examples.blocks[i] > 0 && examples.known_before(i, until)
    }

    /// Both outputs as one, larger for rows that look more like failing, fitted on the rows before block `until`.
    pub(super) fn combine(&self, soon: &Output, under_way: Option<UnderWay<'_>>, until: u8) -> (Combination, Vec<f64>) {
        let examples = &self.prepared.examples;
        let n = examples.outcomes.len();
        let outside = |i: &usize| self.before(*i, until) && examples.outcomes[*i] != Outcome::Inside;
        let of = |output: &'_ [f64], i: usize| output[i];
        let combination = Combination::fit(
            (0..n).filter(outside).map(|i| of(&soon.raw, i)),
            (0..n)
                .filter(outside)
                .filter_map(|i| under_way.map(|u| of(&u.output.raw, i))),
            under_way.map_or(STANDS_BACK, |u| u.stands_back),
        );
        let one = (0..n)
            .map(|i| combination.apply(soon.raw[i], under_way.map_or(f64::NAN, |u| u.output.raw[i])))
            .collect();
        (combination, one)
    }

    /// Fits everything between raw outputs and probabilities on the rows before block `until`; answers the probabilities of
    /// all rows with it.
    fn calibrate(&self, soon: &Output, under_way: Option<UnderWay<'_>>, until: u8) -> (Calibrated, Vec<f64>) {
        let examples = &self.prepared.examples;
        let fit = |task: Task, raw: &[f64]| {
            let (x, y): (Vec<f64>, Vec<bool>) = (0..raw.len())
                .filter(|i| self.before(*i, until))
                .filter_map(|i| task.answer(examples.outcomes[i]).map(|y| (raw[i], y)))
                .unzip();
            Calibration::fit(&x, &y)
        };
        let (combination, one) = self.combine(soon, under_way, until);
        let last = fit(Task::Soon, &one);
        let calibrated = Calibrated {
            combination,
            soon: fit(Task::Soon, &soon.raw),
            under_way: under_way.map(|u| fit(Task::UnderWay, &u.output.raw)),
            last,
        };
        let scores = one
            .iter()
            .map(|x| if x.is_nan() { *x } else { calibrated.last.apply(*x) })
            .collect();
        (calibrated, scores)
    }

    /// What scores did on the blocks `from..to`, at the threshold that keeps the budget on `validation`.
    pub(super) fn judge(&self, scores: &[f64], test: (usize, usize), validation: (usize, usize)) -> Evaluation {
        let (test, validation) = (
            self.stretches(scores, test.0, test.1),
            self.stretches(scores, validation.0, validation.1),
        );
        evaluate(
            &tracks(&test, self.incidents),
            Some(&tracks(&validation, self.incidents)),
            None,
            self.input.protocol(),
            self.input.budget,
            &self.incidents.kinds,
            self.input.seed,
        )
    }

    /// When incidents began on the blocks `from..to`, and whether scores warned of each at the threshold that just keeps the
    /// budget there.
    pub(super) fn warned(&self, scores: &[f64], blocks: (usize, usize)) -> Vec<(i64, bool)> {
        let stretches = self.stretches(scores, blocks.0, blocks.1);
        let windows = Windows::new(&tracks(&stretches, self.incidents), self.input.protocol());
        let threshold = windows.threshold_for(self.input.budget);
        let alert: Vec<bool> = windows.p.iter().map(|p| *p >= threshold).collect();
        let met = windows.met(&alert, None);
        windows
            .targets
            .iter()
            .zip(met)
            .map(|(target, met)| (target.start, met.lead_ms.is_some()))
            .collect()
    }

    /// What these heads did on the newest block, with everything fitted on those before it; in sums and one by one.
    pub(super) fn evaluation(&self, soon: &Output, under_way: Option<UnderWay<'_>>) -> (Evaluation, Ledger) {
        let newest = SHARES.len() - 1;
        let (_, scores) = self.calibrate(soon, under_way, newest as u8);
        let evaluation = self.judge(&scores, (newest, newest + 1), (1, newest));
        let judged = self.stretches(&scores, newest, newest + 1);
        let ledger = Ledger::new(
            &tracks(&judged, self.incidents),
            evaluation.threshold,
            self.input.protocol(),
            &self.incidents.kinds,
        );
        (evaluation, ledger)
    }

    /// The model of these heads, calibrated on all blocks, without its evaluation; and what it said while walking forward.
    pub(super) fn finish(
        &self,
        scaler: &Scaler,
        soon: &Output,
        under_way: Option<UnderWay<'_>>,
    ) -> (Model, Predictions) {
        let (input, set) = (self.input, &self.prepared.set);
        let examples = &self.prepared.examples;
        let (calibrated, scores) = self.calibrate(soon, under_way, SHARES.len() as u8);
        let whole = (1, SHARES.len());
        let threshold = self.judge(&scores, whole, whole).threshold;
        let picked: Vec<usize> = (0..scores.len()).filter(|i| !scores[*i].is_nan()).collect();
        let anomaly = set.anomaly_index();
        let predictions = Predictions {
            host: picked
                .iter()
                .map(|i| examples.rows.hosts[examples.rows.host[*i] as usize].clone())
                .collect(),
            at: picked.iter().map(|i| examples.rows.at[*i]).collect(),
            probability: picked.iter().map(|i| scores[*i]).collect(),
            anomaly: picked
                .iter()
                .map(|i| f64::from(examples.rows.row(*i)[anomaly]))
                .collect(),
        };
        let under_way_head = match (under_way.map(|u| u.output.last.clone()), calibrated.under_way) {
            (Some(estimator), Some(calibration)) => Some(Head { estimator, calibration }),
            _ => None,
        };
        let model = Model {
            format: FORMAT,
            name: format!("{}-{}-{}", soon.family.name(), input.horizon, input.range.end.0 / 1_000),
            code: env!("CARGO_PKG_VERSION").to_owned(),
            horizon: input.horizon,
            gap_ms: input.gap_ms,
            trained_from: input.range.start.0,
            trained_to: input.range.end.0,
            hosts: self.prepared.labelled.iter().map(|l| l.host.clone()).collect(),
            seed: input.seed,
            features: set.clone(),
            scaler: scaler.clone(),
            soon: Head {
                estimator: soon.last.clone(),
                calibration: calibrated.soon,
            },
            under_way: under_way_head,
            combination: Some(calibrated.combination),
            calibration: calibrated.last,
            threshold,
            evaluation: Evaluation::default(),
        };
        (model, predictions)
    }

    /// The scores of every labelled host from the start of block `from` to the start of block `to`.
    fn stretches(&self, scores: &[f64], from: usize, to: usize) -> Vec<Stretch<'a>> {
        let examples = &self.prepared.examples;
        let stride_ms = self.input.stride_ms;
        let mut of_host: Vec<(Vec<i64>, Vec<f64>)> = vec![Default::default(); examples.rows.hosts.len()];
        for (i, score) in scores.iter().enumerate().filter(|(_, s)| !s.is_nan()) {
            let (at, probability) = &mut of_host[examples.rows.host[i] as usize];
            at.push(examples.rows.at[i]);
            probability.push(*score);
        }
        let stretches = examples.stretches();
        self.prepared
            .labelled
            .iter()
            .map(|l| {
                let id = stretches.get(&(l.host.as_str(), l.from));
                let (at, probability) = id.map(|id| std::mem::take(&mut of_host[*id])).unwrap_or_default();
                let start = l.block_start(&SHARES, from);
                Stretch {
                    host: &l.host,
                    // The first example of the block, so that judged rows and examples fall together.
                    from: l.from + (start - l.from + stride_ms - 1).div_euclid(stride_ms) * stride_ms,
                    to: l.block_start(&SHARES, to),
                    at,
                    probability,
                }
            })
            // Of a host that was not there in these blocks nothing is judged.
            .filter(|stretch| stretch.from < stretch.to)
            .collect()
    }
}

/// Scores of one host over some of its blocks.
struct Stretch<'a> {
    host: &'a str,
    from: i64,
    to: i64,
    at: Vec<i64>,
    probability: Vec<f64>,
}

fn tracks<'b>(stretches: &'b [Stretch<'_>], incidents: &'b Incidents) -> Vec<Track<'b>> {
    stretches
        .iter()
        .map(|s| Track {
            host: s.host,
            from: s.from,
            to: s.to,
            incidents: incidents.of(s.host),
            at: &s.at,
            probability: &s.probability,
        })
        .collect()
}
