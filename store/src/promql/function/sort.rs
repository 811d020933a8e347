//! Functions that order the series of an instant query. Over a range their order has no meaning, so they do nothing.

use std::cmp::Ordering;

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::plan::Node;
use super::super::vector::Table;
use super::call::text;

impl<'a> Env<'a> {
    pub(super) fn sorted(&'a self, vector: &'a Node, grid: Grid, descending: bool) -> Result<Table, QueryError> {
        let mut table = self.table(vector, grid)?;
        // Histograms have no order, and over a range they are left out as well.
        table.drop_histograms();
        if grid.is_instant() {
            table.compact();
            let mut order: Vec<usize> = (0..table.rows()).collect();
            // NaN comes last in both directions.
            order.sort_by(|&a, &b| {
                let (a, b) = (table.values[a], table.values[b]);
                match (a.is_nan(), b.is_nan()) {
                    (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                    (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                    (a, b) => a.cmp(&b),
                }
            });
            reorder(&mut table, &order);
        }
        Ok(table)
    }

    pub(super) fn sorted_by_label(
        &'a self,
        vector: &'a Node,
        names: &[Node],
        grid: Grid,
        descending: bool,
    ) -> Result<Table, QueryError> {
        let names = names
            .iter()
            .map(|name| text(Some(name)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut table = self.table(vector, grid)?;
        if grid.is_instant() {
            table.compact();
            table.settle_names();
            let mut order: Vec<usize> = (0..table.rows()).collect();
            order.sort_by(|&a, &b| {
                let (a, b) = (&table.labels[a], &table.labels[b]);
                let by_names = names
                    .iter()
                    .map(|name| natural(a.get(name).unwrap_or(""), b.get(name).unwrap_or("")));
                let order = by_names.into_iter().find(|o| o.is_ne()).unwrap_or_else(|| a.cmp(b));
                if descending { order.reverse() } else { order }
            });
            reorder(&mut table, &order);
        }
        Ok(table)
    }
}

/// Puts the rows of an instant into another order.
fn reorder(table: &mut Table, order: &[usize]) {
    table.reorder_cells(order);
    table.labels = order.iter().map(|&i| table.labels[i].clone()).collect();
    table.values = order.iter().map(|&i| table.values[i]).collect();
}

/// Compares texts with the numbers in them by value: `host9` before `host10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        let (chunk_a, tail_a) = chunk(a);
        let (chunk_b, tail_b) = chunk(b);
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(chunk_a) && digits(chunk_b) {
            let (bare_a, bare_b) = (chunk_a.trim_start_matches('0'), chunk_b.trim_start_matches('0'));
            bare_a
                .len()
                .cmp(&bare_b.len())
                .then_with(|| bare_a.cmp(bare_b))
                .then(chunk_a.len().cmp(&chunk_b.len()))
        } else {
            chunk_a.cmp(chunk_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (tail_a, tail_b);
    }
}

/// The run of digits, or of anything else, with which a text starts.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}
