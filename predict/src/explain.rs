//! Which signals moved a score, in words and numbers: against the host's own past, against its peers, since when.

use crate::features::catalogue::{Kind, SignalDef, Unit};
use crate::features::{Aggregate, Origin, Part, Prepared};
use crate::model::{Input, Model};
use crate::window::spoken_duration;

/// Most signals that an explanation names.
const SIGNALS_MAX: usize = 5;
/// Fewer are named only where fewer moved the score.
const SIGNALS_MIN: usize = 3;
/// A signal that moved the score by less than this share of all that pushed it up is noise.
const SHARE_MIN: f64 = 0.08;
/// From this many usual spreads on a value counts as having left its usual range.
const UNUSUAL: f64 = 2.0;

/// One signal that moved a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Name of the column: `gpu_temperature.peer`.
    pub name: String,
    /// What it is now: the mean of the short window; for events their number within the middle window.
    pub value: f64,
    /// What it is measured in.
    pub unit: &'static str,
    /// What it usually is on this host.
    pub usual: f64,
    /// What it is on this host's peers, the median, where there are at least two.
    pub peers: Option<f64>,
    /// A sentence with all of it.
    pub text: String,
    /// Since when it has been unusual, milliseconds UTC.
    pub since_ms: i64,
    /// Share of what pushed the score up, 0 to 1.
    pub contribution: f64,
    /// What to do about it.
    pub advice: &'static str,
}

/// What the peers show: the median over other hosts for each column, NaN where too few report.
pub(crate) type Peers = [f64];

/// Sums what the features of each origin add to the score, and names the largest.
pub(crate) fn of_model(
    model: &Model,
    prepared: &Prepared<'_>,
    at: i64,
    x: Input<'_>,
    origins: &[Origin],
    peers: &Peers,
) -> Vec<Signal> {
    let estimator = &model.speaking_head(x).estimator;
    // How unusual a host is as a whole is told by the columns that are unusual.
    if estimator.family().is_unsupervised() {
        return of_deviations(prepared, at, peers);
    }
    let mut parts = Vec::new();
    estimator.contributions(x, &mut parts);
    let mut by_origin: std::collections::BTreeMap<Origin, f64> = std::collections::BTreeMap::new();
    let pooled = prepared.pooled(at);
    for (origin, part) in origins.iter().zip(&parts) {
        // What kinds of failure have in common is told by the column that stands for it now.
        let origin = match origin {
            Origin::Limits => pooled.nearest().map_or(Origin::Together, Origin::Column),
            Origin::Events => pooled.most().map_or(Origin::Together, Origin::Column),
            other => *other,
        };
        *by_origin.entry(origin).or_default() += part;
    }
    name(prepared, at, by_origin.into_iter().collect(), peers)
}

/// Without a model: the columns that stand farthest from their past.
pub(crate) fn of_deviations(prepared: &Prepared<'_>, at: i64, peers: &Peers) -> Vec<Signal> {
    let found = (0..prepared.set.columns.len())
        .filter_map(|column| {
            let view = prepared.view(column, at)?;
            let base = prepared.baseline(column, at)?;
            let now = Aggregate::of(view.blocks(view.windows.short, 0)).mean()?;
            let z = ((now - base.mean) / base.spread).abs();
            (z > UNUSUAL).then_some((Origin::Column(column), z.min(30.0)))
        })
        .collect();
    name(prepared, at, found, peers)
}

/// One thing to name: a signal with the column of it that moved the score most, or one of the rest.
#[derive(Clone, Copy)]
struct Group {
    total: f64,
    best: f64,
    origin: Origin,
}

fn name(prepared: &Prepared<'_>, at: i64, found: Vec<(Origin, f64)>, peers: &Peers) -> Vec<Signal> {
    // Several views of one signal say the same thing: they count together and are named once.
    let mut groups: std::collections::BTreeMap<usize, Group> = std::collections::BTreeMap::new();
    for (origin, part) in found {
        let key = match origin {
            Origin::Column(column) => prepared.set.columns[column].signal,
            Origin::Structure => usize::MAX,
            Origin::History => usize::MAX - 1,
            // The columns themselves say what is unusual.
            Origin::Together | Origin::Limits | Origin::Events => continue,
        };
        let group = groups.entry(key).or_insert(Group {
            total: 0.0,
            best: f64::NEG_INFINITY,
            origin,
        });
        group.total += part;
        if part > group.best {
            (group.best, group.origin) = (part, origin);
        }
    }
    let mut ranked: Vec<Group> = groups.into_values().filter(|g| g.total > 0.0).collect();
    // Ties are broken by position, so that two rounds with the same numbers name the same signals.
    ranked.sort_by(|a, b| b.total.total_cmp(&a.total).then(a.origin.cmp(&b.origin)));
    let all: f64 = ranked.iter().map(|g| g.total).sum();
    let mut named: Vec<Signal> = Vec::new();
    for group in ranked {
        let share = group.total / all;
        if named.len() >= SIGNALS_MAX || (named.len() >= SIGNALS_MIN && share < SHARE_MIN) {
            break;
        }
        let signal = match group.origin {
            Origin::Column(column) => {
                // What moved the score little and is where it always is explains nothing.
                if share < SHARE_MIN && !is_unusual(prepared, column, at, 1.0) {
                    continue;
                }
                let Some(signal) = column_signal(prepared, column, at, peers, share) else {
                    continue;
                };
                signal
            }
            Origin::Structure if share >= SHARE_MIN => structure_signal(prepared, at, share),
            Origin::History if share >= SHARE_MIN => history_signal(prepared, at, share),
            _ => continue,
        };
        named.push(signal);
    }
    named
}

/// Whether the short window stands more than `spreads` usual spreads from what is usual.
fn is_unusual(prepared: &Prepared<'_>, column: usize, at: i64, spreads: f64) -> bool {
    let now = prepared
        .view(column, at)
        .and_then(|v| Aggregate::of(v.blocks(v.windows.short, 0)).mean());
    match (now, prepared.baseline(column, at)) {
        (Some(now), Some(base)) => (now - base.mean).abs() / base.spread > spreads,
        _ => false,
    }
}

fn column_signal(prepared: &Prepared<'_>, column: usize, at: i64, peers: &Peers, contribution: f64) -> Option<Signal> {
    let set = prepared.set;
    let view = prepared.view(column, at)?;
    let def = set.signal_of(column);
    let part = set.columns[column].part;
    let w = view.windows;
    let step = set.grid.step_ms;
    let short = Aggregate::of(view.blocks(w.short, 0));
    let now = short.mean().or_else(|| view.last())?;
    let base = prepared.baseline(column, at);
    let peer = peers.get(column).copied().filter(|p| !p.is_nan());

    let (value, usual, value_text, usual_text, peer_text) = if def.kind == Kind::Events {
        let middle = view.since(w.middle);
        let per_window = middle.mean * f64::from(middle.n);
        let usual = base.map_or(0.0, |b| b.mean * w.middle as f64);
        let window = spoken_duration(w.middle as i64 * step);
        (
            per_window,
            usual,
            format!("{} in {window}", plain(per_window)),
            format!("usually {}", plain(usual)),
            peer.map(|p| format!("peers {}", plain(p * w.middle as f64))),
        )
    } else {
        let usual = base.map_or(f64::NAN, |b| b.mean);
        let shown = |v: f64| show(def, v);
        (
            now,
            usual,
            shown(now),
            if usual.is_nan() {
                String::new()
            } else {
                format!("usually {}", shown(usual))
            },
            peer.map(|p| format!("peers {}", shown(p))),
        )
    };
    // When it left its usual range: back over the aligned runs while they stay on the same side.
    let mut since = None;
    if let Some(base) = base {
        let side = (now - base.mean).signum();
        let unusual = |run: Aggregate| {
            run.mean()
                .is_some_and(|m| (m - base.mean) * side / base.spread > UNUSUAL)
        };
        if (now - base.mean).abs() / base.spread > UNUSUAL {
            let runs = view.runs(w.long, 0);
            let held = runs.iter().rev().take_while(|r| unusual(*r)).count();
            // Runs are complete ones; the blocks behind the last of them belong to now.
            since = Some((held * w.short + view.tail.max(1)) as i64);
        }
    }
    let before = Aggregate::merge(view.runs(w.short, w.middle).iter()).mean();
    let hours = (w.middle + view.tail) as f64 * step as f64 / 3_600_000.0;
    let pace = before.map(|b| (now - b) / hours);
    let notable = pace.filter(|p| {
        base.is_some_and(|b| (p * hours).abs() > b.spread.max(0.02 * b.mean.abs())) && def.kind == Kind::Gauge
    });

    let title = match part {
        Part::Peer => format!("{}: distance from the other devices of this host", def.title),
        Part::Mean if def.reduce != crate::features::catalogue::Reduce::Mean => {
            format!("{}, mean over devices", def.title)
        }
        Part::Worst => format!("{}, worst device", def.title),
        _ => def.title.clone(),
    };
    let mut text = format!("{title} {value_text}");
    let beside: Vec<String> = [usual_text, peer_text.unwrap_or_default()]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect();
    if !beside.is_empty() {
        text.push_str(&format!(" ({})", beside.join(", ")));
    }
    if let Some(pace) = notable {
        let direction = if pace > 0.0 { "up" } else { "down" };
        text.push_str(&format!(", {direction} {} an hour", show_difference(def, pace.abs())));
    }
    if let Some(blocks) = since {
        text.push_str(&format!(" for {}", spoken_duration(blocks * step)));
    }
    Some(Signal {
        name: set.column_name(column),
        value,
        unit: unit_name(def),
        usual,
        peers: peer,
        text,
        since_ms: set.grid.end_of(at) - since.unwrap_or(w.middle as i64) * step,
        contribution,
        advice: def.area.advice(),
    })
}

fn structure_signal(prepared: &Prepared<'_>, at: i64, contribution: f64) -> Signal {
    let set = prepared.set;
    let w = set.windows();
    let reported = prepared.reported(at);
    let window = &reported[reported.len().saturating_sub(w.middle)..];
    let missing = window.iter().filter(|r| !**r).count() as f64 / window.len() as f64;
    let first = window.iter().position(|r| !*r).map_or(0, |i| window.len() - i);
    Signal {
        name: "reporting".to_owned(),
        value: missing,
        unit: "ratio",
        usual: 0.0,
        peers: None,
        text: format!(
            "reporting: {:.0} % of the samples of the last {} are missing, or devices and signals fell silent",
            missing * 100.0,
            spoken_duration(w.middle as i64 * set.grid.step_ms)
        ),
        since_ms: set.grid.end_of(at - first as i64),
        contribution,
        advice: crate::features::catalogue::Area::Reporting.advice(),
    }
}

fn history_signal(prepared: &Prepared<'_>, at: i64, contribution: f64) -> Signal {
    Signal {
        name: "history".to_owned(),
        value: f64::NAN,
        unit: "",
        usual: f64::NAN,
        peers: None,
        text: "history: this host has failed before, recently or at this time of day, or many hosts have of late"
            .to_owned(),
        since_ms: prepared.set.grid.end_of(at),
        contribution,
        advice: crate::features::catalogue::Area::History.advice(),
    }
}

/// A number with about three digits.
fn plain(v: f64) -> String {
    let size = v.abs();
    if size >= 100.0 || (size - size.round()).abs() < 0.005 {
        format!("{v:.0}")
    } else if size >= 10.0 {
        format!("{v:.1}")
    } else {
        format!("{v:.2}")
    }
}

fn show(def: &SignalDef, v: f64) -> String {
    match def.unit {
        Unit::Ratio => percent(v * 100.0),
        Unit::Percent => percent(v),
        Unit::Bytes => bytes(v),
        Unit::BytesPerSecond => format!("{}/s", bytes(v)),
        Unit::Seconds => seconds(v),
        Unit::Milliseconds => seconds(v / 1e3),
        Unit::Celsius => format!("{v:.1} °C"),
        Unit::Watts => format!("{v:.0} W"),
        Unit::Megahertz => format!("{v:.0} MHz"),
        Unit::Rpm => format!("{v:.0} rpm"),
        Unit::PerMinute => format!("{} a minute", plain(v)),
        Unit::PerSecond => format!("{}/s", plain(v)),
        Unit::Count => plain(v),
    }
}

fn show_difference(def: &SignalDef, v: f64) -> String {
    match def.unit {
        Unit::Ratio => format!("{} points", plain(v * 100.0)),
        Unit::Percent => format!("{} points", plain(v)),
        _ => show(def, v),
    }
}

fn percent(v: f64) -> String {
    if v.abs() >= 10.0 {
        format!("{v:.0} %")
    } else {
        format!("{} %", plain(v))
    }
}

fn seconds(v: f64) -> String {
    if v.abs() >= 10.0 {
        format!("{v:.1} s")
    } else {
        format!("{} ms", plain(v * 1e3))
    }
}

fn bytes(v: f64) -> String {
    let (mut v, mut unit) = (v, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if v.abs() < 1_024.0 {
            break;
        }
        (v, unit) = (v / 1_024.0, next);
    }
    format!("{} {unit}", plain(v))
}

const fn unit_name(def: &SignalDef) -> &'static str {
    match def.unit {
        Unit::Ratio => "ratio",
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes/s",
        Unit::Seconds => "seconds",
        Unit::Milliseconds => "milliseconds",
        Unit::Celsius => "celsius",
        Unit::Watts => "watts",
        Unit::Megahertz => "MHz",
        Unit::Rpm => "rpm",
        Unit::PerMinute => "events",
        Unit::PerSecond => "1/s",
        Unit::Count => "",
    }
}

#[cfg(test)]
mod tests;
