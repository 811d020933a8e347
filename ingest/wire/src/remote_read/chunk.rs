//! Chunks as Prometheus' storage has them, for those who take them as they are (`tsdb/docs/format/chunks.md` of Prometheus 3.5:
//! encodings XOR and float histogram).

/// Samples of a chunk. Prometheus cuts its own there as well.
pub const SAMPLES_MAX: usize = 120;

/// Consecutive samples of one series, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Time of the first sample, in milliseconds since 1970.
    pub start_ms: i64,
    /// Time of the last one.
    pub end_ms: i64,
    /// What the bytes are.
    pub encoding: Encoding,
    /// The samples.
    pub bytes: Vec<u8>,
}

/// How a chunk is compressed; the numbers are those of `prometheus.Chunk.Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Numbers.
    Xor = 1,
    /// Native histograms with counts that are floats.
    FloatHistogram = 3,
}

/// A native histogram at one time, with the buckets that hold observations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// 0 unknown, 1 counter reset, 2 no reset, 3 gauge.
    pub reset_hint: u8,
    /// -4 to 8, or -53.
    pub schema: i32,
    /// How far the bucket around zero reaches.
    pub zero_threshold: f64,
    /// Observations in it.
    pub zero_count: f64,
    /// Observations in all.
    pub count: f64,
    /// Their sum; the staleness marker marks the series as gone.
    pub sum: f64,
    /// Index and count of buckets of positive observations, ascending.
    pub positive: Vec<(i32, f64)>,
    /// The same of negative ones.
    pub negative: Vec<(i32, f64)>,
    /// Bounds of its own, for schema -53.
    pub bounds: Vec<f64>,
}

/// The staleness marker.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
/// No window of meaningful bits has been written yet.
const NO_WINDOW: u32 = u32::MAX;

/// A chunk of numbers, of which there is at least one and at most [`SAMPLES_MAX`], in time order; `None` where there is none.
#[must_use]
pub fn of_numbers(samples: &[(i64, f64)]) -> Option<Chunk> {
    let (&(start_ms, first), &(end_ms, _)) = (samples.first()?, samples.last()?);
    let mut bits = Bits::with_header(&(samples.len() as u16).to_be_bytes());
    bits.varint(zigzag(start_ms));
    bits.put(first.to_bits(), 64);
    let mut value = Xor::new(first);
    let (mut before_ms, mut delta) = (start_ms, 0_i64);
    for (i, &(at_ms, v)) in samples.iter().enumerate().skip(1) {
        let next = at_ms.wrapping_sub(before_ms);
        if i == 1 {
            bits.varint(next as u64);
        } else {
            bits.change(next.wrapping_sub(delta));
        }
        value.put(v, &mut bits);
        (before_ms, delta) = (at_ms, next);
    }
    Some(Chunk {
        start_ms,
        end_ms,
        encoding: Encoding::Xor,
        bytes: bits.bytes,
    })
}

/// How many histograms at the start of `histograms`, which are in time order, can stand in one chunk: within a chunk nothing
/// is ever reset, and all buckets are alike.
#[must_use]
pub fn histograms_together(histograms: &[Histogram]) -> usize {
    let pairs = histograms.windows(2).take(SAMPLES_MAX - 1);
    let together = pairs.take_while(|pair| pair[0].goes_on(&pair[1])).count();
    (together + 1).min(histograms.len())
}

/// A chunk of native histograms, as many as [`histograms_together`] allows; `None` where there is none.
#[must_use]
pub fn of_histograms(histograms: &[Histogram]) -> Option<Chunk> {
    let (first, last) = (histograms.first()?, histograms.last()?);
    let reset = match first.reset_hint {
        3 => 0b1100_0000,
        1 => 0b1000_0000,
        _ => 0,
    };
    let [high, low] = (histograms.len() as u16).to_be_bytes();
    let mut bits = Bits::with_header(&[high, low, reset]);
    let layout = histograms.iter().find(|h| !h.is_stale()).unwrap_or(first);
    let sides = [
        indexes(histograms.iter().map(|h| &h.positive)),
        indexes(histograms.iter().map(|h| &h.negative)),
    ];
    bits.zero_threshold(layout.zero_threshold);
    bits.signed(layout.schema.into());
    for indexes in &sides {
        bits.spans(indexes);
    }
    if layout.is_custom() {
        bits.unsigned(layout.bounds.len() as u64);
        layout.bounds.iter().for_each(|bound| bits.bound(*bound));
    }
    let mut values: Vec<Xor> = Vec::new();
    let (mut before_ms, mut delta) = (0, 0);
    for (i, histogram) in histograms.iter().enumerate() {
        let numbers = histogram.numbers(&sides);
        if i == 0 {
            bits.signed(histogram.at_ms);
            for number in numbers {
                bits.put(number.to_bits(), 64);
                values.push(Xor::new(number));
            }
        } else {
            let next = histogram.at_ms.wrapping_sub(before_ms);
            bits.signed(next.wrapping_sub(delta));
            for (value, number) in values.iter_mut().zip(numbers) {
                value.put(number, &mut bits);
            }
            delta = next;
        }
        before_ms = histogram.at_ms;
    }
    Some(Chunk {
        start_ms: first.at_ms,
        end_ms: last.at_ms,
        encoding: Encoding::FloatHistogram,
        bytes: bits.bytes,
    })
}

/// The indexes of all buckets, ascending.
fn indexes<'h>(sides: impl Iterator<Item = &'h Vec<(i32, f64)>>) -> Vec<i32> {
    let mut indexes: Vec<i32> = sides.flatten().map(|(index, _)| *index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

impl Histogram {
    fn is_stale(&self) -> bool {
        self.sum.to_bits() == STALE_BITS
    }

    fn is_custom(&self) -> bool {
        self.schema == -53
    }

    /// Whether `next` can follow in the same chunk.
    fn goes_on(&self, next: &Self) -> bool {
        let gauge = self.reset_hint == 3;
        if self.is_stale() || next.is_stale() {
            // A marker stands alone: it has no buckets, and what follows may begin anew.
            return false;
        }
        let alike = self.schema == next.schema
            && self.zero_threshold.to_bits() == next.zero_threshold.to_bits()
            && self.bounds == next.bounds
            && gauge == (next.reset_hint == 3);
        let grown = |before: f64, after: f64| after >= before;
        alike
            && (gauge
                || next.reset_hint != 1
                    && grown(self.count, next.count)
                    && grown(self.zero_count, next.zero_count)
                    && contains(&self.positive, &next.positive)
                    && contains(&self.negative, &next.negative))
    }

    /// Count, zero count and sum, then the counts of the buckets that `sides` name.
    fn numbers(&self, sides: &[Vec<i32>; 2]) -> Vec<f64> {
        let mut numbers = vec![self.count, self.zero_count, self.sum];
        for (buckets, indexes) in [&self.positive, &self.negative].into_iter().zip(sides) {
            let mut own = buckets.iter().peekable();
            for index in indexes {
                let count = own.next_if(|(i, _)| i == index).map_or(0.0, |(_, count)| *count);
                numbers.push(count);
            }
        }
        numbers
    }
}

/// Whether every bucket of `before` is in `after` with at least as many observations.
fn contains(before: &[(i32, f64)], after: &[(i32, f64)]) -> bool {
    let mut after = after.iter();
    before.iter().all(|(index, count)| {
        *count <= 0.0
            || after
                .find(|(i, _)| i >= index)
                .is_some_and(|(i, c)| i == index && c >= count)
    })
}

/// A number that is written as the bits in which it differs from the one before.
struct Xor {
    before: u64,
    leading: u32,
    trailing: u32,
}

impl Xor {
    fn new(first: f64) -> Self {
        Self {
            before: first.to_bits(),
            leading: NO_WINDOW,
            trailing: 0,
        }
    }

    fn put(&mut self, value: f64, out: &mut Bits) {
        let differing = value.to_bits() ^ self.before;
        self.before = value.to_bits();
        if differing == 0 {
            return out.put(0, 1);
        }
        // Five bits hold the number of leading zeros.
        let (leading, trailing) = (differing.leading_zeros().min(31), differing.trailing_zeros());
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            out.put(0b10, 2);
            return out.put(differing >> self.trailing, 64 - self.leading - self.trailing);
        }
        (self.leading, self.trailing) = (leading, trailing);
        let meaningful = 64 - leading - trailing;
        out.put(0b11, 2);
        out.put(leading.into(), 5);
        // Six bits hold up to 63; 64 is written as 0, which cannot be meant.
        out.put(u64::from(meaningful) & 63, 6);
        out.put(differing >> trailing, meaningful);
    }
}

/// Bits, the first one the highest of its byte.
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn with_header(header: &[u8]) -> Self {
        Self {
            bytes: header.to_vec(),
            free: 0,
        }
    }

    /// Appends the lowest `count` bits of `value`, the highest of them first.
    fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let piece = (value >> (left - taken)) as u8 & (u8::MAX >> (8 - taken));
            self.free -= taken;
            left -= taken;
            if let Some(last) = self.bytes.last_mut() {
                *last |= piece << self.free;
            }
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    /// A change of the distance between two times, as a chunk of numbers has it.
    fn change(&mut self, value: i64) {
        match value {
            0 => self.put(0, 1),
            v if fits(v, 14) => self.tagged(0b10, 2, v, 14),
            v if fits(v, 17) => self.tagged(0b110, 3, v, 17),
            v if fits(v, 20) => self.tagged(0b1110, 4, v, 20),
            v => self.tagged(0b1111, 4, v, 64),
        }
    }

    fn tagged(&mut self, tag: u64, tag_bits: u32, value: i64, value_bits: u32) {
        self.put(tag, tag_bits);
        self.put(value as u64, value_bits);
    }

    /// An integer with a sign, as a chunk of histograms has it.
    fn signed(&mut self, value: i64) {
        match STEPS.iter().find(|(_, bits)| fits(value, *bits)) {
            _ if value == 0 => self.put(0, 1),
            Some(&(tag, bits)) => self.tagged((1 << tag) - 2, tag, value, bits),
            None => self.tagged(0xff, 8, value, 64),
        }
    }

    /// An integer without sign, of the same steps.
    fn unsigned(&mut self, value: u64) {
        match STEPS.iter().find(|(_, bits)| value >> bits == 0) {
            _ if value == 0 => self.put(0, 1),
            Some(&(tag, bits)) => self.tagged((1 << tag) - 2, tag, value as i64, bits),
            None => self.tagged(0xff, 8, value as i64, 64),
        }
    }

    /// A byte for zero and for the usual powers of two, nine for all else.
    fn zero_threshold(&mut self, threshold: f64) {
        let bits = threshold.to_bits();
        let exponent = (bits >> 52) as i64 - 1022;
        if threshold == 0.0 {
            self.put(0, 8);
        } else if bits << 12 == 0 && (-242..=11).contains(&exponent) {
            self.put((exponent + 243) as u64, 8);
        } else {
            self.put(255, 8);
            self.put(bits, 64);
        }
    }

    /// Runs of consecutive indexes: how many, then length and distance of each.
    fn spans(&mut self, indexes: &[i32]) {
        let mut spans: Vec<(i64, u64)> = Vec::new();
        let mut end = 0_i64;
        for index in indexes.iter().copied().map(i64::from) {
            match spans.last_mut() {
                Some((_, length)) if index == end => *length += 1,
                _ => spans.push((index - end, 1)),
            }
            end = index + 1;
        }
        self.unsigned(spans.len() as u64);
        for (offset, length) in spans {
            self.unsigned(length);
            self.signed(offset);
        }
    }

    /// Thousandths that are whole are written as integers.
    fn bound(&mut self, bound: f64) {
        let thousandths = (bound * 1000.0).round();
        if (0.0..=33_554_430.0).contains(&thousandths) && thousandths / 1000.0 == bound {
            self.unsigned(thousandths as u64 + 1);
        } else {
            self.put(0, 1);
            self.put(bound.to_bits(), 64);
        }
    }
}

/// Bits of the tag and of the value: the tag is all ones but for the last bit.
const STEPS: [(u32, u32); 7] = [(2, 3), (3, 6), (4, 9), (5, 12), (6, 18), (7, 25), (8, 56)];

/// Whether readers take `bits` bits for this number: half of the patterns are negative, and the middle one is not.
const fn fits(value: i64, bits: u32) -> bool {
    -((1 << (bits - 1)) - 1) <= value && value <= 1 << (bits - 1)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}
