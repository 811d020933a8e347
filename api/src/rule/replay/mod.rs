//! What rules would have done: their expressions over stored history, alerts stepped through it, nothing written and nobody told.
//!
//! ```text
//! groups, from, to ─► plan: which rules at once, which moment by moment ─► a stretch of time after the other:
//!                     engine over History (stored series + what these rules would have recorded) ─► evaluation ─► episodes
//! ```
//! The life of an alert is decided by the code that decides it in the server. Evaluations lie on multiples of each group's
//! interval. What came too late to be seen then is seen here: history is what is stored now.

mod history;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::promql::{Deadline, Engine, Line, QueryOptions, Source, Value};

use super::alert::{ActiveAlert, TransitionKind};
use super::evaluation::{External, Outcome, RuleRun, Vectors, follow, rule_ids, value_at};
use super::file::{Group, Rule, RuleKind};
use super::made::Made;
use super::results::Lost;
use super::state::AlertState;
use history::History;
use plan::plan;

/// Evaluations of one rule that are made at once.
const STRETCH: i64 = 1_000;
/// Evaluations of a whole replay: forty rules, every 15 seconds, for two months.
const EVALUATIONS_MAX: i64 = 20_000_000;
/// Samples that its recording rules may write.
const SAMPLES_MAX: usize = 20_000_000;
/// Episodes of one rule that are listed; all are counted.
const EPISODES_MAX: usize = 500;
/// How long before the beginning rules are followed at most, so that what was under way then is known.
const WARM_UP_MAX_MS: i64 = 86_400_000;

/// A replay that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Its end lies before its beginning.
    #[error("the replay ends before it begins")]
    Backwards,
    /// It would take too much work.
    #[error("{evaluations} evaluations; the most is {EVALUATIONS_MAX}")]
    TooLong {
        /// What it would take.
        evaluations: i64,
    },
}

impl ReplayError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Backwards => Some("give a time `to` after `from`"),
            Self::TooLong { .. } => Some("replay less time, fewer rules, or rules with a longer interval"),
        }
    }
}

/// What is to be replayed.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The rules.
    pub groups: &'a [Group],
    /// Beginning, milliseconds UTC.
    pub from_ms: i64,
    /// End, included.
    pub to_ms: i64,
    /// How long it may take; then it stops where it is.
    pub time_max: Duration,
    /// Ends it at once.
    pub deadline: Deadline,
}

/// What would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayReport {
    /// Beginning, milliseconds UTC.
    pub from_ms: i64,
    /// How far it came: to the end that was asked for, unless it had to stop.
    pub to_ms: i64,
    /// Why it stopped before its end, if it did.
    pub stopped: Option<String>,
    /// Evaluations that were made.
    pub evaluations: u64,
    /// Each rule, in order.
    pub rules: Vec<ReplayedRule>,
}

/// What one rule would have done.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayedRule {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Whether it raises alerts; else it records.
    pub is_alert: bool,
    /// How often an alert began to fire.
    pub fired: u64,
    /// How often its expression held, and not for long enough.
    pub passed: u64,
    /// Alerts times how long each fired, in milliseconds.
    pub firing_ms: i64,
    /// Series that it made at most at one time.
    pub series_most: usize,
    /// Evaluations that failed, and why the first did.
    pub failed: u64,
    /// Why.
    pub error: Option<String>,
    /// The first of the times at which it fired, by their beginning; at most 500.
    pub episodes: Vec<Episode>,
}

/// One alert from its beginning to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// With `alertname`.
    pub labels: BTreeMap<String, String>,
    /// As they were when it began to fire.
    pub annotations: BTreeMap<String, String>,
    /// The expression's value then.
    pub value: f64,
    /// Since when the expression held, milliseconds UTC.
    pub since_ms: i64,
    /// When it began to fire; before the replay's beginning where it fired already.
    pub fired_ms: i64,
    /// When it ended; `None` where it fired to the end.
    pub resolved_ms: Option<i64>,
}

/// Runs rules over stored samples. `external_url` is for templates.
///
/// # Errors
/// [`ReplayError`] for what is not worth beginning. What fails on the way stands in the report, at its rule.
pub fn replay(
    replay: &Replay<'_>,
    engine: &Engine,
    stored: &dyn Source,
    external_url: &str,
) -> Result<ReplayReport, ReplayError> {
    if replay.to_ms < replay.from_ms {
        return Err(ReplayError::Backwards);
    }
    let rules: Vec<(&Group, &Rule)> = replay
        .groups
        .iter()
        .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
        .collect();
    let begin_ms = replay.from_ms.saturating_sub(warm_up_ms(&rules));
    let span_ms = replay.to_ms.saturating_sub(begin_ms);
    let evaluations = rules.iter().fold(0i64, |sum, (group, _)| {
        sum.saturating_add(span_ms / group.interval_ms + 1)
    });
    if evaluations > EVALUATIONS_MAX {
        return Err(ReplayError::TooLong { evaluations });
    }
    let (blocks, is_read) = plan(&rules);
    let made = Made::by(
        rules
            .iter()
            .zip(&is_read)
            .filter(|(_, is_read)| **is_read)
            .map(|((_, rule), _)| *rule),
    );
    let mut running = Running {
        tracks: tracks(replay.groups, &rules, &is_read),
        history: History::new(stored, made, begin_ms),
        engine,
        options: QueryOptions {
            deadline: replay.deadline.clone(),
            ..QueryOptions::default()
        },
        external: External {
            labels: &[],
            url: external_url,
        },
        from_ms: replay.from_ms,
        evaluations: 0,
        started: Instant::now(),
        time_max: replay.time_max,
    };
    let shortest = rules.iter().map(|(group, _)| group.interval_ms).min().unwrap_or(1);
    let stretch_ms = shortest.saturating_mul(STRETCH);
    let (mut start_ms, mut stopped) = (begin_ms, None);
    while start_ms <= replay.to_ms && !rules.is_empty() {
        let end_ms = start_ms.saturating_add(stretch_ms - 1).min(replay.to_ms);
        let reached = blocks.iter().try_for_each(|block| {
            let places = block.rules.clone();
            if block.is_stepped {
                running.step(places, start_ms, end_ms)
            } else {
                places
                    .clone()
                    .try_for_each(|place| running.at_once(place, start_ms, end_ms))
            }
        });
        if let Err(why) = reached {
            stopped = Some(why);
            break;
        }
        start_ms = end_ms + 1;
    }
    let reached_ms = if stopped.is_some() { start_ms } else { replay.to_ms };
    let to_ms = reached_ms.max(replay.from_ms);
    let evaluations = running.evaluations;
    Ok(ReplayReport {
        from_ms: replay.from_ms,
        to_ms,
        stopped,
        evaluations,
        rules: running
            .tracks
            .into_iter()
            .map(|track| track.finish(replay.from_ms, to_ms))
            .collect(),
    })
}

fn warm_up_ms(rules: &[(&Group, &Rule)]) -> i64 {
    let of = |(group, rule): &(&Group, &Rule)| match &rule.kind {
        RuleKind::Alert { hold, .. } => hold
            .for_ms
            .saturating_add(hold.keep_firing_ms)
            .saturating_add(2 * group.interval_ms),
        RuleKind::Record => 2 * group.interval_ms,
    };
    rules.iter().map(of).max().unwrap_or(0).min(WARM_UP_MAX_MS)
}

/// A rule as the replay goes on.
struct Track<'a> {
    group: &'a Group,
    rule: &'a Rule,
    /// The same without annotations: they are written only for what fires.
    bare: Rule,
    run: RuleRun,
    is_read: bool,
    told: ReplayedRule,
    /// Episodes that have not ended, by fingerprint.
    open: HashMap<String, Episode>,
}

fn tracks<'a>(groups: &'a [Group], rules: &[(&'a Group, &'a Rule)], is_read: &[bool]) -> Vec<Track<'a>> {
    let ids = groups.iter().flat_map(|group| rule_ids(&group.name, &group.rules));
    let track = |((id, subject), is_read): ((String, &(&'a Group, &'a Rule)), &bool)| {
        let (group, rule) = *subject;
        let mut bare = rule.clone();
        if let RuleKind::Alert { annotations, .. } = &mut bare.kind {
            annotations.clear();
        }
        Track {
            group,
            rule,
            bare,
            run: RuleRun::new(id),
            is_read: *is_read,
            told: ReplayedRule {
                group: group.name.clone(),
                name: rule.name.clone(),
                is_alert: matches!(rule.kind, RuleKind::Alert { .. }),
                fired: 0,
                passed: 0,
                firing_ms: 0,
                series_most: 0,
                failed: 0,
                error: None,
                episodes: Vec::new(),
            },
            open: HashMap::new(),
        }
    };
    ids.zip(rules).zip(is_read).map(track).collect()
}

struct Running<'a> {
    tracks: Vec<Track<'a>>,
    history: History<'a>,
    engine: &'a Engine,
    options: QueryOptions,
    external: External<'a>,
    from_ms: i64,
    evaluations: u64,
    started: Instant,
    time_max: Duration,
}

impl Running<'_> {
    /// Evaluates one rule over a stretch of time at once; both ends belong to it.
    fn at_once(&mut self, place: usize, start_ms: i64, end_ms: i64) -> Result<(), String> {
        let (group, rule) = (self.tracks[place].group, self.tracks[place].rule);
        let (interval, offset) = (group.interval_ms, group.query_offset_ms);
        let first_ms = next_slot(start_ms, interval);
        if first_ms > end_ms {
            return Ok(());
        }
        let last_ms = end_ms.div_euclid(interval) * interval;
        self.history.see_until(i64::MAX);
        let (from, to) = (first_ms - offset, last_ms - offset);
        let answer = self
            .engine
            .range(&self.history, &rule.expr, from, to, interval, &self.options);
        let lines = match answer.map(|answer| answer.value) {
            Ok(Value::Matrix(lines)) => lines,
            // A range query yields lines; there is nothing else that it could.
            Ok(_) => Vec::new(),
            Err(error) => {
                self.check_deadline()?;
                let steps = ((last_ms - first_ms) / interval + 1).unsigned_abs();
                self.evaluations += steps;
                self.tracks[place].fail(steps, error.to_string());
                return Ok(());
            }
        };
        let mut cursors = vec![(0, 0); lines.len()];
        let mut at_ms = first_ms;
        while at_ms <= last_ms {
            self.take(place, at_ms, Ok(vectors_at(&lines, &mut cursors, at_ms - offset)));
            at_ms += interval;
        }
        self.check_deadline()
    }

    /// Evaluates rules that need each other, moment by moment.
    fn step(&mut self, places: std::ops::Range<usize>, start_ms: i64, end_ms: i64) -> Result<(), String> {
        let next = |at_ms: i64, tracks: &[Track<'_>]| {
            let of = |track: &Track<'_>| next_slot(at_ms, track.group.interval_ms);
            tracks[places.clone()].iter().map(of).min().unwrap_or(i64::MAX)
        };
        let mut at_ms = next(start_ms, &self.tracks);
        while at_ms <= end_ms {
            for place in places.clone() {
                let track = &self.tracks[place];
                if at_ms % track.group.interval_ms != 0 {
                    continue;
                }
                self.history.see_until(at_ms);
                let (group, rule) = (track.group, track.rule);
                let value = value_at(group, rule, self.engine, &self.history, at_ms, &self.options);
                self.take(place, at_ms, value);
            }
            self.check_deadline()?;
            at_ms = next(at_ms + 1, &self.tracks);
        }
        Ok(())
    }

    fn check_deadline(&self) -> Result<(), String> {
        if self.options.deadline.is_over() || self.started.elapsed() > self.time_max {
            return Err("its time was over".to_owned());
        }
        if self.history.written() > SAMPLES_MAX {
            return Err(format!("its recording rules wrote more than {SAMPLES_MAX} samples"));
        }
        Ok(())
    }

    /// Takes over the value that a rule's expression has at a moment.
    fn take(&mut self, place: usize, at_ms: i64, value: Result<Vectors, String>) {
        self.evaluations += 1;
        let track = &mut self.tracks[place];
        let taken = value.and_then(|value| {
            let outcome = track.outcome(&value, at_ms, &self.external)?;
            if track.is_read {
                let written_ms = at_ms - track.group.query_offset_ms;
                for (labels, value) in &outcome.series {
                    self.history
                        .add(labels, written_ms, *value, outcome.histograms.get(labels))?;
                }
            }
            track.note(&outcome, at_ms, self.from_ms);
            track.run.accept(outcome, &Lost::default(), at_ms);
            Ok(())
        });
        if let Err(problem) = taken {
            track.fail(1, problem);
        }
    }
}

impl Track<'_> {
    fn outcome(&self, (vector, histograms): &Vectors, at_ms: i64, external: &External<'_>) -> Result<Outcome, String> {
        let outcome = follow((self.group, &self.bare, &self.run), vector, histograms, at_ms, external)?;
        if outcome
            .transitions
            .iter()
            .any(|(kind, _)| *kind == TransitionKind::Fired)
        {
            follow((self.group, self.rule, &self.run), vector, histograms, at_ms, external)
        } else {
            Ok(outcome)
        }
    }

    fn fail(&mut self, evaluations: u64, problem: String) {
        self.told.failed += evaluations;
        self.told.error.get_or_insert(problem);
    }

    fn note(&mut self, outcome: &Outcome, at_ms: i64, from_ms: i64) {
        let living = if self.told.is_alert {
            outcome.alerts.len()
        } else {
            outcome
                .series
                .iter()
                .filter(|(_, value)| !store::is_stale(*value))
                .count()
        };
        if at_ms >= from_ms {
            self.told.series_most = self.told.series_most.max(living);
            let pending = |alert: &&ActiveAlert| matches!(alert.state, AlertState::Pending { .. });
            let ended = self.run.alerts.values().filter(pending);
            self.told.passed += ended
                .filter(|alert| !outcome.alerts.contains_key(&alert.fingerprint))
                .count() as u64;
        }
        for (kind, alert) in &outcome.transitions {
            match (kind, alert.state) {
                (TransitionKind::Fired, AlertState::Firing { since_ms, fired_ms, .. }) => {
                    let episode = Episode {
                        labels: alert.labels.clone(),
                        annotations: alert.annotations.clone(),
                        value: alert.value,
                        since_ms,
                        fired_ms,
                        resolved_ms: None,
                    };
                    self.open.insert(alert.fingerprint.clone(), episode);
                }
                (_, AlertState::Resolved { resolved_ms, .. }) => {
                    if let Some(episode) = self.open.remove(&alert.fingerprint) {
                        self.close(episode, Some(resolved_ms), resolved_ms, from_ms);
                    }
                }
                _ => {}
            }
        }
    }

    /// Counts an episode that ended, or is cut off at `until_ms`.
    fn close(&mut self, mut episode: Episode, resolved_ms: Option<i64>, until_ms: i64, from_ms: i64) {
        if resolved_ms.is_some_and(|resolved| resolved < from_ms) {
            return;
        }
        if episode.fired_ms >= from_ms {
            self.told.fired += 1;
        }
        self.told.firing_ms += until_ms - episode.fired_ms.max(from_ms);
        episode.resolved_ms = resolved_ms;
        self.told.episodes.push(episode);
        // Pruned now and then, so that a rule that never rests does not fill the memory.
        if self.told.episodes.len() >= 4 * EPISODES_MAX {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.told
            .episodes
            .sort_by(|a, b| (a.fired_ms, &a.labels).cmp(&(b.fired_ms, &b.labels)));
        self.told.episodes.truncate(EPISODES_MAX);
    }

    fn finish(mut self, from_ms: i64, to_ms: i64) -> ReplayedRule {
        for (_, episode) in std::mem::take(&mut self.open) {
            self.close(episode, None, to_ms, from_ms);
        }
        self.prune();
        self.told
    }
}

/// The first multiple of `interval` from `at_ms` on.
fn next_slot(at_ms: i64, interval: i64) -> i64 {
    at_ms
        .div_euclid(interval)
        .saturating_add(i64::from(at_ms.rem_euclid(interval) > 0))
        .saturating_mul(interval)
}

/// The values at a moment. `cursors` say how far each line's points and histograms have been read.
fn vectors_at(lines: &[Line], cursors: &mut [(usize, usize)], at_ms: i64) -> Vectors {
    let mut vector = Vec::new();
    let mut histograms = HashMap::new();
    for (line, (point, histogram)) in lines.iter().zip(cursors) {
        while line.points.get(*point).is_some_and(|(t, _)| *t < at_ms) {
            *point += 1;
        }
        while line.histograms.get(*histogram).is_some_and(|(t, _)| *t < at_ms) {
            *histogram += 1;
        }
        match (line.points.get(*point), line.histograms.get(*histogram)) {
            (Some((t, value)), _) if *t == at_ms => vector.push((line.labels.clone(), *value)),
            (_, Some((t, value))) if *t == at_ms => {
                histograms.insert(line.labels.clone(), Arc::clone(value));
                vector.push((line.labels.clone(), 0.0));
            }
            _ => {}
        }
    }
    (vector, histograms)
}
