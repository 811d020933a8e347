//! Samples and outcomes in, calibrated failure probabilities out.
//!
//! ```text
//! telemetry ─► features ─► model ─► calibration ─► score ─► explanation
//!     ▲            ▲          ▲                      │
//!  snapshot    incidents   registry ◄── train ── evaluate
//! ```
//! Everything here is a function of its arguments: no socket, no clock, no unseeded randomness. Time is a number of
//! milliseconds UTC that the caller passes.
//!
//! Invariants:
//! - No example sees past its window: a row at `t` depends on samples and incidents up to `t`, and a test changes
//!   everything after `t` to prove it.
//! - One implementation of features serves training, backtest and live; one row computed alone has the same bits as the
//!   same row within a long run.
//! - A reloaded model gives the same bits, and the same seed gives the same model.
//! - A host is scored only by a model that was trained on it; otherwise it is learning, and says so.
//!
//! ```
//! use foreshock_predict::{Horizon, Probability};
//! let horizon: Horizon = "1h".parse().expect("a horizon");
//! assert_eq!(horizon.to_string(), "1h");
//! assert_eq!(Probability::new(1.5), None);
//! ```

pub mod backtest;
pub mod calibration;
pub mod dataset;
pub mod evaluate;
pub mod features;
pub mod forecast;
pub mod incident;
pub mod live;
pub mod model;
pub mod performance;
pub mod rate;
pub mod registry;
pub mod report;
pub mod series;
pub mod telemetry;
pub mod tidy;
pub mod train;
pub mod window;

mod bits;
mod explain;
mod instruments;
mod rules;
#[cfg(test)]
mod testing;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use evaluate::Evaluation;
pub use incident::{Incident, IncidentBook, Incidents};
pub use live::{HostScore, Round, ScoreState, Scorer};
pub use model::Model;
pub use registry::Registry;
pub use telemetry::Telemetry;
pub use train::{Progress, TrainError, TrainInput, Trained, train};
pub use window::{Grid, Horizon};

/// A number between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

impl Probability {
    /// `value`, if it is one.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// `value` brought into the range; NaN becomes 0.
    #[must_use]
    pub fn clamped(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> Self {
        p.0
    }
}

impl TryFrom<f64> for Probability {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("{value} is no probability"))
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if percent >= 10.0 {
            write!(f, "{percent:.0} %")
        } else {
            write!(f, "{percent:.1} %")
        }
    }
}
