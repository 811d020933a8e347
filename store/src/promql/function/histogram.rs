//! Functions of histograms: of native ones, and of classic ones, whose buckets are series with an upper bound in `le`.

use std::collections::{HashMap, HashSet};

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::labels::{self, Keep};
use super::super::native::{self, Remark};
use super::super::number;
use super::super::plan::{Node, OfHistogram};
use super::super::text::Place;
use super::super::vector::{ABSENT, Shape, Table, Vector, histogram_at, is_absent};
use crate::{Histogram as Native, Labels};

/// Differences of bucket counts below this share are rounding.
const SMALL_DELTA: f64 = 1e-12;

/// Buckets of one histogram: the rows of a table, by upper bound.
struct Histogram {
    metric: String,
    labels: Labels,
    rows: Vec<(f64, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    count: f64,
}

impl<'a> Env<'a> {
    pub(super) fn histogram_quantile(
        &'a self,
        q: &Node,
        vector: &'a Node,
        places: &[Place],
        grid: Grid,
    ) -> Result<Table, QueryError> {
        let q = self.scalar(q, grid)?;
        for &q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            self.notes.quantile(q, places.first().copied());
        }
        let place = places.get(1).copied();
        let classic = |metric: &str, step: usize, buckets: &mut Vec<Bucket>| {
            let (value, forced) = quantile(q[step], buckets);
            if forced {
                self.notes.forced_monotonic(metric, place);
            }
            value
        };
        self.of_histograms(vector, place, grid, classic, |step, histogram| {
            let (value, remark) = native::quantile(q[step], histogram);
            if let Some(remark) = remark {
                let what = match remark {
                    Remark::NanResult => "histogram_quantile has NaN observations, result is NaN",
                    Remark::NanSkew => "histogram_quantile has NaN observations, result is skewed higher",
                };
                self.notes.nan_observations(what, "", places.first().copied());
            }
            value
        })
    }

    pub(super) fn histogram_fraction(
        &'a self,
        lower: &Node,
        upper: &Node,
        vector: &'a Node,
        places: &[Place],
        grid: Grid,
    ) -> Result<Table, QueryError> {
        let (lower, upper) = (self.scalar(lower, grid)?, self.scalar(upper, grid)?);
        let classic = |_: &str, step: usize, buckets: &mut Vec<Bucket>| fraction(lower[step], upper[step], buckets);
        self.of_histograms(vector, places.get(2).copied(), grid, classic, |step, histogram| {
            let (value, nan) = native::fraction(lower[step], upper[step], histogram);
            if nan {
                let what = "histogram_fraction has NaN observations, which are excluded from all fractions";
                self.notes.nan_observations(what, "", places.first().copied());
            }
            value
        })
    }

    /// What is read off each native histogram; numbers have none of it.
    pub(super) fn of_histogram(
        &'a self,
        what: OfHistogram,
        vector: &'a Node,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let read = move |h: &Native| match what {
            OfHistogram::Count => h.count,
            OfHistogram::Sum => h.sum,
            OfHistogram::Average => h.sum / h.count,
            OfHistogram::Deviation => native::variance(h).sqrt(),
            OfHistogram::Variance => native::variance(h),
        };
        self.vector(vector, grid)?.map(true, false, move |row, cells| {
            for step in 0..row.len() {
                row[step] = histogram_at(row, cells, step).map_or(ABSENT, |h| read(h));
            }
            cells.clear();
        })
    }

    /// Gathers the buckets of each classic histogram, and writes a value for each step at which it has any; so too for each native
    /// one. Where both have one name and labels, neither has a value.
    fn of_histograms(
        &'a self,
        vector: &'a Node,
        place: Option<Place>,
        grid: Grid,
        value: impl Fn(&str, usize, &mut Vec<Bucket>) -> f64,
        of_native: impl Fn(usize, &Native) -> f64,
    ) -> Result<Table, QueryError> {
        let mut table = self.table(vector, grid)?;
        table.settle_names();
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut by_labels: HashMap<Vec<u8>, usize> = HashMap::new();
        let le = ["le".to_owned()];
        let mut key = Vec::new();
        for (row, labels) in table.labels.iter().enumerate() {
            let values = table.row(row);
            let number = |step: usize| !is_absent(values[step]) && table.histogram(row, step).is_none();
            if !(0..grid.count).any(number) {
                continue;
            }
            let bound = labels.get("le").unwrap_or("");
            let Some(upper) = number::parse(bound) else {
                self.notes.bad_bucket(labels.metric(), bound, place);
                continue;
            };
            Keep::Without(&le).project(labels, true, &mut key);
            // Histograms of different names stay apart, so that the answer can say that it cannot tell them apart.
            let kept = key.len();
            key.extend_from_slice(labels.metric().as_bytes());
            let histogram = *by_labels.entry(key.clone()).or_insert_with(|| {
                histograms.push(Histogram {
                    metric: labels.metric().to_owned(),
                    labels: labels::from_projected(&key[..kept]),
                    rows: Vec::new(),
                });
                histograms.len() - 1
            });
            histograms[histogram].rows.push((upper, row));
        }
        let mut out = Table::new(
            &self.budget,
            Shape {
                steps: grid.count,
                nameless: false,
                one_name: true,
            },
        )?;
        let mut buckets = Vec::new();
        let mut row = vec![ABSENT; grid.count];
        // Classic histogram and step at which there is a native one of the same name and labels.
        let mut blocked: HashSet<(usize, usize)> = HashSet::new();
        for (source, labels) in table.labels.iter().enumerate() {
            if table.cells(source).is_empty() {
                continue;
            }
            Keep::Without(&[]).project(labels, true, &mut key);
            let kept = key.len();
            key.extend_from_slice(labels.metric().as_bytes());
            let classic = by_labels.get(&key).copied();
            row.fill(ABSENT);
            for (step, out) in row.iter_mut().enumerate() {
                let Some(own) = table.histogram(source, step) else {
                    continue;
                };
                let number =
                    |bucket: usize| !is_absent(table.row(bucket)[step]) && table.histogram(bucket, step).is_none();
                match classic.filter(|&i| histograms[i].rows.iter().any(|&(_, bucket)| number(bucket))) {
                    Some(classic) => {
                        self.notes.mixed_classic(labels.metric(), place);
                        blocked.insert((classic, step));
                    }
                    None => *out = of_native(step, own),
                }
            }
            out.push(labels::from_projected(&key[..kept]), &row)?;
        }
        for (number, histogram) in histograms.iter_mut().enumerate() {
            self.deadline.check()?;
            // Sorted once; each step then takes its buckets in order.
            histogram.rows.sort_by(|a, b| number::ascending(&a.0, &b.0));
            row.fill(ABSENT);
            for (step, out) in row.iter_mut().enumerate() {
                buckets.clear();
                for &(upper, source) in &histogram.rows {
                    let count = table.values[source * grid.count + step];
                    if !is_absent(count) && table.histogram(source, step).is_none() {
                        buckets.push(Bucket { upper, count });
                    }
                }
                if !buckets.is_empty() && !blocked.contains(&(number, step)) {
                    *out = value(&histogram.metric, step, &mut buckets);
                }
            }
            out.push(histogram.labels.clone(), &row)?;
        }
        out.join_same_labels()?;
        Ok(out)
    }
}

/// Prometheus, `promql/quantile.go`: `BucketQuantile`. The flag says that counts had to be made to rise.
fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (f64::NAN, false);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let [lower @ .., infinite] = buckets.as_slice() else {
        return (f64::NAN, forced);
    };
    let Some(highest) = lower.last() else {
        return (f64::NAN, forced);
    };
    if infinite.count == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * infinite.count;
    // As Go's sort.Search, which NaN leads past.
    let at = lower.partition_point(|b| b.count.is_nan() || rank.is_nan() || b.count < rank);
    let Some(bucket) = lower.get(at) else {
        return (highest.upper, forced);
    };
    if at == 0 {
        if bucket.upper <= 0.0 {
            return (bucket.upper, forced);
        }
        return (bucket.upper * (rank / bucket.count), forced);
    }
    let before = lower[at - 1];
    let share = (rank - before.count) / (bucket.count - before.count);
    (before.upper + (bucket.upper - before.upper) * share, forced)
}

/// Prometheus, `promql/quantile.go`: `BucketFraction`.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets.last().map_or(0.0, |b| b.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut rank, mut lower_rank, mut upper_rank) = (0.0, None, None);
    for (i, bucket) in buckets.iter().enumerate() {
        // Values below the first bound are not taken to start at zero, unlike for quantiles.
        let start = if i > 0 { buckets[i - 1].upper } else { f64::NEG_INFINITY };
        let interpolated = |v: f64| rank + (bucket.count - rank) * (v - start) / (bucket.upper - start);
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() {
                if start >= bound {
                    *found = Some(rank);
                } else if bucket.upper > bound {
                    *found = Some(interpolated(bound));
                }
            }
        }
        rank = bucket.count;
    }
    let cap = |rank: Option<f64>| rank.filter(|r| r.is_nan() || *r <= count).unwrap_or(count);
    (cap(upper_rank) - cap(lower_rank)) / count
}

/// Joins buckets of the same bound, such as `le="1"` and `le="1.0"`.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Evens out decreasing counts; whether any decreased by more than rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let Some(first) = buckets.first() else { return false };
    let mut before = first.count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if number::almost_equal(before, bucket.count, SMALL_DELTA) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}
