//! Arithmetic that has to agree with Prometheus to the last bits.

/// A running sum with Neumaier's compensation, as Prometheus' `kahanSumInc`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) rest: f64,
}

impl Sum {
    pub(super) fn new(first: f64) -> Self {
        Self { sum: first, rest: 0.0 }
    }

    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        // What rounding took from the total, by Knuth's TwoSum: the same exact rest as Neumaier's, without his branch.
        let total = self.sum + value;
        let added = total - self.sum;
        let lost = (self.sum - (total - added)) + (value - added);
        self.rest = if total.is_infinite() { 0.0 } else { self.rest + lost };
        self.sum = total;
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.rest
    }
}

/// The sum of values as `sum_over_time` adds them up.
pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.for_each(|value| sum.add(value));
    sum.value()
}

/// A running mean: a compensated sum until it would overflow, an incremental mean from there on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(super) fn new(first: f64) -> Self {
        Self {
            sum: Sum::new(first),
            count: 1.0,
            incremental: false,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum;
            next.add(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.rest /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.sum.sum *= share;
        self.sum.rest *= share;
        self.sum.add(value / self.count);
    }

    pub(super) fn value(self) -> f64 {
        if self.incremental {
            self.sum.value()
        } else {
            self.sum.sum / self.count + self.sum.rest / self.count
        }
    }
}

/// The quantile `q` of `values`, which are sorted on the way; between two values it is interpolated.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(ascending);
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Orders values upwards, NaN first.
pub(super) fn ascending(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Go's `math.Max`: infinity wins over NaN, NaN over numbers.
pub(super) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Go's `math.Min`: negative infinity wins over NaN, NaN over numbers.
pub(super) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// Go's `almost.Equal`, a relative comparison.
pub(super) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// A value as Go's `strconv.FormatFloat(v, 'f', -1, 64)` writes it.
pub(super) fn plain(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// A value as Go's `%g` writes it: with an exponent where that is below -4 or above 5.
pub(super) fn general(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, e)) if e.parse().is_ok_and(|e: i32| !(-4..6).contains(&e)) => {
            let (sign, e) = e.strip_prefix('-').map_or(("+", e), |e| ("-", e));
            format!("{digits}e{sign}{e:0>2}")
        }
        _ => plain(value),
    }
}

/// A number as Go's `strconv.ParseFloat` reads it, `None` where it does not.
pub(super) fn parse(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    if bare.eq_ignore_ascii_case("nan") && bare.len() != text.len() {
        return None;
    }
    text.parse().ok()
}
