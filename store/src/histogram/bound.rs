//! Where exponential buckets end.

use std::sync::OnceLock;

/// By how many units in the last place Prometheus' table of bounds (`model/histogram/generic.go`, `exponentialBounds`) lies below the
/// nearest floats, and one more, for each fraction. Ours are the same, so that buckets have the same ends to the last digit.
const BELOW: [&[u8; 64]; 4] = [
    b"1111112111211111112311222222222211211121122211221122102211221122",
    b"1111112222332132112111211112111111121011213311221222112121332222",
    b"2121223322322122222222323233323311221121223321332233212232332232",
    b"2243223233433343333333444455435422322333324422333243223333543344",
];

/// The powers `2^(i/256)` for i from 0 to 255, as Prometheus has them.
fn fractions() -> &'static [f64; 256] {
    static FRACTIONS: OnceLock<[f64; 256]> = OnceLock::new();
    FRACTIONS.get_or_init(|| {
        // Roots of two in double the precision: rounding their products once gives the nearest float.
        let mut roots = [Wide { high: 2.0, low: 0.0 }; 9];
        for i in 1..roots.len() {
            roots[i] = roots[i - 1].root();
        }
        std::array::from_fn(|i| {
            let one = Wide { high: 1.0, low: 0.0 };
            // Bit 7 of i stands for half a power, bit 0 for a 256th.
            let factors = (0..8).filter(|bit| i >> bit & 1 == 1).map(|bit| roots[8 - bit]);
            let nearest = factors.fold(one, Wide::times).high;
            f64::from_bits(nearest.to_bits() + 1 - u64::from(BELOW[i / 64][i % 64] - b'0'))
        })
    })
}

/// A number as the sum of two floats, the second one below the last place of the first.
#[derive(Clone, Copy)]
struct Wide {
    high: f64,
    low: f64,
}

impl Wide {
    fn of(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self {
            high: sum,
            low: low - (sum - high),
        }
    }

    fn times(self, other: Self) -> Self {
        let product = self.high * other.high;
        let rest = self.high.mul_add(other.high, -product);
        Self::of(product, rest + (self.high * other.low + self.low * other.high))
    }

    /// One step of Newton's method from the float's own root doubles its precision.
    fn root(self) -> Self {
        let near = self.high.sqrt();
        let rest = near.mul_add(-near, self.high) + self.low;
        Self::of(near, rest / (2.0 * near))
    }
}

/// Where exponential bucket `index` ends: `2^(index / 2^schema)`. The bucket that would end at 2^1024 ends at the greatest finite
/// number, so that the one above it holds the infinite observations alone.
pub(crate) fn exponential_bound(index: i32, schema: i8) -> f64 {
    let index = i64::from(index);
    let (fraction, exponent) = if schema <= 0 {
        (1.0, index << (-schema).min(8))
    } else {
        let schema = schema.min(8);
        let within = index & ((1 << schema) - 1);
        (fractions()[(within << (8 - schema)) as usize], index >> schema)
    };
    if fraction == 1.0 && exponent == 1024 {
        return f64::MAX;
    }
    scaled(fraction, exponent)
}

/// `fraction * 2^exponent`, fraction from 1 to 2, rounded once also where it falls below the normal numbers.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022.. => fraction * f64::from_bits(((exponent + 1023) as u64) << 52),
        -1080.. => {
            fraction * f64::from_bits(((exponent + 1023 + 100) as u64) << 52) * f64::from_bits((1023 - 100) << 52)
        }
        _ => 0.0,
    }
}
