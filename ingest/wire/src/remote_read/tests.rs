use proptest::prelude::*;

use super::chunk::{Chunk, Encoding, Histogram, SAMPLES_MAX, histograms_together, of_histograms, of_numbers};
use super::*;
use crate::protobuf::{put_bytes_field, put_varint_field};
use crate::remote_write::read;

fn matcher(op: u64, name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint_field(&mut out, 1, op);
    put_bytes_field(&mut out, 2, name.as_bytes());
    put_bytes_field(&mut out, 3, value.as_bytes());
    out
}

fn request(types: &[u8]) -> Vec<u8> {
    let mut query = Vec::new();
    put_varint_field(&mut query, 1, -5_i64 as u64);
    put_varint_field(&mut query, 2, 1000);
    put_bytes_field(&mut query, 3, &matcher(0, "__name__", "up"));
    put_bytes_field(&mut query, 3, &matcher(3, "job", "a.*"));
    // Hints, which nobody has to follow.
    put_bytes_field(&mut query, 4, &[8, 1]);
    let mut out = Vec::new();
    put_bytes_field(&mut out, 1, &query);
    out.extend_from_slice(types);
    out
}

#[test]
fn requests_say_what_is_wanted() {
    let body = request(&[0x12, 2, 1, 0]);
    let request = Request::read(&body).expect("a request");
    let wanted = |op, name, value| Matcher { op, name, value };
    assert_eq!(
        request.queries,
        [Query {
            start_ms: -5,
            end_ms: 1000,
            matchers: vec![
                wanted(MatchOp::Equal, "__name__", "up"),
                wanted(MatchOp::NotRegex, "job", "a.*")
            ],
        }]
    );
}

#[test]
fn the_first_known_type_is_answered() {
    let check = |types: &[u8], expected| {
        assert_eq!(
            Request::read(&request(types)).expect("a request").kind,
            expected,
            "{types:?}"
        );
    };
    check(&[], Some(Kind::Samples));
    // Packed.
    check(&[0x12, 2, 1, 0], Some(Kind::Chunks));
    check(&[0x12, 4, 0x81, 0x01, 9, 1], Some(Kind::Chunks));
    check(&[0x12, 1, 7], None);
    // One by one.
    check(&[0x10, 0, 0x10, 1], Some(Kind::Samples));
    check(&[0x10, 9, 0x10, 1], Some(Kind::Chunks));
}

#[test]
fn too_many_queries_are_refused() {
    let one = request(&[]);
    assert!(Request::read(&one.repeat(QUERIES_MAX)).is_ok());
    assert!(matches!(
        Request::read(&one.repeat(QUERIES_MAX + 1)),
        Err(DecodeError::TooMany { .. })
    ));
}

#[test]
fn samples_are_written_as_remote_write_reads_them() {
    let histogram = Histogram {
        at_ms: 2000,
        schema: 3,
        zero_threshold: 0.5,
        zero_count: 1.0,
        count: 7.5,
        sum: -2.0,
        positive: vec![(-2, 1.0), (-1, 2.0), (4, 2.5)],
        negative: vec![(0, 1.0)],
        ..Histogram::default()
    };
    let mut result = write::ResultWriter::default();
    result.series(
        &mut [("__name__", "up"), ("job", "a")].into_iter(),
        &[(0, 1.5), (1000, f64::NEG_INFINITY)],
        std::slice::from_ref(&histogram),
    );
    let mut response = Vec::new();
    result.finish(&mut response);
    // A `QueryResult` holds series in the field in which a `WriteRequest` has them.
    let field = Fields::new("ReadResponse", &response)
        .next()
        .expect("a result")
        .expect("a field");
    let Some(Ok(read::Item::Series(series))) = read::request(field.bytes().expect("a message")).next() else {
        panic!("a series was expected");
    };
    let labels: Vec<_> = series.labels().map(|label| label.expect("a label")).collect();
    assert_eq!(labels, [("__name__", "up"), ("job", "a")]);
    let samples: Vec<_> = series.samples().map(|sample| sample.expect("a sample")).collect();
    assert_eq!(samples, [(0, 1.5), (1000, f64::NEG_INFINITY)]);
    let read = series.native_histograms().next().expect("one").expect("a histogram");
    use crate::remote_write::histogram::{Count, Side};
    assert_eq!(
        (read.count, read.zero_count, read.sum),
        (Count::Float(7.5), Count::Float(1.0), -2.0)
    );
    let spans: Vec<_> = read.spans(Side::Positive).map(|span| span.expect("a span")).collect();
    assert_eq!(spans, [(-2, 2), (4, 1)]);
    let counts: Vec<_> = read
        .counts(Side::Positive)
        .map(|count| count.expect("a count"))
        .collect();
    assert_eq!(counts, [1.0, 2.0, 2.5]);
}

#[test]
fn what_decreases_begins_another_chunk() {
    let at = |at_ms: i64, count: f64, buckets: &[(i32, f64)]| Histogram {
        at_ms,
        count,
        positive: buckets.to_vec(),
        ..Histogram::default()
    };
    let check =
        |histograms: &[Histogram], expected| assert_eq!(histograms_together(histograms), expected, "{histograms:?}");
    let first = at(0, 3.0, &[(1, 3.0)]);
    check(&[], 0);
    check(std::slice::from_ref(&first), 1);
    check(&[first.clone(), at(1, 4.0, &[(1, 3.0), (2, 1.0)])], 2);
    check(&[first.clone(), at(1, 2.0, &[(1, 3.0)])], 1);
    check(&[first.clone(), at(1, 9.0, &[(1, 2.0), (2, 7.0)])], 1);
    check(&[first.clone(), at(1, 9.0, &[(2, 9.0)])], 1);
    let hinted = |reset_hint| Histogram {
        reset_hint,
        ..at(1, 4.0, &[(1, 4.0)])
    };
    check(&[first.clone(), hinted(1)], 1);
    check(&[first.clone(), hinted(3)], 1);
    check(&[first.clone(), Histogram { schema: 2, ..hinted(0) }], 1);
    let gone = Histogram {
        sum: f64::from_bits(0x7ff0_0000_0000_0002),
        ..at(1, 0.0, &[])
    };
    check(&[first.clone(), gone.clone()], 1);
    check(&[gone, first], 1);
    let gauges: Vec<_> = (0..200)
        .map(|i| Histogram {
            reset_hint: 3,
            ..at(i, f64::from((i % 7) as u32), &[])
        })
        .collect();
    check(&gauges, SAMPLES_MAX);
}

proptest! {
    #[test]
    fn chunks_of_numbers_hold_what_was_put_in(
        start in prop_oneof![any::<i32>().prop_map(i64::from), 1_700_000_000_000_i64..1_800_000_000_000],
        samples in prop::collection::vec((steps(), values()), 1..SAMPLES_MAX),
    ) {
        let mut at = start;
        let samples: Vec<(i64, f64)> = samples.into_iter().map(|(step, v)| { at += step; (at, v) }).collect();
        let chunk = of_numbers(&samples).expect("a chunk");
        let unpacked = numbers(&chunk);
        prop_assert_eq!(unpacked.len(), samples.len());
        for (a, b) in unpacked.iter().zip(&samples) {
            prop_assert_eq!((a.0, a.1.to_bits()), (b.0, b.1.to_bits()));
        }
    }

    #[test]
    fn chunks_of_histograms_hold_what_was_put_in(
        start in 1_700_000_000_000_i64..1_800_000_000_000,
        threshold in prop_oneof![Just(0.0), Just(0.001), Just(0.25), Just(2.0_f64.powi(-128)), Just(2.0_f64.powi(-300))],
        custom in any::<bool>(),
        added in prop::collection::vec((steps(), prop::collection::vec((-9_i32..9, 0.0..5.0_f64), 0..4)), 1..40),
    ) {
        let bounds = vec![-1.5, 0.0, 0.001, 2.5, 1e9];
        let mut now = Histogram {
            at_ms: start,
            schema: if custom { -53 } else { 3 },
            zero_threshold: if custom { 0.0 } else { threshold },
            bounds: if custom { bounds } else { Vec::new() },
            ..Histogram::default()
        };
        let mut histograms = Vec::new();
        for (step, buckets) in added {
            now.at_ms += step;
            for (index, count) in buckets {
                let (side, index) = if custom { (&mut now.positive, index.rem_euclid(6)) } else if index % 2 == 0 { (&mut now.positive, index) } else { (&mut now.negative, index) };
                match side.binary_search_by_key(&index, |(i, _)| *i) {
                    Ok(i) => side[i].1 += count,
                    Err(i) => side.insert(i, (index, count)),
                }
                now.count += count;
                now.sum -= count;
            }
            histograms.push(now.clone());
        }
        let together = histograms_together(&histograms);
        prop_assert_eq!(together, histograms.len());
        let chunk = of_histograms(&histograms).expect("a chunk");
        prop_assert_eq!(&chunk.encoding, &Encoding::FloatHistogram);
        prop_assert_eq!((chunk.start_ms, chunk.end_ms), (histograms[0].at_ms, now.at_ms));
        let unpacked = unpack(&chunk);
        prop_assert_eq!(unpacked.len(), histograms.len());
        for (mut read, written) in unpacked.into_iter().zip(histograms) {
            // A bucket that fills later is there from the start, and empty.
            for (read, written) in [(&mut read.positive, &written.positive), (&mut read.negative, &written.negative)] {
                read.retain(|(index, count)| *count != 0.0 || written.iter().any(|(i, _)| i == index));
            }
            prop_assert_eq!(read, written);
        }
    }
}

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(15_000_i64),
        1_i64..100,
        14_000_i64..16_000,
        1_i64..5_000_000,
        1_i64..(1 << 40)
    ]
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1.0),
        Just(f64::NAN),
        (0..100_u32).prop_map(f64::from),
        any::<u64>().prop_map(f64::from_bits)
    ]
}

// A reader of chunks, the way the format is described.

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> u64 {
        (0..count).fold(0, |read, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            read << 1 | u64::from(bit)
        })
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.bits(8);
            value |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// How many ones there are before the next zero, at most `most`.
    fn ones(&mut self, most: usize) -> usize {
        (0..most).take_while(|_| self.bits(1) == 1).count()
    }

    fn negatives(&mut self, count: u32) -> i64 {
        let raw = self.bits(count);
        if (1..64).contains(&count) && raw > 1 << (count - 1) {
            raw as i64 - (1 << count)
        } else {
            raw as i64
        }
    }

    fn signed(&mut self) -> i64 {
        let bits = [0, 3, 6, 9, 12, 18, 25, 56, 64][self.ones(8)];
        self.negatives(bits)
    }

    fn unsigned(&mut self) -> u64 {
        let bits = [0, 3, 6, 9, 12, 18, 25, 56, 64][self.ones(8)];
        self.bits(bits)
    }

    fn double(&mut self) -> f64 {
        f64::from_bits(self.bits(64))
    }

    fn xor(&mut self, (value, window): &mut (f64, (u32, u32))) -> f64 {
        if self.bits(1) == 1 {
            if self.bits(1) == 1 {
                let leading = self.bits(5) as u32;
                let meaningful = match self.bits(6) as u32 {
                    0 => 64,
                    n => n,
                };
                *window = (meaningful, 64 - leading - meaningful);
            }
            let differing = self.bits(window.0) << window.1;
            *value = f64::from_bits(value.to_bits() ^ differing);
        }
        *value
    }

    fn indexes(&mut self) -> Vec<i32> {
        let (mut found, mut end) = (Vec::new(), 0);
        for _ in 0..self.unsigned() {
            let length = self.unsigned() as i64;
            let start = end + self.signed();
            end = start + length;
            found.extend((start..end).map(|i| i as i32));
        }
        found
    }
}

fn numbers(chunk: &Chunk) -> Vec<(i64, f64)> {
    let mut reader = Reader {
        bytes: &chunk.bytes,
        at: 16,
    };
    let count = u16::from_be_bytes([chunk.bytes[0], chunk.bytes[1]]);
    let (mut at, mut delta, mut value) = (0, 0, (0.0, (0, 0)));
    let mut found = Vec::new();
    for i in 0..count {
        match i {
            0 => {
                let raw = reader.varint();
                at = (raw >> 1) as i64 ^ -((raw & 1) as i64);
                value.0 = reader.double();
            }
            1 => {
                delta = reader.varint() as i64;
                at += delta;
                reader.xor(&mut value);
            }
            _ => {
                let bits = [0, 14, 17, 20, 64][reader.ones(4)];
                delta += reader.negatives(bits);
                at += delta;
                reader.xor(&mut value);
            }
        }
        found.push((at, value.0));
    }
    found
}

fn unpack(chunk: &Chunk) -> Vec<Histogram> {
    let mut reader = Reader {
        bytes: &chunk.bytes,
        at: 24,
    };
    let count = u16::from_be_bytes([chunk.bytes[0], chunk.bytes[1]]);
    let zero_threshold = match reader.bits(8) {
        0 => 0.0,
        255 => reader.double(),
        exponent => 2.0_f64.powi(exponent as i32 - 244),
    };
    let schema = reader.signed() as i32;
    let sides = [reader.indexes(), reader.indexes()];
    let mut bounds = Vec::new();
    if schema == -53 {
        for _ in 0..reader.unsigned() {
            bounds.push(match reader.unsigned() {
                0 => reader.double(),
                thousandths => (thousandths - 1) as f64 / 1000.0,
            });
        }
    }
    let (mut at_ms, mut delta) = (0, 0);
    let mut values = vec![(0.0, (0, 0)); 3 + sides[0].len() + sides[1].len()];
    let mut found = Vec::new();
    for i in 0..count {
        if i == 0 {
            at_ms = reader.signed();
            values.iter_mut().for_each(|value| value.0 = reader.double());
        } else {
            delta += reader.signed();
            at_ms += delta;
            for value in &mut values {
                reader.xor(value);
            }
        }
        let mut counts = values[3..].iter().map(|(count, _)| *count);
        let mut side = |indexes: &[i32]| indexes.iter().copied().zip(&mut counts).collect();
        found.push(Histogram {
            at_ms,
            reset_hint: chunk.bytes[2] >> 6,
            schema,
            zero_threshold,
            count: values[0].0,
            zero_count: values[1].0,
            sum: values[2].0,
            positive: side(&sides[0]),
            negative: side(&sides[1]),
            bounds: bounds.clone(),
        });
    }
    found
}
