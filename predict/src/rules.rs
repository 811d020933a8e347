//! Rules that need no training: what hardware and kernel say outright. They speak from minute one.

use crate::features::catalogue::Area;
use crate::features::{Aggregate, Prepared};

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
        let w = view.windows;
        let number = match test {
            Test::AnyEvent => {
                let run = Aggregate::of(view.blocks(w.middle, 0));
                Some(run.mean * f64::from(run.n)).filter(|n| *n >= 0.5)
            }
            Test::AtLeast(limit) => view
                .last()
                .filter(|v| v >= limit)
                .map(|v| if *limit <= 1.0 { v * 100.0 } else { v }),
            Test::FewerThanBefore => {
                let most = view.blocks(w.long, 0).iter().copied().fold(f32::NAN, f32::max);
                view.last().map(|now| f64::from(most) - now).filter(|gone| *gone >= 0.5)
            }
        };
        let Some(number) = number else { continue };
        let hit = |v: f32| match test {
            Test::AnyEvent => v >= 0.5,
            Test::AtLeast(limit) => f64::from(v) >= *limit,
            Test::FewerThanBefore => f64::from(v) <= view.last().unwrap_or(f64::NAN),
        };
        let blocks = view.blocks(w.middle, 0);
        // The first block of the window that shows it; events may lie apart, states hold on.
        let first = match test {
            Test::AnyEvent => blocks.iter().position(|v| hit(*v)),
            _ => Some(
                blocks
                    .iter()
                    .rposition(|v| !v.is_nan() && !hit(*v))
                    .map_or(0, |i| i + 1),
            ),
        };
        let age = first.map_or(0, |i| blocks.len() - 1 - i.min(blocks.len() - 1)) as i64;
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
