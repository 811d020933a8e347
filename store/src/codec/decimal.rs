//! Values as decimal mantissas: `1.25` is 125 with two decimals. Most monitored quantities are decimals that some exporter
//! rounded, and their mantissas compress to half of what their floats do.

/// Most decimals that are tried. 10^18 is exact as `f64`, and no decimal of 15 digits above 1e-3 needs more.
const DECIMALS_MAX: usize = 18;

/// Mantissas stay below it: up to 15 digits, a decimal and its nearest `f64` determine each other.
const MANTISSA_MAX: f64 = 1e15;

const POWERS: [f64; DECIMALS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
];

/// An exception costs nine bytes; this many decimals fewer for all the others win them back.
const DECIMALS_SPARED: usize = 3;

/// One exception in this many values is still cheaper than giving up on decimals.
const EXCEPTION_SHARE: usize = 16;

/// Values as integers times a power of ten.
#[derive(Debug, Default)]
pub(crate) struct Decimals {
    /// Digits behind the decimal point, common to all.
    pub(crate) decimals: u8,
    /// `value * 10^decimals`; at an exception the mantissa before it.
    pub(crate) mantissas: Vec<i64>,
    /// Where values are no decimals (markers, infinities, -0.0, strays of full precision), ascending, and what they are.
    pub(crate) exceptions: Vec<(usize, f64)>,
}

impl Decimals {
    /// The values as decimals, or `None` where too many are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let allowed = values.len() / EXCEPTION_SHARE + 1;
        let wide = Self::with_decimals(values, 0, DECIMALS_MAX, allowed)?;
        // A stray of full precision must not scale all the others up: see whether fewer decimals do but for a few exceptions.
        let Some(most) = usize::from(wide.decimals).checked_sub(DECIMALS_SPARED) else {
            return Some(wide);
        };
        match usual_decimals(values, most, allowed) {
            Some(usual) => Self::with_decimals(values, usual, usual, allowed).or(Some(wide)),
            None => Some(wide),
        }
    }

    fn with_decimals(values: &[f64], least: usize, most: usize, allowed: usize) -> Option<Self> {
        let mut decimals = least;
        let mut failed = 0;
        for &value in values {
            if mantissa(value, decimals).is_some() {
                continue;
            }
            match (decimals + 1..=most).find(|&d| mantissa(value, d).is_some()) {
                Some(more) => decimals = more,
                None => failed += 1,
            }
            if failed > allowed {
                return None;
            }
        }
        let mut found = Self {
            decimals: decimals as u8,
            mantissas: Vec::with_capacity(values.len()),
            exceptions: Vec::new(),
        };
        let mut last = values.iter().find_map(|&v| mantissa(v, decimals))?;
        for (i, &value) in values.iter().enumerate() {
            match mantissa(value, decimals) {
                Some(m) => last = m,
                None => found.exceptions.push((i, value)),
            }
            found.mantissas.push(last);
        }
        (found.exceptions.len() <= allowed).then_some(found)
    }
}

/// Appends `mantissa / 10^decimals` for each mantissa; `None` where no encoder writes so many decimals.
pub(crate) fn append_values(mantissas: &[i64], decimals: u8, out: &mut Vec<f64>) -> Option<()> {
    let power = *POWERS.get(usize::from(decimals))?;
    if decimals == 0 {
        out.extend(mantissas.iter().map(|&m| m as f64));
    } else {
        // Division, unlike multiplication by a rounded 10^-decimals, gives the nearest `f64` of the decimal.
        out.extend(mantissas.iter().map(|&m| m as f64 / power));
    }
    Some(())
}

/// The integer that `decimals` digits behind the point make of `value`, where it gives back the same bits.
fn mantissa(value: f64, decimals: usize) -> Option<i64> {
    let power = POWERS[decimals];
    let scaled = value * power;
    if scaled.is_nan() || scaled.abs() >= MANTISSA_MAX {
        return None;
    }
    let rounded = scaled.round_ties_even();
    ((rounded as i64) as f64 / power)
        .to_bits()
        .eq(&value.to_bits())
        .then_some(rounded as i64)
}

/// The least number of decimals, `most` at most, that all but `allowed` values do with.
fn usual_decimals(values: &[f64], most: usize, allowed: usize) -> Option<usize> {
    (0..=most).find(|&d| {
        values
            .iter()
            .filter(|&&v| mantissa(v, d).is_none())
            .nth(allowed)
            .is_none()
    })
}
