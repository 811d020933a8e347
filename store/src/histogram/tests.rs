use std::sync::Arc;

use proptest::prelude::*;

use super::row::{self, Frame};
use super::*;
use crate::codec::histograms::{COLUMNS, cuts, decode, encode};

#[test]
#[expect(
    clippy::approx_constant,
    reason = "Prometheus' bound is one ulp below the square root of two"
)]
fn buckets_end_where_prometheus_ends_them() {
    // From the exposition of client_golang and Prometheus' own documentation of native histograms.
    for (index, schema, bound) in [
        (0, 0, 1.0),
        (1, 0, 2.0),
        (-1, 0, 0.5),
        (1, 1, 1.414_213_562_373_095),
        (1, 2, 1.189_207_115_002_721),
        (3, 2, 1.681_792_830_507_428_8),
        (1, 3, 1.090_507_732_665_257_7),
        (3, 8, 1.008_155_898_118_417_5),
        (-1, -1, 0.25),
        (1, -4, 65_536.0),
        (64, -4, f64::MAX),
        (65, -4, f64::INFINITY),
        (1024, 0, f64::MAX),
        (1025, 0, f64::INFINITY),
        (1024 * 256, 8, f64::MAX),
        (-1074, 0, 5e-324),
        (-1080, 0, 0.0),
    ] {
        assert_eq!(
            exponential_bound(index, schema),
            bound,
            "bucket {index} of schema {schema}"
        );
    }
}

#[test]
fn what_contradicts_itself_is_no_histogram() {
    let bucket = |index, count| Bucket { index, count };
    let good = Histogram {
        schema: 3,
        count: 3.0,
        positive: vec![bucket(0, 1.0), bucket(2, 2.0)],
        ..Histogram::default()
    };
    let custom = Histogram {
        schema: CUSTOM_SCHEMA,
        positive: vec![bucket(0, 1.0), bucket(2, 2.0)],
        bounds: Some(Arc::from([1.0, 2.0])),
        ..Histogram::default()
    };
    let check = |change: &dyn Fn(&mut Histogram), of: &Histogram, expected: &str| {
        let mut histogram = of.clone();
        change(&mut histogram);
        let found = histogram
            .checked()
            .map_or_else(|error| error.to_string(), |_| "good".to_owned());
        assert_eq!(found, expected);
    };
    check(&|_| {}, &good, "good");
    check(&|_| {}, &custom, "good");
    check(&|h| h.schema = 9, &good, "schema 9 is not one of -4 to 8 and -53");
    check(&|h| h.positive.reverse(), &good, "the buckets do not ascend");
    check(&|h| h.positive[0].count = -1.0, &good, "a bucket holds -1 observations");
    check(
        &|h| h.positive[1].index = 1 << 20,
        &good,
        "a bucket has index 1048576, which schema 3 has no bucket for",
    );
    check(
        &|h| h.positive[1].index = 3,
        &custom,
        "a bucket has index 3, which schema -53 has no bucket for",
    );
    check(
        &|h| h.bounds = Some(Arc::from([2.0, 1.0])),
        &custom,
        "bounds of its own must be finite and ascend",
    );
    check(
        &|h| h.zero_count = 1.0,
        &custom,
        "a histogram with schema -53 has no bucket around zero",
    );
    check(
        &|h| h.bounds = Some(Arc::from([1.0])),
        &good,
        "a histogram with schema 3 has no bounds of its own",
    );
    check(
        &|h| h.positive = (0..5000).map(|i| bucket(i, 1.0)).collect(),
        &good,
        "it has more than 4096 buckets",
    );
}

#[test]
fn empty_buckets_are_not_kept_and_markers_say_nothing_else() {
    let bucket = |index, count| Bucket { index, count };
    let histogram = Histogram {
        positive: vec![bucket(0, 0.0), bucket(1, 2.0), bucket(2, 0.0)],
        ..Histogram::default()
    };
    assert_eq!(histogram.checked().unwrap().positive, [bucket(1, 2.0)]);
    let marker = Histogram {
        schema: 3,
        count: 7.0,
        positive: vec![bucket(1, 2.0)],
        ..Histogram::stale()
    };
    assert_eq!(marker.checked().unwrap(), Histogram::stale());
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (1u32..5000).prop_map(f64::from),
        1 => any::<f64>().prop_filter("a bucket holds something", |v| *v != 0.0),
    ]
}

fn buckets() -> impl Strategy<Value = Vec<Bucket>> {
    prop::collection::btree_map(-40i32..40, number(), 0..12)
        .prop_map(|all| all.into_iter().map(|(index, count)| Bucket { index, count }).collect())
}

pub(crate) fn any_histogram() -> impl Strategy<Value = Histogram> {
    let float = || prop_oneof![3 => (0u32..100).prop_map(f64::from), 1 => any::<f64>()];
    let frame = prop_oneof![
        3 => (-4i8..=8, prop_oneof![Just(0.0), Just(1e-128), Just(0.001)]).prop_map(|(schema, zero)| (schema, zero, None)),
        1 => (1usize..4).prop_map(|n| (CUSTOM_SCHEMA, 0.0, Some((0..n).map(|i| i as f64 + 0.5).collect::<Arc<[f64]>>()))),
    ];
    (
        frame,
        0u8..4,
        float(),
        float(),
        float(),
        buckets(),
        buckets(),
        any::<bool>(),
        0u8..12,
    )
        .prop_map(
            |((schema, zero_threshold, bounds), hint, sum, zero_count, count, positive, negative, adds_up, stale)| {
                let custom = schema == CUSTOM_SCHEMA;
                let mut histogram = Histogram {
                    reset: ResetHint::of_number(hint),
                    schema,
                    zero_threshold,
                    zero_count: if custom { 0.0 } else { zero_count },
                    count,
                    sum,
                    positive,
                    negative: if custom { Vec::new() } else { negative },
                    bounds,
                };
                if adds_up {
                    histogram.count = row::sum_of_buckets(&histogram);
                }
                if stale == 0 {
                    histogram = Histogram {
                        reset: histogram.reset,
                        ..Histogram::stale()
                    };
                }
                histogram
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_give_back_the_same_bits(histograms in prop::collection::vec(any_histogram(), 1..20)) {
        let (mut bytes, mut frame) = (Vec::new(), Frame::default());
        histograms.iter().for_each(|h| row::put(&mut bytes, h, &mut frame));
        let (mut rest, mut frame) = (bytes.as_slice(), Frame::default());
        for histogram in &histograms {
            prop_assert_eq!(&row::take(&mut rest, &mut frame).unwrap(), histogram);
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn chunks_give_back_the_same_bits(histograms in prop::collection::vec(any_histogram(), 1..300)) {
        let histograms: Vec<Arc<Histogram>> = histograms.into_iter().map(Arc::new).collect();
        let mut start = 0;
        for end in cuts(&histograms) {
            let (codec, bytes) = encode(&histograms[start..end]);
            let found = decode(codec, &bytes, end - start).unwrap();
            prop_assert!(found.iter().zip(&histograms[start..end]).all(|(a, b)| *a == **b));
            start = end;
        }
        prop_assert_eq!(start, histograms.len());
    }

    #[test]
    fn damaged_bytes_are_told_and_ask_for_little_memory(
        histograms in prop::collection::vec(any_histogram(), 1..30),
        cut in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        // Only that nothing panics or hangs: what is wrong is told by the checksum before.
        let histograms: Vec<Arc<Histogram>> = histograms.into_iter().map(Arc::new).collect();
        let (codec, mut good) = encode(&histograms);
        let at = bit.index(good.len() * 8);
        good[at / 8] ^= 1 << (at % 8);
        let _found = decode(codec, &good, histograms.len());
        let _found = decode(codec, &good[..cut.index(good.len())], histograms.len());
        let _found = decode(64, &bytes, 7);
        let _found = decode(65, &bytes, 7);
        let _found = row::take(&mut bytes.as_slice(), &mut Frame::default());
    }
}

#[test]
fn a_cumulative_histogram_takes_little_more_than_a_byte_a_bucket() {
    // Two hours at one in 15 s: 30 buckets, each of which grows by up to 20 a sample.
    let mut counts = [0_u64; 30];
    let mut state = 1_u64;
    let histograms: Vec<Arc<Histogram>> = (0..480)
        .map(|_| {
            for (i, count) in counts.iter_mut().enumerate() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *count += (state >> 33) % (1 + 20 - (i as u64).abs_diff(15));
            }
            let positive: Vec<Bucket> = counts
                .iter()
                .zip(-15..)
                .filter(|(count, _)| **count > 0)
                .map(|(count, index)| Bucket {
                    index,
                    count: *count as f64,
                })
                .collect();
            let count = positive.iter().map(|b| b.count).sum();
            Arc::new(Histogram {
                schema: 3,
                count,
                sum: count * 0.25,
                positive,
                ..Histogram::default()
            })
        })
        .collect();
    let (mut start, mut bytes) = (0, 0);
    for end in cuts(&histograms) {
        let (codec, chunk) = encode(&histograms[start..end]);
        assert_eq!(codec, COLUMNS);
        bytes += chunk.len();
        start = end;
    }
    let each = bytes as f64 / (480.0 * 30.0);
    assert!(each < 1.0, "{each} bytes a bucket");
}
