//! Answers of range queries, kept for the next time a panel asks.
//!
//! A dashboard asks the same expressions again and again, each time a little later. What was computed for a step stays true until a
//! sample at or before that step is written or deleted, and the store knows since when that happened ([`Versioned`]). So the steps
//! before the oldest change are taken from the last answer, and only the others are evaluated: nothing is guessed from the clock,
//! and a late sample shows in the very next answer.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use promql_parser::parser::{AtModifier, Expr, Offset};

use super::error::QueryError;
use super::evaluate::{self, Parsed};
use super::grid::Grid;
use super::line::Gathered;
use super::{Answer, EngineOptions, Line, QueryOptions, Source, Stats, Summary, Value, stack};
use crate::telemetry::Telemetry;

/// A source that changes, and knows when which of its samples did.
pub trait Versioned {
    /// Where answers over this source are kept.
    fn cache(&self) -> &ResultCache;

    /// A number of this unchanging state; later states have no smaller ones.
    fn version(&self) -> u64;

    /// The oldest timestamp (milliseconds) at which anything was written or deleted after the state `version`, or an older one
    /// than that; `i64::MAX` where nothing was.
    fn oldest_change_since(&self, version: u64) -> i64;
}

/// Answers of range queries by expression and step, the least recently used leave first.
#[derive(Debug)]
pub struct ResultCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    // Keys by when they were used last.
    used: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

/// What has to be equal for the steps of two queries to be the same ones, computed alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    query: Arc<str>,
    step_ms: i64,
    // Of the first step, within `step_ms`.
    phase_ms: i64,
    lookback_ms: i64,
}

#[derive(Debug)]
struct Entry {
    result: Arc<Computed>,
    used: u64,
}

/// One answer.
#[derive(Debug)]
struct Computed {
    version: u64,
    grid: Grid,
    // In label order, points of each ascending.
    lines: Vec<Line>,
    infos: Vec<String>,
    bytes: usize,
}

/// A smaller share of the steps than this is not worth its merging.
const REUSED_SHARE_MIN: usize = 4;
/// An answer larger than this share of the cache would push out everything else.
const ANSWER_SHARE_MAX: usize = 4;
/// More infos than an answer shows were cut off, and could not be told apart any more.
const INFOS_MAX: usize = 10;

impl ResultCache {
    /// A cache of at most so many bytes; with 0 nothing is kept.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// Bytes of the answers that are kept, counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    fn get(&self, key: &Key) -> Option<Arc<Computed>> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let now = kept.uses;
        let Kept { entries, used, .. } = &mut *kept;
        let entry = entries.get_mut(key)?;
        used.remove(&entry.used);
        entry.used = now;
        used.insert(now, key.clone());
        Some(Arc::clone(&entry.result))
    }

    fn put(&self, key: Key, computed: Computed) {
        if computed.bytes > self.bytes_max / ANSWER_SHARE_MAX {
            return;
        }
        let mut kept = self.kept.lock();
        // Of queries that ran side by side the one that saw more counts.
        if kept
            .entries
            .get(&key)
            .is_some_and(|entry| entry.result.version > computed.version)
        {
            return;
        }
        kept.remove(&key);
        while kept.bytes + computed.bytes > self.bytes_max {
            let Some((_, oldest)) = kept.used.pop_first() else {
                break;
            };
            kept.remove(&oldest);
        }
        kept.uses += 1;
        let now = kept.uses;
        kept.bytes += computed.bytes;
        kept.used.insert(now, key.clone());
        kept.entries.insert(
            key,
            Entry {
                result: Arc::new(computed),
                used: now,
            },
        );
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.used.remove(&entry.used);
            self.bytes -= entry.result.bytes;
        }
    }
}

impl Computed {
    /// Of the steps of `grid`, which are some of the same as this one's, those that are still true: where they begin, and their
    /// number.
    fn usable(&self, grid: Grid, changed_ms: i64) -> Option<Grid> {
        let start_ms = grid.start_ms.max(self.grid.start_ms);
        let end_ms = grid.end_ms().min(self.grid.end_ms()).min(changed_ms.saturating_sub(1));
        let usable = Grid::range(start_ms, end_ms, grid.step_ms);
        (usable.count > 0 && usable.count * REUSED_SHARE_MIN >= grid.count).then_some(usable)
    }

    /// The lines within some steps of it; those that have no points there are left out.
    fn within(&self, grid: Grid) -> impl Iterator<Item = Line> {
        let (start_ms, end_ms) = (grid.start_ms, grid.end_ms());
        let within = move |line: &Line| {
            let from = line.points.partition_point(|(t, _)| *t < start_ms);
            let to = line.points.partition_point(|(t, _)| *t <= end_ms);
            (from < to).then(|| Line {
                labels: line.labels.clone(),
                points: line.points[from..to].to_vec(),
                histograms: Vec::new(),
            })
        };
        self.lines.iter().filter_map(within)
    }

    /// What is said of an answer that takes these steps from it.
    fn summary(&self, usable: Grid) -> Summary {
        Summary {
            warnings: Vec::new(),
            infos: self.infos.clone(),
            stats: Stats {
                reused_steps: usable.count as u64,
                ..Stats::default()
            },
        }
    }
}

impl Key {
    fn of(options: &EngineOptions, query: &str, grid: Grid, asked: &QueryOptions) -> Self {
        Self {
            query: Arc::from(query),
            step_ms: grid.step_ms,
            phase_ms: grid.start_ms.rem_euclid(grid.step_ms),
            lookback_ms: asked.lookback_ms.unwrap_or(options.lookback_ms),
        }
    }
}

/// What is kept of an answer, and which of its steps are still true.
fn find(versioned: &dyn Versioned, key: &Key, grid: Grid) -> Option<(Arc<Computed>, Grid)> {
    let found = versioned.cache().get(key)?;
    if found.version > versioned.version() {
        return None;
    }
    let usable = found.usable(grid, versioned.oldest_change_since(found.version))?;
    Some((found, usable))
}

/// How many of a query's steps are kept and still true.
pub(super) fn kept(
    options: &EngineOptions,
    source: &dyn Source,
    query: &str,
    grid: Grid,
    asked: &QueryOptions,
) -> usize {
    let versioned = source.versioned().filter(|v| asked.reuse && v.cache().bytes_max > 0);
    versioned
        .and_then(|versioned| find(versioned, &Key::of(options, query, grid, asked), grid))
        .map_or(0, |(_, usable)| usable.count)
}

/// Answers a range query line by line, from what is kept as far as that is still true. Without `source.versioned()` everything is
/// evaluated.
pub(super) fn range(
    options: &EngineOptions,
    source: &dyn Source,
    (query, parsed): (&str, &Parsed),
    (grid, end_ms): (Grid, i64),
    asked: &QueryOptions,
    each: &mut dyn FnMut(Line) -> ControlFlow<()>,
) -> Result<Summary, QueryError> {
    let Some(versioned) = source.versioned().filter(|v| asked.reuse && v.cache().bytes_max > 0) else {
        return evaluate::range(options, source, parsed, grid, end_ms, asked, each);
    };
    if !looks_back(&parsed.expr) {
        return evaluate::range(options, source, parsed, grid, end_ms, asked, each);
    }
    let (key, version) = (Key::of(options, query, grid, asked), versioned.version());
    let found = find(versioned, &key, grid);
    if let Some((found, _)) = found.as_ref().filter(|(_, usable)| usable.count == grid.count) {
        // Nothing to evaluate, and what is kept tells as much as this answer.
        let summary = found.summary(grid);
        Telemetry::get().steps(summary.stats.reused_steps, summary.stats.steps);
        for line in found.within(grid) {
            if each(line).is_break() {
                break;
            }
        }
        return Ok(summary);
    }
    let mut keep = Keep::new(&key, versioned.cache());
    let summary = match found {
        None => evaluate::range(options, source, parsed, grid, end_ms, asked, &mut |line| {
            keep.look(&line);
            let flow = each(line);
            keep.whole &= flow.is_continue();
            flow
        })?,
        Some((found, usable)) => {
            let between = |start_ms: i64, end_ms: i64| {
                let grid = Grid::range(start_ms, end_ms, grid.step_ms);
                (grid.count > 0)
                    .then(|| {
                        let mut gathered = Gathered::new(options.max_samples);
                        let end_ms = grid.end_ms();
                        evaluate::range(options, source, parsed, grid, end_ms, asked, &mut |line| {
                            gathered.add(line)
                        })
                        .and_then(|summary| gathered.answer(summary))
                    })
                    .transpose()
            };
            let before = between(grid.start_ms, usable.start_ms - 1)?;
            let after = between(usable.end_ms() + grid.step_ms, grid.end_ms())?;
            let Summary { warnings, infos, stats } = found.summary(usable);
            let kept = Answer {
                value: Value::Matrix(found.within(usable).collect()),
                warnings,
                infos,
                stats,
            };
            let with_before = before.into_iter().fold(kept, |later, earlier| joined(earlier, later));
            let Answer {
                value,
                warnings,
                infos,
                stats,
            } = after.into_iter().fold(with_before, joined);
            let lines = matrix(value);
            lines.iter().for_each(|line| keep.look(line));
            for line in lines {
                if each(line).is_break() {
                    break;
                }
            }
            Summary { warnings, infos, stats }
        }
    };
    Telemetry::get().steps(summary.stats.reused_steps, summary.stats.steps);
    if let Some(computed) = keep.computed(&summary, grid, version) {
        versioned.cache().put(key, computed);
    }
    Ok(summary)
}

/// Lines that pass by, as long as an answer of them can be kept: one with native histograms is large, and one that its caller did
/// not want to the end is not whole.
struct Keep {
    lines: Vec<Line>,
    bytes: usize,
    bytes_max: usize,
    whole: bool,
}

impl Keep {
    fn new(key: &Key, cache: &ResultCache) -> Self {
        Self {
            lines: Vec::new(),
            bytes: size_of::<Computed>() + 2 * (size_of::<Key>() + key.query.len()),
            bytes_max: cache.bytes_max / ANSWER_SHARE_MAX,
            whole: true,
        }
    }

    fn look(&mut self, line: &Line) {
        self.bytes += size_of::<Line>() + line.labels.as_bytes().len() + line.points.len() * size_of::<(i64, f64)>();
        if self.bytes > self.bytes_max || !line.histograms.is_empty() {
            self.whole = false;
        }
        if self.whole {
            self.lines.push(line.clone());
        } else {
            self.lines = Vec::new();
        }
    }

    /// What is kept, if anything is. An answer with warnings would show them for as long as it is asked for.
    fn computed(self, summary: &Summary, grid: Grid, version: u64) -> Option<Computed> {
        if !self.whole || !summary.warnings.is_empty() || summary.infos.len() > INFOS_MAX {
            return None;
        }
        Some(Computed {
            version,
            grid,
            lines: self.lines,
            infos: summary.infos.clone(),
            bytes: self.bytes + summary.infos.iter().map(String::len).sum::<usize>(),
        })
    }
}

/// Two answers to one query, the first about earlier steps.
fn joined(first: Answer, second: Answer) -> Answer {
    let (earlier, later) = (matrix(first.value), matrix(second.value));
    let mut lines = Vec::with_capacity(earlier.len().max(later.len()));
    let mut earlier = earlier.into_iter().peekable();
    for mut line in later {
        while let Some(before) = earlier.next_if(|before| before.labels < line.labels) {
            lines.push(before);
        }
        if let Some(mut before) = earlier.next_if(|before| before.labels == line.labels) {
            before.points.append(&mut line.points);
            before.histograms.append(&mut line.histograms);
            line = before;
        }
        lines.push(line);
    }
    lines.extend(earlier);
    Answer {
        value: Value::Matrix(lines),
        warnings: union(first.warnings, second.warnings),
        infos: union(first.infos, second.infos),
        stats: Stats {
            series: first.stats.series.max(second.stats.series),
            samples: first.stats.samples + second.stats.samples,
            peak_values: first.stats.peak_values.max(second.stats.peak_values),
            steps: first.stats.steps + second.stats.steps,
            reused_steps: first.stats.reused_steps + second.stats.reused_steps,
        },
    }
}

/// The lines of a range query's value, which are all there is to it.
fn matrix(value: Value) -> Vec<Line> {
    match value {
        Value::Matrix(lines) => lines,
        Value::Scalar { .. } | Value::String { .. } | Value::Vector(_) => Vec::new(),
    }
}

fn union(mut first: Vec<String>, second: Vec<String>) -> Vec<String> {
    for text in second {
        if !first.contains(&text) {
            first.push(text);
        }
    }
    first
}

/// Whether the value at a step depends on nothing but the step and the samples up to it: no other step's time (`@`), nothing
/// ahead of it (a negative offset), and nothing of the query around it (`start()` and the like).
fn looks_back(expr: &Expr) -> bool {
    let fixed =
        |at: Option<&AtModifier>, offset: Option<&Offset>| at.is_some() || matches!(offset, Some(Offset::Neg(_)));
    stack::deeper(|| match expr {
        Expr::VectorSelector(selector) => !fixed(selector.at.as_ref(), selector.offset.as_ref()),
        Expr::MatrixSelector(matrix) => !fixed(matrix.vs.at.as_ref(), matrix.vs.offset.as_ref()),
        Expr::Subquery(inner) => !fixed(inner.at.as_ref(), inner.offset.as_ref()) && looks_back(&inner.expr),
        Expr::Paren(inner) => looks_back(&inner.expr),
        Expr::Unary(inner) => looks_back(&inner.expr),
        Expr::Binary(binary) => looks_back(&binary.lhs) && looks_back(&binary.rhs),
        Expr::Aggregate(aggregate) => {
            aggregate.param.as_ref().is_none_or(|param| looks_back(param)) && looks_back(&aggregate.expr)
        }
        Expr::Call(call) => {
            !matches!(call.func.name, "start" | "end" | "step" | "range")
                && call.args.args.iter().all(|arg| looks_back(arg))
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => true,
        Expr::Extension(_) => false,
    })
}

#[cfg(test)]
mod tests;
