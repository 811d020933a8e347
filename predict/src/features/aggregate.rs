//! Across the columns of a host: how unusual it is as a whole.

/// Names, in the order of [`features`].
pub(crate) const NAMES: [&str; 7] = [
    "z_max",
    "z_mean",
    "z_over_3",
    "z1_max",
    "z1_top3",
    "z1_mean",
    "z1_over_3",
];

/// Extremes, means and shares over 3 of the absolute scores of all columns that have one.
pub(crate) fn features(z: &mut Vec<f64>, z1: &mut Vec<f64>) -> [f64; 7] {
    let clean = |scores: &mut Vec<f64>| {
        scores.retain(|v| !v.is_nan());
        for v in scores.iter_mut() {
            *v = v.abs().min(super::CLIP);
        }
        scores.sort_by(|a, b| b.total_cmp(a));
    };
    clean(z);
    clean(z1);
    let mean = |s: &[f64]| {
        if s.is_empty() {
            f64::NAN
        } else {
            s.iter().sum::<f64>() / s.len() as f64
        }
    };
    let over = |s: &[f64]| {
        if s.is_empty() {
            f64::NAN
        } else {
            s.iter().filter(|v| **v > 3.0).count() as f64 / s.len() as f64
        }
    };
    let first = |s: &[f64]| s.first().copied().unwrap_or(f64::NAN);
    [
        first(z),
        mean(z),
        over(z),
        first(z1),
        mean(&z1[..z1.len().min(3)]),
        mean(z1),
        over(z1),
    ]
}
