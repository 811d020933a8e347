//! Samples one after another in a stream of bits: what the head holds of a series, and the values of WAL records.
//!
//! ```text
//! value      0                                          the same bits as the value before
//!            10  delta                                  coded as the last change: of that width
//!            11 wwww  delta                             decimal mantissa: difference to the one before, width by code 0..=13
//!            11 1110  eeee llllll  mantissa             decimal with another exponent: mantissa of l bits, value = m / 10^e
//!            11 1111  zzzzzz llllll  bits               anything else: XOR with the value before, z zeros, then l + 1 bits
//! timestamp  0                                          the same step as before
//!            10  difference                             of the width of the last difference
//!            11 wwww  difference of steps               width by code 0..=13, 14 for all 64 bits
//! ```
//! Signed numbers are zigzag coded. Both ends keep the same [`ValueState`] and [`TimeState`], so a stream can be read up to
//! any sample while more are appended: what a snapshot sees of a series is a number of samples.

use crate::series::Samples;

#[cfg(test)]
mod tests;

/// Widths in bits that a number may have. Chosen so that exporters' counters and gauges waste a bit or two at most.
const WIDTHS: [u32; 14] = [2, 4, 6, 8, 10, 12, 14, 17, 20, 24, 28, 33, 40, 48];
const CODE_WIDE: u64 = 14;
const CODE_EXPONENT: u64 = 14;
const CODE_RAW: u64 = 15;

/// The code of the narrowest width that holds a number of so many bits; `WIDTHS.len()` where none does.
const CODES: [u8; 65] = {
    let mut codes = [0_u8; 65];
    let mut bits = 0;
    while bits < codes.len() {
        let mut code = 0;
        while code < WIDTHS.len() && (WIDTHS[code] as usize) < bits {
            code += 1;
        }
        codes[bits] = code as u8;
        bits += 1;
    }
    codes
};

/// Powers of ten that are exact in an `f64` and that exporters' decimals need.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Integers below this are exact in an `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn code_of(n: u64) -> usize {
    usize::from(CODES[64 - n.leading_zeros() as usize])
}

/// Bits, most significant first, at the end of a growing buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    // Unused bits of the last byte.
    free: u8,
}

impl Bits {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.free = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the `n` low bits of `value`, whose other bits are zero.
    fn put(&mut self, value: u64, n: u32) {
        debug_assert!(n == 64 || value >> n == 0, "{value} has more than {n} bits");
        let free = u32::from(self.free);
        if let (Some(last), 1..) = (self.bytes.last_mut(), free) {
            if n <= free {
                *last |= (value << (free - n)) as u8;
                self.free = (free - n) as u8;
                return;
            }
            *last |= (value >> (n - free)) as u8;
        }
        let mut n = n - free;
        while n >= 8 {
            n -= 8;
            self.bytes.push((value >> n) as u8);
        }
        self.free = 0;
        if n > 0 {
            self.bytes.push((value << (8 - n)) as u8);
            self.free = (8 - n) as u8;
        }
    }
}

/// Reads what [`Bits`] wrote.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `n` bits, at most 64, or `None` where fewer are left.
    #[inline]
    fn get(&mut self, n: u32) -> Option<u64> {
        if n == 0 {
            return Some(0);
        }
        let end = self.at + n as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let (byte, shift) = (self.at >> 3, (self.at & 7) as u32);
        self.at = end;
        let word = match self.bytes.get(byte..).and_then(|b| b.first_chunk::<8>()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => {
                let mut bytes = [0; 8];
                let rest = &self.bytes[byte..];
                bytes[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(bytes)
            }
        };
        let mut top = word << shift;
        if n + shift > 64 {
            top |= u64::from(self.bytes[byte + 8]) >> (8 - shift);
        }
        Some(top >> (64 - n))
    }
}

/// A change that is coded as the last one was may waste so many bits: what naming another width costs, less one.
const WASTE: u32 = 3;
/// The same for XORed bits, whose position and width take 12 bits more.
const WASTE_RAW: u32 = 14;

/// What coder and decoder know of the values before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ValueState {
    bits: u64,
    // Of the last value that was a decimal.
    mantissa: i64,
    exponent: u8,
    // How the last change was coded: a code of `WIDTHS`, or `CODE_RAW` with the zeros and the width of the bits.
    code: u8,
    zeros: u8,
    width: u8,
    // Values in a row that were no decimals; the coder then looks for an exponent less often. The decoder ignores it.
    misses: u8,
}

impl ValueState {
    /// Appends `value`.
    #[inline]
    pub(crate) fn write(&mut self, out: &mut Bits, value: f64) {
        let bits = value.to_bits();
        if bits == self.bits {
            out.put(0, 1);
            return;
        }
        match self.decimal(value) {
            Some((exponent, mantissa)) => {
                let delta = zigzag(mantissa.wrapping_sub(self.mantissa));
                if exponent != self.exponent || !put_by_width(out, delta, &mut self.code) {
                    let number = zigzag(mantissa);
                    let width = 64 - number.leading_zeros();
                    out.put(
                        (0b11_0000 | CODE_EXPONENT) << 10 | u64::from(exponent) << 6 | u64::from(width),
                        16,
                    );
                    out.put(number, width);
                }
                (self.exponent, self.mantissa) = (exponent, mantissa);
            }
            None => self.write_raw(out, bits ^ self.bits),
        }
        self.bits = bits;
    }

    fn write_raw(&mut self, out: &mut Bits, difference: u64) {
        let (zeros, tail) = (difference.leading_zeros(), difference.trailing_zeros());
        let width = 64 - zeros - tail;
        let (last_zeros, last_width) = (u32::from(self.zeros), u32::from(self.width));
        let fits = zeros >= last_zeros && zeros + width <= last_zeros + last_width;
        if u64::from(self.code) == CODE_RAW && fits && last_width - width <= WASTE_RAW {
            out.put(0b10, 2);
            out.put(difference >> (64 - last_zeros - last_width), last_width);
            return;
        }
        out.put(
            (0b11_0000 | CODE_RAW) << 12 | u64::from(zeros) << 6 | u64::from(width - 1),
            18,
        );
        out.put(difference >> tail, width);
        (self.code, self.zeros, self.width) = (CODE_RAW as u8, zeros as u8, width as u8);
    }

    /// The next value, or `None` where the stream ends or cannot be one.
    #[inline]
    pub(crate) fn read(&mut self, from: &mut BitReader<'_>) -> Option<f64> {
        if from.get(1)? == 0 {
            return Some(f64::from_bits(self.bits));
        }
        let named = from.get(1)? == 1;
        let code = if named { from.get(4)? } else { u64::from(self.code) };
        match code {
            CODE_RAW => {
                if named {
                    (self.zeros, self.width) = (from.get(6)? as u8, from.get(6)? as u8 + 1);
                    self.code = CODE_RAW as u8;
                }
                let width = u32::from(self.width);
                let tail = 64_u32.checked_sub(u32::from(self.zeros) + width)?;
                self.bits ^= from.get(width)? << tail;
                return Some(f64::from_bits(self.bits));
            }
            CODE_EXPONENT => {
                self.exponent = from.get(4)? as u8;
                let width = from.get(6)? as u32;
                self.mantissa = unzigzag(from.get(width)?);
            }
            code => {
                self.code = code as u8;
                let delta = unzigzag(from.get(*WIDTHS.get(code as usize)?)?);
                self.mantissa = self.mantissa.wrapping_add(delta);
            }
        }
        let value = self.mantissa as f64 / POWERS[usize::from(self.exponent)];
        self.bits = value.to_bits();
        Some(value)
    }

    /// Exponent and mantissa that give `value` back to the bit; the present exponent where it will do.
    fn decimal(&mut self, value: f64) -> Option<(u8, i64)> {
        /// Once this many values in a row were no decimals, only every 16th is tried.
        const PATIENCE: u8 = 8;
        if let Some(mantissa) = mantissa(value, self.exponent) {
            self.misses = 0;
            return Some((self.exponent, mantissa));
        }
        if self.misses >= PATIENCE && !self.misses.is_multiple_of(16) {
            self.misses = self.misses.wrapping_add(1).max(PATIENCE);
            return None;
        }
        let higher = self.exponent + 1..POWERS.len() as u8;
        let found = higher
            .chain(0..self.exponent)
            .find_map(|e| Some((e, mantissa(value, e)?)));
        self.misses = if found.is_some() {
            0
        } else {
            self.misses.wrapping_add(1).max(1)
        };
        found
    }
}

/// The integer `m` with `value == m / 10^exponent` to the bit.
#[inline]
fn mantissa(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS[usize::from(exponent)];
    let scaled = value * power;
    if scaled.abs() >= EXACT || scaled.is_nan() {
        return None;
    }
    let rounded = (scaled + 0.5_f64.copysign(scaled)) as i64;
    (rounded as f64 / power)
        .to_bits()
        .eq(&value.to_bits())
        .then_some(rounded)
}

/// Appends a change in the width of the last one, or in its own; `false` where it is too wide for any.
#[inline]
fn put_by_width(out: &mut Bits, change: u64, last: &mut u8) -> bool {
    let code = code_of(change);
    let Some(&width) = WIDTHS.get(code) else { return false };
    match WIDTHS.get(usize::from(*last)) {
        Some(&last) if width <= last && last - width <= WASTE => out.put((0b10 << last) | change, 2 + last),
        _ => {
            out.put(((0b11_0000 | code as u64) << width) | change, 6 + width);
            *last = code as u8;
        }
    }
    true
}

/// What coder and decoder know of the timestamps before.
#[derive(Clone, Copy, Debug, Default)]
struct TimeState {
    last: i64,
    step: i64,
    // Width of the last change of steps.
    code: u8,
}

impl TimeState {
    #[inline]
    fn write(&mut self, out: &mut Bits, at: i64) {
        let step = at.wrapping_sub(self.last);
        let change = zigzag(step.wrapping_sub(self.step));
        if change == 0 {
            out.put(0, 1);
        } else if !put_by_width(out, change, &mut self.code) {
            out.put(0b11_0000 | CODE_WIDE, 6);
            out.put(change, 64);
        }
        (self.last, self.step) = (at, step);
    }

    #[inline]
    fn read(&mut self, from: &mut BitReader<'_>) -> Option<i64> {
        if from.get(1)? == 1 {
            let width = match from.get(1)? {
                0 => *WIDTHS.get(usize::from(self.code))?,
                _ => match from.get(4)? {
                    CODE_WIDE => 64,
                    code => {
                        self.code = code as u8;
                        *WIDTHS.get(code as usize)?
                    }
                },
            };
            self.step = self.step.wrapping_add(unzigzag(from.get(width)?));
        }
        self.last = self.last.wrapping_add(self.step);
        Some(self.last)
    }
}

/// The samples of one series, ascending, appended one by one. What the coder must know of the last one stands here without
/// the gaps that three structs would have between them, since a head holds one stream a series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    bytes: Vec<u8>,
    last: i64,
    step: i64,
    bits: u64,
    mantissa: i64,
    n: u8,
    free: u8,
    step_code: u8,
    exponent: u8,
    code: u8,
    zeros: u8,
    width: u8,
    misses: u8,
}

impl Stream {
    /// Most samples of a stream.
    pub(crate) const LEN_MAX: u32 = u8::MAX as u32;
    /// Most bytes that one sample can take: 70 bits of time and 82 of value.
    const SAMPLE_BYTES_MAX: usize = 19;
    /// By how much the buffer grows: doubling would waste a third of the head.
    const GROWTH: usize = 40;

    /// Appends a sample, later than the last one, to a stream that has fewer than [`Stream::LEN_MAX`].
    #[inline]
    pub(crate) fn push(&mut self, at: i64, value: f64) {
        debug_assert!(self.len() < Self::LEN_MAX, "the stream is full");
        if self.bytes.capacity() - self.bytes.len() < Self::SAMPLE_BYTES_MAX {
            self.bytes.reserve_exact(Self::GROWTH);
        }
        let mut bits = Bits {
            bytes: std::mem::take(&mut self.bytes),
            free: self.free,
        };
        if self.n == 0 {
            // The first one in full, where `first` finds it.
            bits.put(at as u64, 64);
            self.last = at;
        } else {
            let mut times = TimeState {
                last: self.last,
                step: self.step,
                code: self.step_code,
            };
            times.write(&mut bits, at);
            (self.last, self.step, self.step_code) = (times.last, times.step, times.code);
        }
        let mut values = ValueState {
            bits: self.bits,
            mantissa: self.mantissa,
            exponent: self.exponent,
            code: self.code,
            zeros: self.zeros,
            width: self.width,
            misses: self.misses,
        };
        values.write(&mut bits, value);
        (self.bits, self.mantissa, self.exponent) = (values.bits, values.mantissa, values.exponent);
        (self.code, self.zeros, self.width, self.misses) = (values.code, values.zeros, values.width, values.misses);
        (self.bytes, self.free) = (bits.bytes, bits.free);
        self.n += 1;
    }

    pub(crate) fn len(&self) -> u32 {
        u32::from(self.n)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The bytes so far; those of a shorter stream are a prefix but for the last byte's unused bits.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory beside the struct itself.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// First timestamp; zero for an empty stream.
    pub(crate) fn first(&self) -> i64 {
        self.bytes.first_chunk::<8>().map_or(0, |b| i64::from_be_bytes(*b))
    }

    /// Last timestamp; zero for an empty stream.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Value of the last sample.
    pub(crate) fn last_value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Forgets all samples and gives the memory back.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Appends the samples with timestamps in `start..=end` among the first `n` of a stream's bytes to `out`.
pub(crate) fn read_stream(bytes: &[u8], n: u32, start: i64, end: i64, out: &mut Samples) -> Option<()> {
    let mut from = BitReader::new(bytes);
    let mut times = TimeState::default();
    let mut values = ValueState::default();
    for i in 0..n {
        let at = if i == 0 {
            times.last = from.get(64)? as i64;
            times.last
        } else {
            times.read(&mut from)?
        };
        if at > end {
            break;
        }
        let value = values.read(&mut from)?;
        if at >= start {
            out.push(at, value);
        }
    }
    Some(())
}
