//! Objectives of the configuration.

use anyhow::{Result, bail};
use api::rule::{Group, Indicator, Objective};
use serde::Deserialize;

/// Which share of a service's events has to be good.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectiveConfig {
    name: String,
    /// Such as 0.999.
    target: f64,
    #[serde(default = "month")]
    window: String,
    /// A counter of bad events; with `total`.
    errors: Option<String>,
    /// A counter of all events.
    total: Option<String>,
    /// A classic histogram of durations, without `_bucket`; with `under_seconds`.
    latency: Option<String>,
    /// A bound of the histogram: longer is bad.
    under_seconds: Option<f64>,
    /// A gauge that is 1 while all is well, as that of a probe.
    up: Option<String>,
    /// Labels by which it is told apart.
    #[serde(default)]
    by: Vec<String>,
    /// Whether its alerts are incidents that prediction learns from.
    #[serde(default)]
    outcome: bool,
}

fn month() -> String {
    "30d".to_owned()
}

impl ObjectiveConfig {
    /// The objective, where the keys make one.
    pub(crate) fn objective(&self) -> Result<Objective> {
        let indicator = match (&self.errors, &self.total, &self.latency, self.under_seconds, &self.up) {
            (Some(errors), Some(total), None, None, None) => Indicator::Errors {
                errors: errors.clone(),
                total: total.clone(),
            },
            (None, None, Some(histogram), Some(under_seconds), None) => Indicator::Latency {
                histogram: histogram.clone(),
                under_seconds,
            },
            (None, None, None, None, Some(up)) => Indicator::Up { up: up.clone() },
            _ => bail!(
                "objective {:?} needs errors and total, or latency and under_seconds, or up, and only one of these",
                self.name
            ),
        };
        Ok(Objective {
            name: self.name.clone(),
            target: self.target,
            window: self.window.clone(),
            indicator,
            by: self.by.clone(),
            outcome: self.outcome,
        })
    }
}

/// The rules of all objectives.
pub(crate) fn groups(objectives: &[ObjectiveConfig]) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for (at, config) in objectives.iter().enumerate() {
        if objectives[..at].iter().any(|other| other.name == config.name) {
            bail!(
                "two objectives are named {:?}; give each a name of its own",
                config.name
            );
        }
        groups.extend(config.objective()?.groups()?);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The groups of a configuration's objectives, or why there are none.
    fn check(text: &str, expected: &str) {
        let told = match toml::from_str::<Config>(text) {
            Ok(config) => match super::groups(&config.objective) {
                Ok(groups) => {
                    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
                    names.join(" ")
                }
                Err(error) => format!("{error:#}"),
            },
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn an_objective_is_a_few_keys() {
        let shop = "[[objective]]\nname = 'shop'\ntarget = 0.999\n";
        check(
            &format!("{shop}errors = 'bad_total'\ntotal = 'all_total'"),
            "objective-shop objective-shop-budget",
        );
        check(
            &format!("{shop}latency = 'seconds'\nunder_seconds = 0.3\nwindow = '7d'"),
            "objective-shop objective-shop-budget",
        );
        let needs =
            "objective \"shop\" needs errors and total, or latency and under_seconds, or up, and only one of these";
        check(shop, needs);
        check(&format!("{shop}up = 'up'\nerrors = 'bad_total'"), needs);
        check(&format!("{shop}latency = 'seconds'"), needs);
        check(
            &format!("{shop}colour = 'red'"),
            "unknown field `colour`, expected one of `name`, `target`, `window`, `errors`, `total`, `latency`, `under_seconds`, `up`, `by`, `outcome`",
        );
        let up = format!("{shop}up = 'probe_success_ratio'\nby = ['probe_target']\n");
        check(&up, "objective-shop objective-shop-budget");
        check(
            &format!("{up}outcome = true\n"),
            "objective \"shop\": outcome: `by` has to hold a label that names a host, such as host or instance",
        );
        check(
            &format!(
                "{}outcome = true\n",
                up.replace("'probe_target'", "'probe_target', 'host'")
            ),
            "objective-shop objective-shop-budget",
        );
        check(
            &format!("{up}{up}"),
            "two objectives are named \"shop\"; give each a name of its own",
        );
        check(
            &up.replace("0.999", "99.9"),
            "objective \"shop\": target 99.9 is no share between 0 and 1, such as 0.999",
        );
    }
}
