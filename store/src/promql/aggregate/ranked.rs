//! Aggregations that pick series: topk, bottomk, limitk, limit_ratio.

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::number;
use super::super::plan::{Aggregate, AggregateOp};
use super::super::vector::{ABSENT, Table, is_absent};
use super::heap::Heap;
use super::{Groups, extremes};

type Ranked = (f64, usize);

impl<'a> Env<'a> {
    pub(super) fn ranked(&'a self, aggregate: &'a Aggregate, grid: Grid) -> Result<Table, QueryError> {
        let params = self.parameter(aggregate, grid)?;
        let mut table = self.table(&aggregate.node, grid)?;
        if matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk) {
            self.leave_numbers(aggregate, &mut table);
        }
        let groups = Groups::of(aggregate, &table.labels, table.shape.nameless);
        if aggregate.op == AggregateOp::LimitRatio {
            self.limit_ratio(aggregate, &params, &mut table)?;
            table.compact();
            return Ok(table);
        }
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); groups.labels.len()];
        groups
            .of_row
            .iter()
            .enumerate()
            .for_each(|(row, &group)| rows[group].push(row));
        let limits = if params.iter().fold(f64::MIN, |max, &k| number::go_max(max, k)) < 1.0 {
            vec![0; params.len()]
        } else {
            limits(&params, &table)?
        };
        if grid.is_instant() {
            return self.picked_in_order(aggregate.op, &table, &rows, limits[0]);
        }
        // The step at which a row was last picked, plus one.
        let mut picked_at = vec![0; table.rows()];
        for rows in &rows {
            self.deadline.check()?;
            for (step, &limit) in limits.iter().enumerate() {
                for row in pick(aggregate.op, rows, limit, |row| table.values[row * grid.count + step]) {
                    picked_at[row] = step + 1;
                }
                for &row in rows.iter().filter(|&&row| picked_at[row] != step + 1) {
                    table.values[row * grid.count + step] = ABSENT;
                }
            }
        }
        table.compact();
        Ok(table)
    }

    /// The picked series of an instant, best first, group by group.
    fn picked_in_order(
        &self,
        op: AggregateOp,
        table: &Table,
        rows: &[Vec<usize>],
        limit: usize,
    ) -> Result<Table, QueryError> {
        let mut out = Table::new(&self.budget, table.shape)?;
        for rows in rows {
            for row in pick(op, rows, limit, |row| table.values[row]) {
                out.push_with(table.labels[row].clone(), table.row(row), table.cells(row))?;
            }
        }
        Ok(out)
    }

    /// Keeps the share of series whose hashed labels fall under the ratio, or the rest where it is negative.
    fn limit_ratio(&self, aggregate: &Aggregate, ratios: &[f64], table: &mut Table) -> Result<(), QueryError> {
        let (min, max) = extremes(ratios);
        if (min, max) == (0.0, 0.0) {
            table.values.fill(ABSENT);
            return Ok(());
        }
        for ratio in [(max > 1.0).then_some(max), (min < -1.0).then_some(min)]
            .into_iter()
            .flatten()
        {
            self.notes.ratio(ratio, ratio.clamp(-1.0, 1.0), aggregate.param_place);
        }
        for (step, _) in ratios.iter().enumerate().filter(|(_, ratio)| ratio.is_nan()) {
            if has_values(table, step) {
                return Err(QueryError::execution("Ratio value NaN is NaN"));
            }
        }
        for row in 0..table.rows() {
            let offset = prometheus_hash(&table.labels_of(row)) as f64 / u64::MAX as f64;
            for (value, ratio) in table.row_mut(row).iter_mut().zip(ratios) {
                let ratio = ratio.clamp(-1.0, 1.0);
                let kept = ratio != 0.0
                    && if ratio >= 0.0 {
                        offset < ratio
                    } else {
                        offset >= 1.0 + ratio
                    };
                if !kept {
                    *value = ABSENT;
                }
            }
        }
        Ok(())
    }
}

/// How many series each step keeps; what is no count matters only where there is something to keep.
fn limits(params: &[f64], table: &Table) -> Result<Vec<usize>, QueryError> {
    let mut limits = Vec::with_capacity(params.len());
    for (step, &k) in params.iter().enumerate() {
        // The numbers that Go can convert to an int64.
        let countable = (-9_223_372_036_854_775_808.0..=9_223_372_036_854_774_784.0).contains(&k);
        if !countable && has_values(table, step) {
            return Err(QueryError::execution(format!(
                "Scalar value {} overflows int64",
                number::general(k)
            )));
        }
        limits.push(if k >= 1.0 { k as usize } else { 0 });
    }
    Ok(limits)
}

fn has_values(table: &Table, step: usize) -> bool {
    (0..table.rows()).any(|row| !is_absent(table.row(row)[step]))
}

/// The rows that remain of a group at one step, best first.
fn pick(op: AggregateOp, rows: &[usize], limit: usize, value: impl Fn(usize) -> f64) -> Vec<usize> {
    let present = rows
        .iter()
        .map(|&row| (value(row), row))
        .filter(|(v, _)| !is_absent(*v));
    if limit == 0 {
        return Vec::new();
    }
    match op {
        AggregateOp::Topk => ranked(present, limit, |a, b| a < b),
        AggregateOp::Bottomk => ranked(present, limit, |a, b| a > b),
        _ => present.take(limit).map(|(_, row)| row).collect(),
    }
}

/// The `limit` elements that come last by `worse`, in Prometheus' order; NaN counts as worst.
fn ranked(present: impl Iterator<Item = Ranked>, limit: usize, worse: fn(f64, f64) -> bool) -> Vec<usize> {
    let mut heap = Heap::new(move |a: &Ranked, b: &Ranked| a.0.is_nan() || worse(a.0, b.0));
    for item in present {
        if heap.len() < limit {
            heap.push(item);
        } else if heap
            .first()
            .is_some_and(|first| worse(first.0, item.0) || (first.0.is_nan() && !item.0.is_nan()))
        {
            heap.replace_first(item);
        }
    }
    heap.into_descending().into_iter().map(|(_, row)| row).collect()
}

/// The hash that Prometheus gives labels: xxHash64 of lengths and bytes of names and values.
fn prometheus_hash(labels: &crate::Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len());
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(length @ 0..=254) => bytes.push(length),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes)
}

/// xxHash64 with seed 0, by its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
fn xxh64(input: &[u8]) -> u64 {
    const P1: u64 = 0x9E37_79B1_85EB_CA87;
    const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
    const P3: u64 = 0x1656_67B1_9E37_79F9;
    const P4: u64 = 0x85EB_CA77_C2B2_AE63;
    const P5: u64 = 0x27D4_EB2F_1656_67C5;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let round = |lane: u64, n: u64| lane.wrapping_add(n.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1);
    let stripes = input.chunks_exact(32);
    let mut tail = stripes.remainder();
    let mut hash = if input.len() >= 32 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, P1.wrapping_neg()];
        for stripe in stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let [a, b, c, d] = lanes;
        let mut hash = a.rotate_left(1);
        for (lane, by) in [(b, 7), (c, 12), (d, 18)] {
            hash = hash.wrapping_add(lane.rotate_left(by));
        }
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
        }
        hash
    } else {
        P5
    };
    hash = hash.wrapping_add(input.len() as u64);
    while let Some((bytes, rest)) = tail.split_at_checked(8) {
        hash = (hash ^ round(0, word(bytes)))
            .rotate_left(27)
            .wrapping_mul(P1)
            .wrapping_add(P4);
        tail = rest;
    }
    if let Some((bytes, rest)) = tail.split_at_checked(4) {
        hash = (hash ^ word(bytes).wrapping_mul(P1))
            .rotate_left(23)
            .wrapping_mul(P2)
            .wrapping_add(P3);
        tail = rest;
    }
    for &byte in tail {
        hash = (hash ^ u64::from(byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}
