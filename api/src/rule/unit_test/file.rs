//! The files of promtool's rule tests, read as they are.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::rule::duration;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(default)]
    pub(super) rule_files: Vec<String>,
    #[serde(default)]
    evaluation_interval: Span,
    #[serde(default)]
    pub(super) group_eval_order: Vec<String>,
    #[serde(default)]
    pub(super) tests: Vec<TestGroup>,
    #[serde(default)]
    pub(super) fuzzy_compare: bool,
}

impl TestFile {
    /// A minute unless it says otherwise.
    pub(super) fn evaluation_interval_ms(&self) -> i64 {
        match self.evaluation_interval.ms {
            0 => 60_000,
            ms => ms,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestGroup {
    #[serde(default)]
    pub(super) interval: Span,
    #[serde(default)]
    pub(super) input_series: Vec<InputSeries>,
    #[serde(default)]
    pub(super) alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    pub(super) promql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    pub(super) external_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) external_url: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    #[serde(default)]
    pub(super) series: String,
    #[serde(default)]
    pub(super) values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertTest {
    #[serde(default)]
    pub(super) eval_time: Span,
    #[serde(default)]
    pub(super) alertname: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) exp_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExprTest {
    #[serde(default)]
    pub(super) expr: String,
    #[serde(default)]
    pub(super) eval_time: Span,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedSample {
    #[serde(default)]
    pub(super) labels: String,
    #[serde(default)]
    pub(super) value: f64,
    /// As it is written in series; empty for a number.
    #[serde(default)]
    pub(super) histogram: String,
}

/// A span of time, with its text.
#[derive(Debug, Clone, Default)]
pub(super) struct Span {
    pub(super) ms: i64,
    pub(super) text: String,
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match duration::parse(&text) {
            Some(ms) => Ok(Self { ms, text }),
            None => Err(D::Error::custom(format!("{text:?} is no duration like 30s or 5m"))),
        }
    }
}

/// `exp_alerts:` with nothing after it means none.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
