//! Rules that need no training: what hardware and kernel say outright. They speak from minute one.

use crate::features::catalogue::Area;
use crate::features::{Prepared, Runs, View};

/// Something that is wrong now, whatever a model thinks.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which rule, a stable name: `xid_fatal`.
    pub rule: &'static str,
    /// A sentence.
    pub text: String,
    /// What to do.
    pub advice: &'static str,
    /// Since when, milliseconds UTC.
    pub since_ms: i64,
}

enum Test {
    /// Any event within the middle window.
    AnyEvent,
    /// The newest value is at or above this.
    AtLeast(f64),
    /// The newest value is below the most of the long window.
    FewerThanBefore,
}

/// Signal, rule, test, words for [`say`]. Thresholds: XID and ECC as NVIDIA's catalogue and gpud have them
/// (facts: `xid_actions.csv`); 90 °C is where data-centre GPUs slow down.
const RULES: [(&str, &str, Test, &str); 7] = [
    (
        "gpu_xid_fatal",
        "xid_fatal",
        Test::AnyEvent,
        "{} fatal {XID|XIDs} in the last hours: the GPU asks for a reset or a repair",
    ),
    (
        "gpu_ecc_uncorrected",
        "ecc_uncorrected",
        Test::AnyEvent,
        "{} ECC {error|errors} could not be corrected",
    ),
    (
        "gpu_temperature",
        "gpu_hot",
        Test::AtLeast(90.0),
        "a GPU is at {} °C and slows down",
    ),
    (
        "oom_kills",
        "oom_kill",
        Test::AnyEvent,
        "the kernel killed {} {process|processes} for lack of memory",
    ),
    (
        "devices",
        "device_gone",
        Test::FewerThanBefore,
        "{} {device|devices} stopped reporting",
    ),
    (
        "disk_used",
        "disk_full",
        Test::AtLeast(0.98),
        "a file system is {} % full",
    ),
    ("memory", "memory_full", Test::AtLeast(0.98), "memory is {} % used"),
];

/// What the rules say about a host at block `at`.
pub(crate) fn findings(prepared: &Prepared<'_>, at: i64) -> Vec<Finding> {
    let set = prepared.set;
    let mut found = Vec::new();
    for (signal, rule, test, words) in &RULES {
        let Some(column) = (0..set.columns.len()).find(|c| set.signal_of(*c).name == *signal) else {
            continue;
        };
        let Some(view) = prepared.view(column, at) else {
            continue;
        };
        let number = match test {
            Test::AnyEvent => {
                let run = view.since(view.windows.middle);
                Some(run.mean * f64::from(run.n)).filter(|n| *n >= 0.5)
            }
            Test::AtLeast(limit) => view
                .last()
                .filter(|v| v >= limit)
                .map(|v| if *limit <= 1.0 { v * 100.0 } else { v }),
            Test::FewerThanBefore => view.last().map(|now| view.most() - now).filter(|gone| *gone >= 0.5),
        };
        let Some(number) = number else { continue };
        let age = match test {
            Test::AnyEvent => first_event(view),
            Test::AtLeast(limit) => held(view, |v| v >= *limit),
            Test::FewerThanBefore => held(view, |v| v <= view.last().unwrap_or(f64::NAN)),
        } as i64;
        let area = set.signal_of(column).area;
        found.push(Finding {
            rule,
            text: say(words, number),
            advice: if *rule == "device_gone" {
                Area::Reporting.advice()
            } else {
                area.advice()
            },
            since_ms: set.grid.end_of(at - age),
        });
    }
    found
}

/// How many blocks ago the first event of the middle window was; the start of its run where blocks are not known any more.
fn first_event(view: View<'_>) -> usize {
    let (w, older) = (view.windows, older(view));
    if let Some(first) = older.iter().position(|run| run.mean * f64::from(run.n) >= 0.5) {
        return w.recent() + view.tail + (older.len() - first) * w.short - 1;
    }
    let blocks = recent(view);
    let first = blocks.iter().position(|v| *v >= 0.5);
    blocks.len() - 1 - first.unwrap_or(blocks.len() - 1)
}

/// For how many blocks before the newest one `holds` has held within the middle window; blocks without a value change nothing.
fn held(view: View<'_>, holds: impl Fn(f64) -> bool) -> usize {
    let blocks = recent(view);
    let not = |v: &f32| !v.is_nan() && !holds(f64::from(*v));
    if let Some(last) = blocks.iter().rposition(not) {
        return (blocks.len() - 1).saturating_sub(last + 1);
    }
    let runs = older(view).iter().rev();
    let runs = runs.take_while(|run| run.mean().is_none_or(&holds)).count();
    blocks.len() - 1
        + if runs > 0 {
            view.tail + runs * view.windows.short
        } else {
            0
        }
}

/// The blocks of the middle window that are known one by one.
fn recent(view: View<'_>) -> &[f32] {
    view.blocks(view.windows.recent().min(view.windows.middle), 0)
}

/// The runs of the middle window before those blocks.
fn older(view: View<'_>) -> Runs<'_> {
    let w = view.windows;
    view.runs(w.middle.saturating_sub(w.recent()), w.recent())
}

/// The words with the number where `{}` stands and, of each `{one|many}`, what goes with it.
fn say(words: &str, number: f64) -> String {
    let number = format!("{number:.0}");
    let mut text = String::new();
    for piece in words.split_inclusive('}') {
        let Some((before, braced)) = piece.split_once('{') else {
            text.push_str(piece);
            continue;
        };
        text.push_str(before);
        text.push_str(match braced.trim_end_matches('}').split_once('|') {
            None => &number,
            Some((one, _)) if number == "1" => one,
            Some((_, many)) => many,
        });
    }
    text
}

#[cfg(test)]
mod tests;
