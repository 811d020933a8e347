//! `info()`: adds the data labels of info metrics, such as `target_info`, to series of the same identity.

use std::collections::{BTreeMap, HashMap};

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::labels::{self, Keep};
use super::super::plan::{Node, Select};
use super::super::select::Yield;
use super::super::vector::{ABSENT, Shape, Table, is_absent};
use crate::{Labels, METRIC_NAME, MatchOp, Matcher};

/// The labels by which a series and its info series are known to belong together.
const IDENTITY: [&str; 2] = ["instance", "job"];

impl<'a> Env<'a> {
    pub(super) fn info(
        &'a self,
        vector: &'a Node,
        selector: Option<&'a Node>,
        grid: Grid,
    ) -> Result<Table, QueryError> {
        let wanted = match selector.map(bare) {
            Some(Node::Select(select)) => select.matchers.as_slice(),
            _ => &[],
        };
        let mut base = self.table(vector, grid)?;
        base.settle_names();
        let is_info = |labels: &Labels| {
            wanted
                .iter()
                .filter(|m| m.name == METRIC_NAME)
                .all(|m| m.matches(labels.metric()))
        };
        let by_name: Vec<&Matcher> = wanted.iter().filter(|m| m.name == METRIC_NAME).collect();
        let data: Vec<&Matcher> = wanted.iter().filter(|m| m.name != METRIC_NAME).collect();

        let mut matchers: Vec<Matcher> = by_name.iter().map(|m| (*m).clone()).collect();
        if matchers.is_empty() {
            matchers.push(Matcher::eq(METRIC_NAME, "target_info"));
        }
        let select = Select {
            matchers,
            at_ms: None,
            offset_ms: 0,
        };
        let times = self.select(&select, grid, Yield::Seconds)?;
        let identity = IDENTITY.map(str::to_owned);
        let mut known: HashMap<Vec<u8>, Vec<(Labels, Vec<f64>)>> = HashMap::new();
        let mut held = self.budget.hold(0)?;
        let mut key = Vec::new();
        times.stream(|row, values| {
            held.grow(values.len())?;
            Keep::Only(&identity).project(&times.labels[row], false, &mut key);
            known
                .entry(key.clone())
                .or_default()
                .push((times.labels[row].clone(), values.to_vec()));
            Ok(())
        })?;

        let mut out = Table::new(
            &self.budget,
            Shape {
                steps: grid.count,
                nameless: false,
                one_name: false,
            },
        )?;
        for row in 0..base.rows() {
            self.deadline.check()?;
            let own = &base.labels[row];
            if !by_name.is_empty() && is_info(own) {
                out.push(own.clone(), base.row(row))?;
                continue;
            }
            Keep::Only(&identity).project(own, false, &mut key);
            let candidates = known.get(&key).map_or(&[][..], Vec::as_slice);
            let mut enriched: HashMap<Labels, Vec<f64>> = HashMap::new();
            for (step, &value) in base.row(row).iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let Some(labels) = enrich(own, candidates, step, &data)? else {
                    continue;
                };
                enriched.entry(labels).or_insert_with(|| vec![ABSENT; grid.count])[step] = value;
            }
            for (labels, values) in enriched {
                out.push(labels, &values)?;
            }
        }
        out.join_same_labels()?;
        Ok(out)
    }
}

fn bare(node: &Node) -> &Node {
    match node {
        Node::Constant(inner) => bare(inner),
        other => other,
    }
}

/// The labels of a series with those of its info series at one step, `None` where a wanted label is missing.
fn enrich(
    own: &Labels,
    candidates: &[(Labels, Vec<f64>)],
    step: usize,
    data: &[&Matcher],
) -> Result<Option<Labels>, QueryError> {
    // Of several info series of one metric the one written last holds.
    let mut latest: BTreeMap<&str, (&Labels, f64)> = BTreeMap::new();
    for (labels, times) in candidates.iter().filter(|(_, times)| !is_absent(times[step])) {
        let entry = latest.entry(labels.metric()).or_insert((labels, times[step]));
        if times[step] > entry.1 {
            *entry = (labels, times[step]);
        } else if times[step] == entry.1 && entry.0 != labels {
            return Err(QueryError::execution(format!(
                "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                labels::go_string(entry.0),
                (entry.1 * 1000.0) as i64,
                labels::go_string(labels),
                (times[step] * 1000.0) as i64,
            )));
        }
    }
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for (labels, _) in latest.values() {
        for (name, value) in labels
            .iter()
            .filter(|(name, _)| *name != METRIC_NAME && own.get(name).is_none())
        {
            if !data.is_empty() && !data.iter().any(|m| m.name == name) {
                continue;
            }
            if added.insert(name, value).is_some_and(|before| before != value) {
                return Err(QueryError::execution(format!("conflicting label: {name}")));
            }
        }
    }
    for matcher in data {
        let value = added.get(matcher.name.as_str()).copied().unwrap_or("");
        if !matcher.matches(value) {
            let required = matcher.op == MatchOp::Eq || !matcher.matches("");
            if required && !value.is_empty() || !matcher.matches("") && value.is_empty() {
                return Ok(None);
            }
        }
    }
    Ok(Some(Labels::from_pairs(own.iter().chain(added))))
}
