use proptest::prelude::*;

use super::*;

fn round_trip(samples: &[(i64, f64)]) -> usize {
    let mut stream = Stream::default();
    let mut lengths = Vec::new();
    for &(at, value) in samples {
        stream.push(at, value);
        lengths.push(stream.len());
    }
    // Every prefix reads back, bit by bit.
    for n in lengths {
        let mut out = Samples::default();
        read_stream(stream.bytes(), n, i64::MIN, i64::MAX, &mut out).expect("a stream that was just written");
        let read: Vec<_> = out.iter().map(|(t, v)| (t, v.to_bits())).collect();
        let written: Vec<_> = samples[..n as usize].iter().map(|&(t, v)| (t, v.to_bits())).collect();
        assert_eq!(read, written);
    }
    stream.bytes().len()
}

/// At most so many bytes a sample, over 120 samples at 10 s.
fn check(bytes_a_sample: f64, value: impl Fn(u32) -> f64) {
    let samples: Vec<_> = (0..120)
        .map(|i| (1_700_000_000_000 + i64::from(i) * 10_000, value(i)))
        .collect();
    let bytes = round_trip(&samples) as f64 / 120.0;
    assert!(bytes <= bytes_a_sample, "{bytes} bytes a sample");
}

#[test]
fn regular_series_take_few_bytes() {
    check(0.4, |_| 42.5);
    check(0.8, f64::from);
    check(1.3, |i| f64::from(1_000_000 + i * 10));
    check(1.8, |i| f64::from(25 + i * 37 % 100) / 100.0);
    check(2.5, |i| 8_589_934_592.0 + f64::from(i * 4096));
    check(7.6, |i| f64::from(i + 2).sqrt());
}

#[test]
fn values_that_are_no_decimals_keep_their_bits() {
    let odd = [
        f64::NAN,
        crate::stale_nan(),
        -0.0,
        0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        1e300,
        1e18,
    ];
    let mut samples = Vec::new();
    for (i, a) in odd.iter().enumerate() {
        for b in odd {
            samples.push((samples.len() as i64, *a));
            samples.push((samples.len() as i64, b));
            samples.push((samples.len() as i64, 0.1 * i as f64));
        }
    }
    for samples in samples.chunks(Stream::LEN_MAX as usize) {
        round_trip(samples);
    }
}

#[test]
fn timestamps_may_be_anything() {
    round_trip(&[(i64::MIN, 1.0), (-1, 1.0), (0, 1.0), (1, 1.0), (i64::MAX, 1.0)]);
}

#[test]
fn a_range_reads_what_lies_within_it() {
    let mut stream = Stream::default();
    for i in 0..100 {
        stream.push(i * 10, i as f64);
    }
    let mut out = Samples::default();
    read_stream(stream.bytes(), stream.len(), 95, 120, &mut out).expect("a whole stream");
    assert_eq!(out.timestamps, [100, 110, 120]);
    assert_eq!((stream.first(), stream.last(), stream.last_value()), (0, 990, 99.0));
}

#[test]
fn damaged_bytes_never_panic() {
    let mut stream = Stream::default();
    for i in 0..50 {
        stream.push(i * i, 1.0 / (i as f64 + 1.0));
    }
    let bytes = stream.bytes().to_vec();
    for cut in 0..bytes.len() {
        assert!(read_stream(&bytes[..cut], stream.len(), i64::MIN, i64::MAX, &mut Samples::default()).is_none());
        let mut flipped = bytes.clone();
        flipped[cut] ^= 0xff;
        // Whatever it says, it ends.
        if read_stream(&flipped, stream.len(), i64::MIN, i64::MAX, &mut Samples::default()).is_none() {}
    }
}

proptest! {
    #[test]
    fn any_samples_read_back(
        samples in prop::collection::btree_map(any::<i64>(), prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-100_000_i64..100_000, 0_u32..6).prop_map(|(m, e)| m as f64 / 10_f64.powi(e as i32)),
        ], 1..200)
    ) {
        round_trip(&samples.into_iter().collect::<Vec<_>>());
    }
}
