//! Rules: PromQL expressions that are looked at again and again, and alerts that follow from them.
//!
//! ```text
//! rule file (YAML) ─► Group ─► Evaluator::tick(engine, store, now) ─► recorded series, ALERTS ──► store
//!                                   │  quiet ► pending ► firing ► resolved
//!                                   └─► Transition (durable until acknowledged) ─► notify
//! ```
//!
//! The same evaluation, a function of values, runs unit tests over series that are made up (`unit_test`) and replays rules over
//! history (`replay`). Groups come from files, from the API (`shelf`) and from objectives (`objective`).
//!
//! Rule files are Prometheus' own. There is no clock here: the caller says what time it is, so that simulated time works as well
//! as the wall clock. What is pending or firing lies in the tenant's SQLite file and is committed before a transition is
//! handed out; a transition is handed out again until it is acknowledged, so that none is lost between two files.

mod alert;
mod duration;
mod evaluation;
mod evaluator;
mod file;
mod ledger;
mod made;
mod objective;
mod page;
mod replay;
mod results;
mod sheet;
mod shelf;
mod state;
mod telemetry;
mod template;
#[cfg(test)]
mod tests;
mod trend;
mod unit_test;

pub(crate) use crate::template::humanize;
pub(crate) use alert::fingerprint;
pub use alert::{ActiveAlert, Transition, TransitionKind};
pub use duration::parse as parse_duration;
pub use evaluator::Evaluator;
pub use file::{Group, LoadError, Rule, RuleKind, load, load_file};
pub use objective::{Indicator, Objective, ObjectiveError};
pub use replay::{Episode, Replay, ReplayError, ReplayReport, ReplayedRule, replay};
pub use shelf::{Shelf, ShelfError, Shelved};
pub use state::{AlertState, Hold};
pub use template::{Template, TemplateError};
pub use trend::Trend;
pub use unit_test::{UnitTestError, UnitTestReport, test_file};

/// The rules that hold for every tenant unless it brings its own: score, forecasts, and what no fleet should be without.
pub const DEFAULT_RULES: &str = include_str!("default_rules.yml");

/// The default rules, parsed.
#[must_use]
pub fn default_groups() -> Vec<Group> {
    load(DEFAULT_RULES, "default_rules.yml").expect("the built-in rules are checked by a test")
}
