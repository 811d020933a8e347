//! Alertmanager's configuration, read as it is.
//!
//! What is understood: `global` (timeouts, addresses and mail), the tree below `route`, `receivers`, `inhibit_rules`,
//! `time_intervals`, `mute_time_intervals`, and `templates` with the texts that call them. What Alertmanager knows and Foreshock does not use is warned of; what neither
//! knows is an error, as it is there, for it is most likely a mistake in writing.

mod fields;
mod mail;
mod receivers;
mod redact;
mod templates;
mod wording;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml_ng::Value;
use store::{MatchOp, Matcher};

use super::group::Grouping;
use super::inhibit::Inhibition;
use super::interval::{self, Span, TimeInterval};
use super::matcher;
use super::receiver::Receiver;
use super::route::{Route, Routing};
use fields::Fields;

/// What a configuration says.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Every place that its receivers name.
    pub receivers: Vec<Receiver>,
    /// Names of receivers that send nothing anywhere.
    pub silent: Vec<String>,
    /// Routes, inhibitions, times.
    pub routing: Routing,
    /// What is known to Alertmanager and not used here, a sentence each.
    pub warnings: Vec<String>,
    /// The configuration without its secrets.
    pub shown: String,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{} is no YAML", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_yaml_ng::Error,
    },
    /// Something in it is wrong.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
}

impl ConfigurationError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("check the path and that foreshock may read it"),
            Self::Yaml { .. } => None,
            Self::Wrong { .. } => Some("docs/alerts.md lists what is understood of Alertmanager's configuration"),
        }
    }
}

/// Nested routes beyond this are refused.
const DEPTH_MAX: usize = 32;

/// Reads a configuration file; files that it names for secrets are read as well.
///
/// # Errors
/// [`ConfigurationError`], with the place in the file.
pub fn load_file(path: &Path) -> Result<Configuration, ConfigurationError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read {
        path: path.to_owned(),
        source,
    })?;
    load(&text, path)
}

/// Reads the text of a configuration; `path` names it in errors, and relative paths in it start at its folder.
///
/// # Errors
/// [`ConfigurationError`], with the place in the file.
pub fn load(text: &str, path: &Path) -> Result<Configuration, ConfigurationError> {
    let yaml = |source| ConfigurationError::Yaml {
        path: path.to_owned(),
        source,
    };
    let mut value: Value = serde_yaml_ng::from_str(text).map_err(yaml)?;
    value.apply_merge().map_err(yaml)?;
    let wrong = |problem| ConfigurationError::Wrong {
        path: path.to_owned(),
        problem,
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let shown = serde_yaml_ng::to_string(&redact::redacted(value.clone())).map_err(yaml)?;
    let mut read = read(value, dir).map_err(wrong)?;
    read.shown = shown;
    Ok(read)
}

fn read(value: Value, dir: &Path) -> Result<Configuration, String> {
    let mut warnings = Vec::new();
    let mut top = Fields::of(value, "")?;
    let global = receivers::Global::read(top.section("global")?, dir, &mut warnings)?;
    let templates = Arc::new(templates::read(&top.texts("templates")?, dir, &mut warnings)?);
    let context = receivers::Context {
        name: "",
        global: &global,
        dir,
        templates: &templates,
    };
    let (receivers, silent) = receivers::read(top.list("receivers")?, &context, &mut warnings)?;
    let mut names: BTreeSet<String> = receivers.iter().map(|receiver| receiver.name().to_owned()).collect();
    names.extend(silent.iter().cloned());

    let mut intervals: Vec<TimeInterval> = Vec::new();
    for key in ["time_intervals", "mute_time_intervals"] {
        for (at, value) in top.list(key)?.into_iter().enumerate() {
            let read = time_interval(value, &format!("{key}[{at}]"), &mut warnings)?;
            if intervals.iter().any(|other| other.name == read.name) {
                return Err(format!("{key}[{at}]: the name {:?} is taken", read.name));
            }
            intervals.push(read);
        }
    }
    let mut inhibitions = Vec::new();
    for (at, value) in top.list("inhibit_rules")?.into_iter().enumerate() {
        inhibitions.push(inhibition(value, &format!("inhibit_rules[{at}]"), &mut warnings)?);
    }
    let root = top.take("route").ok_or("route is missing: it says who is told")?;
    let known = Known {
        receivers: &names,
        intervals: &intervals,
    };
    let root = route(root, "route", None, &known, &mut warnings, 0)?;
    top.finish(&[("tracing", "")], &mut warnings)?;
    let mut routing = Routing::new(root);
    routing.inhibitions = inhibitions;
    routing.intervals = intervals;
    if let Some(resolve_after_ms) = global.resolve_after_ms {
        routing.resolve_after_ms = resolve_after_ms;
    }
    Ok(Configuration {
        receivers,
        silent,
        routing,
        warnings,
        shown: String::new(),
    })
}

struct Known<'a> {
    receivers: &'a BTreeSet<String>,
    intervals: &'a [TimeInterval],
}

fn route(
    value: Value,
    place: &str,
    parent: Option<&Route>,
    known: &Known<'_>,
    warnings: &mut Vec<String>,
    depth: usize,
) -> Result<Route, String> {
    if depth > DEPTH_MAX {
        return Err(format!("{place}: routes are nested more than {DEPTH_MAX} deep"));
    }
    let mut fields = Fields::of(value, place)?;
    let inherited = parent.map_or_else(
        || Grouping {
            by: Vec::new(),
            wait_ms: 30_000,
            interval_ms: 5 * 60_000,
            repeat_ms: 4 * 3_600_000,
        },
        |parent| parent.grouping.clone(),
    );
    let positive = |ms: Option<i64>, key: &str| match ms {
        Some(0) => Err(format!("{place}.{key} must be longer than zero")),
        other => Ok(other),
    };
    let grouping = Grouping {
        by: fields.maybe_texts("group_by")?.unwrap_or(inherited.by),
        wait_ms: fields.duration("group_wait")?.unwrap_or(inherited.wait_ms),
        interval_ms: positive(fields.duration("group_interval")?, "group_interval")?.unwrap_or(inherited.interval_ms),
        repeat_ms: positive(fields.duration("repeat_interval")?, "repeat_interval")?.unwrap_or(inherited.repeat_ms),
    };
    let receiver = fields
        .text("receiver")?
        .filter(|name| !name.is_empty())
        .or_else(|| parent.and_then(|parent| parent.receiver.clone()))
        .ok_or_else(|| format!("{place}: the root route must name a receiver"))?;
    if !known.receivers.contains(&receiver) {
        return Err(format!("{place}: there is no receiver {receiver:?}"));
    }
    let matchers = matchers(&mut fields, ["match", "match_re", "matchers"])?;
    let goes_on = fields.flag("continue")?.unwrap_or(false);
    let (mute, active) = (
        fields.texts("mute_time_intervals")?,
        fields.texts("active_time_intervals")?,
    );
    if parent.is_none() && !(matchers.is_empty() && mute.is_empty() && active.is_empty() && !goes_on) {
        return Err(format!(
            "{place}: the root route matches everything at all times, so that it has no matchers, continue or time intervals"
        ));
    }
    for name in mute.iter().chain(&active) {
        if known.intervals.iter().all(|interval| interval.name != *name) {
            return Err(format!("{place}: there is no time interval {name:?}"));
        }
    }
    let mut read = Route::new(Some(receiver), matchers, grouping);
    (read.goes_on, read.mute, read.active) = (goes_on, mute, active);
    for (at, child) in fields.list("routes")?.into_iter().enumerate() {
        let place = format!("{place}.routes[{at}]");
        let child = route(child, &place, Some(&read), known, warnings, depth + 1)?;
        read.routes.push(child);
    }
    fields.finish(&[], warnings)?;
    Ok(read)
}

/// Matchers in their three forms: equal, by pattern, and as text.
fn matchers(fields: &mut Fields, [equal, pattern, texts]: [&str; 3]) -> Result<Vec<Matcher>, String> {
    let mut found = Vec::new();
    for (key, op) in [(equal, MatchOp::Eq), (pattern, MatchOp::Re)] {
        for (name, value) in fields.pairs(key)? {
            found.push(Matcher::new(op, name, value).map_err(|error| format!("{}: {error}", fields.place(key)))?);
        }
    }
    for text in fields.texts(texts)? {
        found.extend(matcher::parse_list(&text).map_err(|problem| format!("{}: {problem}", fields.place(texts)))?);
    }
    // As Alertmanager, so that the same route is called the same however it was written.
    found.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    Ok(found)
}

fn inhibition(value: Value, place: &str, warnings: &mut Vec<String>) -> Result<Inhibition, String> {
    let mut fields = Fields::of(value, place)?;
    let read = Inhibition {
        source: matchers(&mut fields, ["source_match", "source_match_re", "source_matchers"])?,
        target: matchers(&mut fields, ["target_match", "target_match_re", "target_matchers"])?,
        equal: fields.texts("equal")?,
    };
    if read.source.is_empty() || read.target.is_empty() {
        return Err(format!(
            "{place}: source_matchers and target_matchers must both say something"
        ));
    }
    fields.text("name")?;
    fields.finish(&[], warnings)?;
    Ok(read)
}

fn time_interval(value: Value, place: &str, warnings: &mut Vec<String>) -> Result<TimeInterval, String> {
    let mut fields = Fields::of(value, place)?;
    let name = fields
        .text("name")?
        .filter(|name| !name.is_empty())
        .ok_or_else(|| format!("{place}: a time interval needs a name"))?;
    let mut spans = Vec::new();
    for (at, value) in fields.list("time_intervals")?.into_iter().enumerate() {
        spans.push(span(value, &format!("{place}.time_intervals[{at}]"), warnings)?);
    }
    fields.finish(&[], warnings)?;
    Ok(TimeInterval { name, spans })
}

fn span(value: Value, place: &str, warnings: &mut Vec<String>) -> Result<Span, String> {
    let mut fields = Fields::of(value, place)?;
    let mut read = Span::always();
    for (at, value) in fields.list("times")?.into_iter().enumerate() {
        let place = format!("{place}.times[{at}]");
        let mut fields = Fields::of(value, &place)?;
        let mut time = |key: &str| {
            let text = fields.text(key)?.ok_or_else(|| format!("{place}: {key} is missing"))?;
            interval::minute(&text).map_err(|problem| format!("{place}.{key}: {problem}"))
        };
        let (from, to) = (time("start_time")?, time("end_time")?);
        if from >= to {
            return Err(format!(
                "{place}: it ends before it begins; write a night as two stretches"
            ));
        }
        fields.finish(&[], warnings)?;
        read.times.push((from, to));
    }
    fn all<T>(fields: &mut Fields, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let place = fields.place(key);
        let texts = fields.texts(key)?;
        let one = |text: &String| parse(text).map_err(|problem| format!("{place}: {problem}"));
        texts.iter().map(one).collect()
    }
    read.weekdays = all(&mut fields, "weekdays", interval::weekdays)?;
    read.days = all(&mut fields, "days_of_month", interval::days)?;
    read.months = all(&mut fields, "months", interval::months)?;
    read.years = all(&mut fields, "years", interval::years)?;
    if let Some(zone) = fields.text("location")? {
        read.zone = jiff::tz::TimeZone::get(&zone)
            .map_err(|error| format!("{place}.location: {error}; is the system's time zone database installed?"))?;
    }
    fields.finish(&[], warnings)?;
    Ok(read)
}

#[cfg(test)]
mod tests;
