//! Groups and rules with their alerts, for pages and answers.

use std::collections::BTreeMap;

use store::Labels;

use super::alert::ActiveAlert;
use super::evaluation::{RuleHealth, RuleRun};
use super::evaluator::GroupRun;
use super::file::{Rule, RuleKind};
use super::state::AlertState;
use super::template::Template;
use crate::board::{self, RuleGroup, RuleStatus};

impl GroupRun {
    pub(super) fn page(&self) -> RuleGroup {
        RuleGroup {
            name: self.group.name.clone(),
            file: self.group.file.clone(),
            interval_seconds: self.group.interval_ms as f64 / 1000.0,
            last_evaluation_ms: self.evaluated_ms,
            evaluation_seconds: self.seconds,
            rules: self
                .group
                .rules
                .iter()
                .zip(&self.rules)
                .map(|(rule, run)| rule_page(rule, run))
                .collect(),
        }
    }
}

fn rule_page(rule: &Rule, run: &RuleRun) -> RuleStatus {
    let texts = |texts: &[(String, Template)]| {
        texts
            .iter()
            .map(|(name, text)| (name.clone(), text.source().to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let (hold, annotations) = match &rule.kind {
        RuleKind::Alert { hold, annotations } => (Some(*hold), texts(annotations)),
        RuleKind::Record => (None, BTreeMap::new()),
    };
    RuleStatus {
        name: rule.name.clone(),
        query: rule.expr.clone(),
        hold_seconds: hold.map(|hold| hold.for_ms as f64 / 1000.0),
        keep_firing_seconds: hold.map_or(0.0, |hold| hold.keep_firing_ms as f64 / 1000.0),
        labels: texts(&rule.labels),
        annotations,
        error: match &run.health {
            RuleHealth::Failed(problem) => Some(problem.clone()),
            RuleHealth::Unknown | RuleHealth::Ok => None,
        },
        alerts: run.alerts.values().chain(&run.ended).map(alert_page).collect(),
    }
}

fn alert_page(alert: &ActiveAlert) -> board::ActiveAlert {
    let (state, active_at_ms, fired_at_ms, resolved_at_ms) = match alert.state {
        AlertState::Quiet => (board::AlertState::Resolved, 0, None, None),
        AlertState::Pending { since_ms } => (board::AlertState::Pending, since_ms, None, None),
        AlertState::Firing { since_ms, fired_ms, .. } => (board::AlertState::Firing, since_ms, Some(fired_ms), None),
        AlertState::Resolved {
            since_ms,
            fired_ms,
            resolved_ms,
        } => (board::AlertState::Resolved, since_ms, Some(fired_ms), Some(resolved_ms)),
    };
    board::ActiveAlert {
        labels: Labels::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        annotations: alert.annotations.clone(),
        state,
        active_at_ms,
        fired_at_ms,
        resolved_at_ms,
        value: alert.value,
    }
}
