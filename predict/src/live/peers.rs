//! What the other hosts show: for each host and column the median of all but its own.

use rayon::prelude::*;

use crate::features::{Aggregate, FeatureSet, Prepared};

/// What every host shows in every column at one time.
pub(super) struct PeerValues(Vec<ColumnValues>);

/// Of one column.
struct ColumnValues {
    /// By host, NaN where one shows nothing.
    of_host: Vec<f64>,
    /// The others, ascending. Sorted once for all hosts, or a round over a large fleet would take the square of its hosts.
    sorted: Vec<f64>,
}

impl PeerValues {
    /// The means of the short window that ends at block `at`.
    pub(super) fn new(prepared: &[(&str, Prepared<'_>)], set: &FeatureSet, at: i64) -> Self {
        let show = |column: usize| {
            let values = prepared.iter().map(|(_, p)| {
                let view = p.view(column, at)?;
                Aggregate::of(view.blocks(view.windows.short, 0)).mean()
            });
            ColumnValues::new(values.map(|v| v.unwrap_or(f64::NAN)).collect())
        };
        Self((0..set.columns.len()).into_par_iter().map(show).collect())
    }

    /// The median of the others for each column; NaN where fewer than two of them show anything.
    pub(super) fn medians_without(&self, host: usize) -> Vec<f64> {
        self.0.iter().map(|column| column.median_without(host)).collect()
    }
}

impl ColumnValues {
    fn new(of_host: Vec<f64>) -> Self {
        let mut sorted: Vec<f64> = of_host.iter().copied().filter(|v| !v.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        Self { of_host, sorted }
    }

    fn median_without(&self, host: usize) -> f64 {
        let own = self.of_host[host];
        // Where the own value stands, or behind all others.
        let hole = if own.is_nan() {
            self.sorted.len()
        } else {
            self.sorted.partition_point(|v| v.total_cmp(&own).is_lt())
        };
        let others = self.sorted.len() - usize::from(!own.is_nan());
        let other = |k: usize| self.sorted[if k < hole { k } else { k + 1 }];
        match others {
            0 | 1 => f64::NAN,
            n if n % 2 == 1 => other(n / 2),
            n => 0.5 * (other(n / 2 - 1) + other(n / 2)),
        }
    }
}

#[cfg(test)]
mod tests;
