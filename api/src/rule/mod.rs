//! Rules: PromQL expressions that are looked at again and again, and alerts that follow from them.
//!
//! ```text
//! rule file (YAML) ─► Group ─► Evaluator::tick(engine, store, now) ─► recorded series, ALERTS ──► store
//!                                   │  quiet ► pending ► firing ► resolved
//!                                   └─► Transition (durable until acknowledged) ─► notify
//! ```
//!
//! Rule files are Prometheus' own. There is no clock here: the caller says what time it is, so that simulated time works as well
//! as the wall clock. What is pending or firing lies in the tenant's SQLite file and is committed before a transition is
//! handed out; a transition is handed out again until it is acknowledged, so that none is lost between two files.

mod duration;
mod evaluator;
mod file;
mod go;
mod ledger;
mod state;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use evaluator::fingerprint;
pub use evaluator::{ActiveAlert, Evaluator, RuleError, Transition, TransitionKind};
pub use file::{Group, LoadError, Rule, RuleKind, load, load_file};
pub use state::{AlertState, Hold};
pub use template::{Template, TemplateError};

/// The rules that hold for every tenant unless it brings its own: score, forecasts, and what no fleet should be without.
pub const DEFAULT_RULES: &str = include_str!("default_rules.yml");

/// The default rules, parsed.
#[must_use]
pub fn default_groups() -> Vec<Group> {
    load(DEFAULT_RULES, "default_rules.yml").expect("the built-in rules are checked by a test")
}
