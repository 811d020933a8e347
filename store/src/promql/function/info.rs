//! `info()`: adds the data labels of info metrics, such as `target_info`, to series of the same identity.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::labels::Keep;
use super::super::plan::{Node, Select};
use super::super::select::Yield;
use super::super::vector::{ABSENT, Shape, Table, is_absent};
use crate::{Labels, METRIC_NAME, Matcher};

/// The labels by which a series and its info series are known to belong together.
const IDENTITY: [&str; 2] = ["instance", "job"];

/// What a call wants to know: of which info metrics, and which of their labels.
struct Wanted<'m> {
    names: Vec<&'m Matcher>,
    data: Vec<&'m Matcher>,
}

/// Info series of one identity, by metric: labels, and at each step the time of their sample in seconds.
type OfIdentity = BTreeMap<String, Vec<(Labels, Vec<f64>)>>;

/// Info series, by identity.
type Known = HashMap<Vec<u8>, OfIdentity>;

impl<'a> Env<'a> {
    pub(super) fn info(
        &'a self,
        vector: &'a Node,
        selector: Option<&'a Node>,
        grid: Grid,
    ) -> Result<Table, QueryError> {
        let matchers = match selector.map(bare) {
            Some(Node::Select(select)) => select.matchers.as_slice(),
            _ => &[],
        };
        let (names, data) = matchers.iter().partition(|m| m.name == METRIC_NAME);
        let wanted = Wanted { names, data };
        let mut base = self.table(vector, grid)?;
        base.settle_names();
        // An info metric itself is left as it is.
        let is_info = |labels: &Labels| match selector {
            Some(_) => wanted.names.iter().any(|m| m.matches(labels.metric())),
            None => labels.metric() == "target_info",
        };
        let enriched: Vec<bool> = base.labels.iter().map(|labels| !is_info(labels)).collect();
        let known = self.info_series(&base, &enriched, &wanted, grid)?;

        let mut out = Table::new(
            &self.budget,
            Shape {
                steps: grid.count,
                nameless: false,
                one_name: false,
            },
        )?;
        let identity = IDENTITY.map(str::to_owned);
        let mut key = Vec::new();
        for (row, &enriched) in enriched.iter().enumerate() {
            self.deadline.check()?;
            let own = &base.labels[row];
            if !enriched {
                out.push_with(own.clone(), base.row(row), base.cells(row))?;
                continue;
            }
            Keep::Only(&identity).project(own, false, &mut key);
            let metrics = known.get(&key);
            let mut rows: HashMap<Labels, Vec<f64>> = HashMap::new();
            for (step, &value) in base.row(row).iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                if let Some(labels) = with_info(own, metrics, step, &wanted.data)? {
                    rows.entry(labels).or_insert_with(|| vec![ABSENT; grid.count])[step] = value;
                }
            }
            for (labels, values) in rows {
                out.push_with(labels, &values, base.cells(row))?;
            }
        }
        out.join_same_labels()?;
        Ok(out)
    }

    /// The info series that may belong to rows of `base`.
    fn info_series(
        &self,
        base: &Table,
        enriched: &[bool],
        wanted: &Wanted<'_>,
        grid: Grid,
    ) -> Result<Known, QueryError> {
        let mut known = Known::new();
        let rows = base.labels.iter().zip(enriched).filter(|(_, enriched)| **enriched);
        let mut values: [HashSet<&str>; IDENTITY.len()] = Default::default();
        for (labels, _) in rows {
            for (values, name) in values.iter_mut().zip(IDENTITY) {
                values.extend(labels.get(name));
            }
        }
        if values.iter().all(HashSet::is_empty) {
            return Ok(known);
        }
        let mut matchers: Vec<Matcher> = wanted.names.iter().chain(&wanted.data).map(|m| (*m).clone()).collect();
        if wanted.names.is_empty() {
            matchers.push(Matcher::eq(METRIC_NAME, "target_info"));
        }
        let select = Select {
            matchers,
            at_ms: None,
            offset_ms: 0,
            statistics: false,
        };
        let times = self.select(&select, grid, Yield::Seconds)?;
        let mut held = self.budget.hold(0)?;
        let identity = IDENTITY.map(str::to_owned);
        let mut key = Vec::new();
        times.stream(|row, seconds, _| {
            let labels = &times.labels[row];
            let belongs = |(values, name): (&HashSet<&str>, &str)| {
                values.is_empty() || labels.get(name).is_some_and(|value| values.contains(value))
            };
            if !values.iter().zip(IDENTITY).all(belongs) {
                return Ok(());
            }
            held.grow(seconds.len())?;
            Keep::Only(&identity).project(labels, false, &mut key);
            let series = known
                .entry(key.clone())
                .or_default()
                .entry(labels.metric().to_owned())
                .or_default();
            for (_, other) in series.iter() {
                if other.iter().zip(seconds).any(|(a, b)| !is_absent(*a) && a == b) {
                    return Err(QueryError::execution(format!(
                        "found duplicate series for info metric {}",
                        labels.metric()
                    )));
                }
            }
            series.push((labels.clone(), seconds.to_vec()));
            Ok(())
        })?;
        Ok(known)
    }
}

fn bare(node: &Node) -> &Node {
    match node {
        Node::Constant(inner) => bare(inner),
        other => other,
    }
}

/// The labels of a series with those of its info series at one step; `None` where a label that has to be there is not.
fn with_info(
    own: &Labels,
    metrics: Option<&OfIdentity>,
    step: usize,
    data: &[&Matcher],
) -> Result<Option<Labels>, QueryError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for series in metrics.into_iter().flat_map(BTreeMap::values) {
        // Of several series of one info metric the one written last holds.
        let present = series.iter().filter(|(_, seconds)| !is_absent(seconds[step]));
        let Some((labels, _)) = present.max_by(|a, b| a.1[step].total_cmp(&b.1[step])) else {
            continue;
        };
        for (name, value) in labels {
            if name == METRIC_NAME || !(data.is_empty() || data.iter().any(|m| m.name == name)) {
                continue;
            }
            if added.get(name).is_some_and(|before| *before != value) {
                return Err(QueryError::execution(format!("conflicting label: {name}")));
            }
            if own.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    if added.is_empty() && data.iter().any(|m| !m.matches("")) {
        return Ok(None);
    }
    Ok(Some(Labels::from_pairs(own.iter().chain(added))))
}
