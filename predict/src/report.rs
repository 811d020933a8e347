//! A backtest as one HTML page: what it would have warned of, what it would have missed, and what that would have cost.
//!
//! The page stands by itself: no script, no font, no picture from elsewhere. Everything that a plot shows is in a table too.

mod plot;
mod table;

pub use plot::reliability;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::evaluate::{Evaluation, Ledger, rate};
use crate::train::Compared;
use crate::window::{Horizon, spoken_duration};

const STYLE: &str = include_str!("report/report.css");

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Which history was judged, in a few words: `the newest quarter of default`.
    pub about: &'a str,
    /// Name of the model.
    pub model: &'a str,
    /// What it did, in sums.
    pub evaluation: &'a Evaluation,
    /// The same one by one.
    pub ledger: &'a Ledger,
    /// The families that it was chosen from.
    pub compared: &'a [Compared],
    /// What things cost.
    pub cost: Cost,
}

/// What a crash and an alarm cost, in any one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// An incident that nobody was warned of.
    pub crash: f64,
    /// An alarm that is acted upon: a drain, or somebody's attention.
    pub drain: f64,
}

impl Default for Cost {
    /// A crash costs as much as twenty drains.
    fn default() -> Self {
        Self {
            crash: 20.0,
            drain: 1.0,
        }
    }
}

impl Report<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let e = self.evaluation;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "Backtest: " (self.headline()) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 { (self.headline()) }
                        p.soft { (self.model) " on " (self.about) ", " (utc(e.from)) " to " (utc(e.to)) ": " (e.hosts) " hosts, "
                            (number(e.host_days)) " host-days outside incidents." }
                        (self.summary())
                        @for line in e.to_string().lines() { p { (sentence(&line.replace('_', " "))) } }
                        h2 { "When" }
                        (plot::timeline(e, self.ledger))
                        div.plots {
                            section { h2 { "Are the probabilities true?" } (plot::reliability(e)) (table::ranges(e)) }
                            section { h2 { "How early?" } (plot::leads(e)) }
                        }
                        h2 { "What it would have cost" }
                        (table::cost(e, self.cost))
                        h2 { "By kind of incident" }
                        (table::kinds(e))
                        h2 { "Missed" }
                        (table::missed(self.ledger))
                        h2 { "Warned of, or detected" }
                        (table::met(self.ledger))
                        h2 { "Every alarm" }
                        (table::alarms(self.ledger))
                        h2 { "By host" }
                        (table::hosts(self.ledger))
                        h2 { "Families of models" }
                        (table::families(self.compared))
                        h2 { "How this was made" }
                        (self.method())
                    }
                }
            }
        };
        page.into_string()
    }

    fn headline(&self) -> String {
        let e = self.evaluation;
        match (e.incidents, e.warns()) {
            (0, _) => "No incident began, so nothing is proven".to_owned(),
            (1, true) => "Warned of the only incident".to_owned(),
            (all, true) => format!("Warned of {} of {all} incidents", e.warned),
            (all, false) => format!(
                "Detects {} of {all} incidents; warns of no more than chance",
                e.warned + e.detected_only
            ),
        }
    }

    fn summary(&self) -> Markup {
        let e = self.evaluation;
        let card = |name: &str, value: String, beside: String| {
            html! { div { dt { (name) } dd { (value) small { (beside) } } } }
        };
        let lead = e
            .median_lead_minutes()
            .map_or_else(|| "none".to_owned(), |m| spoken_duration((m * 60_000.0) as i64));
        html! {
            dl.summary {
                (card("Warned ahead", format!("{} of {}", e.warned, e.incidents), format!("by chance {:.1}; {} of kinds without a warning so far", e.chance_warned, e.unforeseeable)))
                (card("Only detected", e.detected_only.to_string(), "after the start".to_owned()))
                (card("Missed", e.missed.to_string(), "without any alert".to_owned()))
                (card("Median lead", lead, format!("of {}", horizon(e.horizon_ms))))
                (card("False alarms", rate(e.false_alarm_rate(), e.budget), format!("a host-day, budget {}", e.budget)))
                (card("PR-AUC", if e.pr_auc.is_nan() { "unknown".to_owned() } else { format!("{:.3}", e.pr_auc) }, format!("guessing {:.3}", e.base_rate)))
                (card("Brier skill", format!("{:.2}", e.brier_skill), "1 is perfect, 0 knows nothing".to_owned()))
                (card("Calibration error", format!("{:.3}", e.ece), "expected, over 15 bins".to_owned()))
            }
        }
    }

    fn method(&self) -> Markup {
        html! {
            p { "Every score was made from what was known at its time, by models that had been trained on earlier history alone. The alert threshold, "
                (percent(self.evaluation.threshold)) ", was chosen on earlier history too." }
            p { "An alarm is a run of alerts with no more than an hour between them; one that stands is counted again every horizon. "
                "It is false when no incident began within the horizon and none was under way. An incident is warned of when an alert came within the horizon before it. "
                "Chance is what the same alerts would have met, had they been shifted in time at random." }
        }
    }
}

/// A moment, UTC, to the minute.
fn utc(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| format!("{at_ms} ms"),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn horizon(millis: i64) -> String {
    Horizon::from_millis(millis).map_or_else(|| spoken_duration(millis), |h| h.to_string())
}

fn percent(p: f64) -> String {
    let percent = p * 100.0;
    if percent >= 10.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// None for whole numbers; else at most one decimal where it is large, three where it is small.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// With a capital and a full stop.
fn sentence(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
