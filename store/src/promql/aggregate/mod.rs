//! Aggregations: rows stream into one accumulator a group and step.

mod heap;
mod histograms;
mod ranked;

use std::collections::HashMap;

use super::error::QueryError;
use super::evaluate::Env;
use super::grid::Grid;
use super::labels::{self, Keep};
use super::number::{self, Mean, Sum};
use super::plan::{Aggregate, AggregateOp, Node};
use super::scalar::Scalar;
use super::vector::{Shape, Table, Vector, histogram_at, is_absent, is_histogram};
use crate::Labels;
use histograms::Gathered;

/// Which group each row belongs to.
struct Groups {
    of_row: Vec<usize>,
    labels: Vec<Labels>,
}

impl<'a> Env<'a> {
    pub(super) fn aggregate(&'a self, aggregate: &'a Aggregate, grid: Grid) -> Result<Table, QueryError> {
        match aggregate.op {
            AggregateOp::CountValues => return self.count_values(aggregate, grid),
            AggregateOp::Quantile => return self.quantile(aggregate, grid),
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                return self.ranked(aggregate, grid);
            }
            _ => {}
        }
        let vector = self.vector(&aggregate.node, grid)?;
        let groups = Groups::of(aggregate, vector.labels(), vector.shape().nameless);
        let histograms = Gathered::of(aggregate, groups.labels.len(), grid);
        match aggregate.op {
            AggregateOp::Sum => self.folded::<Option<Sum>>(&vector, &groups, grid, histograms),
            AggregateOp::Avg => self.folded::<Option<Mean>>(&vector, &groups, grid, histograms),
            AggregateOp::Min => self.folded::<Min>(&vector, &groups, grid, histograms),
            AggregateOp::Max => self.folded::<Max>(&vector, &groups, grid, histograms),
            AggregateOp::Count => self.folded::<Count>(&vector, &groups, grid, histograms),
            AggregateOp::Group => self.folded::<Present>(&vector, &groups, grid, histograms),
            AggregateOp::Stdvar => self.folded::<Variance<false>>(&vector, &groups, grid, histograms),
            _ => self.folded::<Variance<true>>(&vector, &groups, grid, histograms),
        }
    }

    fn folded<F: Fold>(
        &self,
        vector: &Vector<'_>,
        groups: &Groups,
        grid: Grid,
        mut histograms: Gathered<'_>,
    ) -> Result<Table, QueryError> {
        let count = groups.labels.len();
        let cells = count.saturating_mul(grid.count);
        let _held = self
            .budget
            .hold(cells.saturating_mul(size_of::<F>().div_ceil(size_of::<f64>())))?;
        let mut folds = vec![F::default(); cells];
        vector.stream(|row, values, cells| {
            let group = groups.of_row[row];
            let folds = &mut folds[group * grid.count..(group + 1) * grid.count];
            if cells.is_empty() {
                for (fold, &value) in folds.iter_mut().zip(values) {
                    if !is_absent(value) {
                        fold.add(value);
                    }
                }
                return Ok(());
            }
            for (step, (fold, &value)) in folds.iter_mut().zip(values).enumerate() {
                match histogram_at(values, cells, step) {
                    Some(histogram) => {
                        let metric = vector.labels()[row].metric();
                        if histograms.add(group * grid.count + step, histogram, metric, &self.notes) {
                            fold.add(value);
                        }
                    }
                    None if !is_absent(value) => fold.add(value),
                    None => {}
                }
            }
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
        for (group, (labels, folds)) in groups.labels.iter().zip(folds.chunks(grid.count.max(1))).enumerate() {
            let mut values: Vec<f64> = folds
                .iter()
                .map(|fold| fold.value().unwrap_or(super::vector::ABSENT))
                .collect();
            let cells = histograms.finish(group * grid.count, &mut values, &self.notes);
            if !values.iter().all(|&v| is_absent(v)) {
                out.push_with(labels.clone(), &values, &cells)?;
            }
        }
        Ok(out)
    }

    fn quantile(&'a self, aggregate: &'a Aggregate, grid: Grid) -> Result<Table, QueryError> {
        let q = self.parameter(aggregate, grid)?;
        let (min, max) = extremes(&q);
        let nan = q.iter().any(|q| q.is_nan()).then_some(f64::NAN);
        for q in [nan, (max > 1.0).then_some(max), (min < 0.0).then_some(min)]
            .into_iter()
            .flatten()
        {
            self.notes.quantile(q, aggregate.param_place);
        }
        let mut table = self.table(&aggregate.node, grid)?;
        self.leave_numbers(aggregate, &mut table);
        let groups = Groups::of(aggregate, &table.labels, table.shape.nameless);
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); groups.labels.len()];
        groups
            .of_row
            .iter()
            .enumerate()
            .for_each(|(row, &group)| rows[group].push(row));
        let mut out = Table::new(
            &self.budget,
            Shape {
                steps: grid.count,
                nameless: false,
                one_name: false,
            },
        )?;
        let mut values = Vec::new();
        for (labels, rows) in groups.labels.iter().zip(rows) {
            self.deadline.check()?;
            let target = out.push_absent(labels.clone())?;
            for (step, target) in target.iter_mut().enumerate() {
                values.clear();
                values.extend(
                    rows.iter()
                        .map(|&row| table.values[row * grid.count + step])
                        .filter(|v| !is_absent(*v)),
                );
                if !values.is_empty() {
                    *target = number::quantile(q[step], &mut values);
                }
            }
        }
        out.compact();
        Ok(out)
    }

    fn count_values(&'a self, aggregate: &'a Aggregate, grid: Grid) -> Result<Table, QueryError> {
        let Some(Node::Text(label)) = &aggregate.param else {
            return Err(QueryError::execution("expected a string"));
        };
        if label.is_empty() {
            return Err(QueryError::execution(format!("invalid label name {label:?}")));
        }
        let mut names = aggregate.labels.clone();
        if !aggregate.without {
            names.push(label.clone());
            names.sort_unstable();
        }
        let keep = if aggregate.without {
            Keep::Without(&names)
        } else {
            Keep::Only(&names)
        };
        let mut table = self.table(&aggregate.node, grid)?;
        table.settle_names();
        let mut out = Table::new(
            &self.budget,
            Shape {
                steps: grid.count,
                nameless: false,
                one_name: false,
            },
        )?;
        let mut rows: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut texts: HashMap<u64, String> = HashMap::new();
        let mut key = Vec::new();
        for row in 0..table.rows() {
            self.deadline.check()?;
            // Values tend to repeat from step to step.
            let mut before: Option<(u64, usize)> = None;
            for step in 0..grid.count {
                let value = table.row(row)[step];
                if is_absent(value) {
                    continue;
                }
                let target = match before {
                    Some((bits, target)) if bits == value.to_bits() && !is_histogram(value) => target,
                    _ => {
                        let own = table.histogram(row, step).map(|h| super::native::text(h));
                        let text = match &own {
                            Some(text) => text,
                            None => texts.entry(value.to_bits()).or_insert_with(|| number::plain(value)),
                        };
                        keep.project(&labels::with(&table.labels[row], label, text), false, &mut key);
                        match rows.get(&key) {
                            Some(&target) => target,
                            None => {
                                out.push_absent(labels::from_projected(&key))?;
                                rows.insert(key.clone(), out.rows() - 1);
                                out.rows() - 1
                            }
                        }
                    }
                };
                before = Some((value.to_bits(), target));
                let count = &mut out.row_mut(target)[step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
        out.join_same_labels()?;
        Ok(out)
    }

    /// The parameter at each step.
    fn parameter(&self, aggregate: &Aggregate, grid: Grid) -> Result<Scalar, QueryError> {
        match &aggregate.param {
            Some(node) => self.scalar(node, grid),
            None => Err(QueryError::execution("aggregation without its parameter")),
        }
    }
}

impl Groups {
    fn of(aggregate: &Aggregate, labels: &[Labels], nameless: bool) -> Self {
        let keep = if aggregate.without {
            Keep::Without(&aggregate.labels)
        } else {
            Keep::Only(&aggregate.labels)
        };
        let mut groups = Self {
            of_row: Vec::with_capacity(labels.len()),
            labels: Vec::new(),
        };
        if matches!(keep, Keep::Only([])) {
            if !labels.is_empty() {
                groups.labels.push(Labels::empty());
            }
            groups.of_row.resize(labels.len(), 0);
            return groups;
        }
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();
        for row in labels {
            keep.project(row, nameless, &mut key);
            let group = match known.get(&key) {
                Some(&group) => group,
                None => {
                    groups.labels.push(labels::from_projected(&key));
                    known.insert(key.clone(), groups.labels.len() - 1);
                    groups.labels.len() - 1
                }
            };
            groups.of_row.push(group);
        }
        groups
    }
}

/// The least and the greatest value of a parameter; NaN makes both NaN.
fn extremes(params: &[f64]) -> (f64, f64) {
    params.iter().fold((f64::MAX, f64::MIN), |(min, max), &v| {
        (number::go_min(min, v), number::go_max(max, v))
    })
}

/// What an aggregation remembers of the values of one group at one step.
trait Fold: Default + Clone {
    fn add(&mut self, value: f64);
    fn value(&self) -> Option<f64>;
}

impl Fold for Option<Sum> {
    #[inline]
    fn add(&mut self, value: f64) {
        match self {
            Some(sum) => sum.add(value),
            None => *self = Some(Sum::new(value)),
        }
    }

    fn value(&self) -> Option<f64> {
        self.map(Sum::value)
    }
}

impl Fold for Option<Mean> {
    #[inline]
    fn add(&mut self, value: f64) {
        match self {
            Some(mean) => mean.add(value),
            None => *self = Some(Mean::new(value)),
        }
    }

    fn value(&self) -> Option<f64> {
        self.map(Mean::value)
    }
}

#[derive(Clone, Default)]
struct Min(Option<f64>);

impl Fold for Min {
    #[inline]
    fn add(&mut self, value: f64) {
        if self.0.is_none_or(|min| min > value || min.is_nan()) {
            self.0 = Some(value);
        }
    }

    fn value(&self) -> Option<f64> {
        self.0
    }
}

#[derive(Clone, Default)]
struct Max(Option<f64>);

impl Fold for Max {
    #[inline]
    fn add(&mut self, value: f64) {
        if self.0.is_none_or(|max| max < value || max.is_nan()) {
            self.0 = Some(value);
        }
    }

    fn value(&self) -> Option<f64> {
        self.0
    }
}

#[derive(Clone, Default)]
struct Count(u32);

impl Fold for Count {
    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.0 > 0).then(|| f64::from(self.0))
    }
}

#[derive(Clone, Default)]
struct Present(bool);

impl Fold for Present {
    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 = true;
    }

    fn value(&self) -> Option<f64> {
        self.0.then_some(1.0)
    }
}

/// Welford's variance; its root where `ROOT`.
#[derive(Clone, Default)]
struct Variance<const ROOT: bool> {
    count: f64,
    mean: f64,
    squares: f64,
}

impl<const ROOT: bool> Fold for Variance<ROOT> {
    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn value(&self) -> Option<f64> {
        let variance = self.squares / self.count;
        (self.count > 0.0).then_some(if ROOT { variance.sqrt() } else { variance })
    }
}
