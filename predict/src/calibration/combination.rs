//! Two outputs to one: how rare each is while nothing fails, and the rarer one counts.
//!
//! The heads speak in scales of their own, and being within an incident is many times more frequent than being shortly
//! before one: the larger of two probabilities would always be the same head's. Rarity asks of both the same question:
//! how often does a host that is not failing look like this?

use serde::{Deserialize, Serialize};

use crate::bits;

/// Halvings that the under-way head stands back behind one that warns: it raises at most a sixteenth of the alarms that the
/// other one does. What is under way stands out by far more; what it takes from the top ranks, the other head lacks for warning.
pub(crate) const STANDS_BACK: f64 = 4.0;
/// Rows that the rarest knot stands on.
const ROWS_MIN: usize = 4;

/// How both heads become one output: the number of halvings of the share of rows that look as unusual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Combination {
    soon: Tail,
    under_way: Tail,
    /// Halvings that the under-way head stands back; always so many in models from before it.
    #[serde(default = "behind_warnings", with = "bits::one")]
    stands_back: f64,
}

const fn behind_warnings() -> f64 {
    STANDS_BACK
}

impl Combination {
    /// Learns from outputs on rows outside incidents; NaN where a head said nothing.
    pub(crate) fn fit(soon: impl Iterator<Item = f64>, under_way: impl Iterator<Item = f64>, stands_back: f64) -> Self {
        Self {
            soon: Tail::fit(soon),
            under_way: Tail::fit(under_way),
            stands_back,
        }
    }

    /// The rarity of the rarer output; NaN where `soon` is, and of `soon` alone where `under_way` is.
    pub(crate) fn apply(&self, soon: f64, under_way: f64) -> f64 {
        if soon.is_nan() {
            return f64::NAN;
        }
        // f64::max ignores a NaN.
        self.soon
            .rarity(soon)
            .max(self.under_way.rarity(under_way) - self.stands_back)
    }

    /// Whether the under-way head has the last word.
    pub(crate) fn under_way_speaks(&self, soon: f64, under_way: f64) -> bool {
        self.under_way.rarity(under_way) - self.stands_back > self.soon.rarity(soon)
    }
}

/// The upper tail of a distribution: the values that a half, a quarter, an eighth of all rows reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tail {
    #[serde(with = "bits")]
    values: Vec<f64>,
    #[serde(with = "bits")]
    halvings: Vec<f64>,
}

impl Tail {
    fn fit(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let mut tail = Self {
            values: Vec::new(),
            halvings: Vec::new(),
        };
        let mut k = 0;
        while n >> k >= ROWS_MIN {
            let value = sorted[n - (n >> k)];
            // Of equal values the most frequent share counts.
            if tail.values.last().is_none_or(|last| *last < value) {
                tail.values.push(value);
                tail.halvings.push(f64::from(k));
            }
            k += 1;
        }
        tail
    }

    /// Halvings, linear between knots and on beyond the last; 0 below the first; NaN for NaN.
    fn rarity(&self, value: f64) -> f64 {
        if value.is_nan() {
            return f64::NAN;
        }
        let above = self.values.partition_point(|v| *v <= value);
        if above == 0 {
            return 0.0;
        }
        if self.values.len() == 1 {
            return self.halvings[0] + (value - self.values[0]).min(1.0);
        }
        let high = above.min(self.values.len() - 1);
        let low = high - 1;
        let slope = (self.halvings[high] - self.halvings[low]) / (self.values[high] - self.values[low]);
        // Far beyond what was seen nothing is known but that it is far beyond.
        let most = self.halvings[self.halvings.len() - 1] + 5.0;
        (self.halvings[low] + slope * (value - self.values[low])).min(most)
    }
}

#[cfg(test)]
mod tests;
