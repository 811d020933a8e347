//! Which series rules write, and whether an expression may read them.

use std::collections::HashSet;

use store::promql::selectors;
use store::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::file::{Rule, RuleKind};

/// What a set of rules writes.
#[derive(Debug, Default)]
pub(super) struct Made {
    records: HashSet<String>,
    alerts: HashSet<String>,
}

impl Made {
    pub(super) fn by<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Self {
        let mut made = Self::default();
        for rule in rules {
            made.add(rule);
        }
        made
    }

    fn add(&mut self, rule: &Rule) {
        let names = match rule.kind {
            RuleKind::Record => &mut self.records,
            RuleKind::Alert { .. } => &mut self.alerts,
        };
        names.insert(rule.name.clone());
    }

    /// Whether they write nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.alerts.is_empty()
    }

    /// Whether a series with these labels is theirs.
    pub(super) fn has(&self, labels: &Labels) -> bool {
        match labels.metric() {
            "ALERTS" | "ALERTS_FOR_STATE" => labels.get("alertname").is_some_and(|name| self.alerts.contains(name)),
            name => self.records.contains(name),
        }
    }

    /// Whether a selector may pick series of theirs.
    pub(super) fn may_meet(&self, matchers: &[Matcher]) -> bool {
        let is = |name: &str, value: &str| matchers.iter().filter(|m| m.name == name).all(|m| m.matches(value));
        let named = |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Eq;
        let record = match matchers.iter().find(named) {
            Some(matcher) => self.records.contains(&matcher.value),
            None => self.records.iter().any(|name| is(METRIC_NAME, name)),
        };
        let about_alerts = || is(METRIC_NAME, "ALERTS") || is(METRIC_NAME, "ALERTS_FOR_STATE");
        record || (about_alerts() && self.alerts.iter().any(|name| is("alertname", name)))
    }
}

/// For each rule of a group whether what the recording rules before it yielded has to be written first, because it may read some
/// of it. Everything else may be written at once at the end.
pub(super) fn reads_before(rules: &[Rule]) -> Vec<bool> {
    let mut unwritten = Made::default();
    let mut reads = Vec::with_capacity(rules.len());
    for rule in rules {
        let found = selectors(&rule.expr).unwrap_or_default();
        // Two that record the same metric may mean the same series: the later one has the last word.
        let records_again = matches!(rule.kind, RuleKind::Record) && unwritten.records.contains(&rule.name);
        let is_reader = records_again || found.iter().any(|matchers| unwritten.may_meet(matchers));
        if is_reader {
            unwritten = Made::default();
        }
        if matches!(rule.kind, RuleKind::Record) {
            unwritten.add(rule);
        }
        reads.push(is_reader);
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::reads_before;
    use crate::rule::load;

    /// Places of the rules before which something has to be written.
    fn check(rules: &str, expected: &[usize]) {
        let groups = load(&format!("groups: [{{name: g, rules: [{rules}]}}]"), "test.yml").expect("rules");
        let reads = reads_before(&groups[0].rules);
        let places: Vec<usize> = (0..reads.len()).filter(|at| reads[*at]).collect();
        assert_eq!(places, expected, "{rules}");
    }

    #[test]
    fn what_is_recorded_is_written_before_the_first_who_may_read_it() {
        check("{record: a, expr: x}, {record: b, expr: y}, {alert: C, expr: z}", &[]);
        check(
            "{record: a, expr: x}, {record: b, expr: y}, {alert: C, expr: 'a > 1'}",
            &[2],
        );
        check(
            "{record: a, expr: x}, {record: b, expr: a}, {record: c, expr: a}, {record: d, expr: b}",
            &[1, 3],
        );
        check(
            "{record: a, expr: a}, {record: b, expr: '{__name__=~\"a.*\"}'}, {record: c, expr: '{job=\"x\"}'}",
            &[1, 2],
        );
        check("{record: a, expr: x}, {record: b, expr: x}, {record: a, expr: y}", &[2]);
        // What alerts write is written at the group's end in any case.
        check("{alert: A, expr: x}, {alert: B, expr: 'ALERTS{alertname=\"A\"}'}", &[]);
    }
}
