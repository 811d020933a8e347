use proptest::prelude::*;

use super::*;
use crate::STALE_NAN_BITS;
use crate::codec::values::{CONSTANT, EXCEPTIONS, LINEAR, PACKED, PCO_DECIMAL, PCO_FLOAT, RAW};

/// Encodes, decodes, compares the bits; returns the chunk.
fn check(ts: &[i64], vs: &[f64]) -> Chunk {
    let chunk = encode(ts, vs);
    // Samples before it must stay as they are.
    let mut out = Samples {
        timestamps: vec![-7],
        values: vec![7.5],
    };
    decode_into(&chunk.ts, chunk.codec, &chunk.values, chunk.n, &mut out).unwrap();
    assert_eq!(&out.timestamps[1..], ts);
    assert_eq!(bits(&out.values[1..]), bits(vs), "codec {}", chunk.codec);
    assert_eq!((out.timestamps[0], out.values[0]), (-7, 7.5));
    assert_eq!(
        (chunk.t_min, chunk.t_max, chunk.n as usize),
        (ts[0], ts[ts.len() - 1], ts.len())
    );
    chunk
}

fn check_values(codecs: &[u8], at_most: usize, vs: &[f64]) {
    let ts: Vec<i64> = (0..vs.len() as i64).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let chunk = check(&ts, vs);
    assert!(codecs.contains(&chunk.codec), "codec {}", chunk.codec);
    assert!(chunk.values.len() <= at_most, "{} bytes", chunk.values.len());
}

fn check_timestamps(at_most: usize, ts: &[i64]) {
    let chunk = check(ts, &vec![1.0; ts.len()]);
    assert!(chunk.ts.len() <= at_most, "{} bytes", chunk.ts.len());
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Reproducible noise in `0..below`.
fn noise(n: usize, below: u64) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        })
        .collect()
}

#[test]
fn a_constant_takes_its_own_bits_at_most() {
    check_values(&[CONSTANT], 0, &[0.0; 480]);
    check_values(&[CONSTANT], 2, &[1.0; 480]);
    check_values(&[CONSTANT], 1, &[-0.0; 480]);
    check_values(&[CONSTANT], 8, &[0.1; 480]);
    check_values(&[CONSTANT], 8, &[f64::from_bits(STALE_NAN_BITS); 3]);
}

#[test]
fn a_steady_counter_takes_three_numbers() {
    check_values(
        &[LINEAR],
        8,
        &(0..480).map(|i| f64::from(i) * 15.0 + 100.0).collect::<Vec<_>>(),
    );
    check_values(
        &[LINEAR],
        8,
        &(0..480).map(|i| f64::from(1000 - i) / 100.0).collect::<Vec<_>>(),
    );
}

#[test]
fn percent_with_two_decimals_takes_its_noise() {
    // 200 steps of noise are 7.6 bits, packed 8.
    let vs: Vec<f64> = noise(480, 200).iter().map(|&x| (4000 + x) as f64 / 100.0).collect();
    check_values(&[PACKED, PCO_DECIMAL], 500, &vs);
    check_values(&[PACKED], 26, &vs[..20]);
}

#[test]
fn a_counter_that_starts_anew_takes_its_increments() {
    // 200 steps are 7.6 bits an increment, 480 of them 458 bytes; the fall is one more.
    let mut sum = 0;
    let mut vs: Vec<f64> = Vec::new();
    for (i, increment) in noise(480, 200).into_iter().enumerate() {
        sum = if i == 300 { 0 } else { sum + increment };
        vs.push(sum as f64);
    }
    check_values(&[PCO_DECIMAL], 600, &vs);
}

#[test]
fn pages_of_4096_bytes_share_a_factor() {
    let vs: Vec<f64> = noise(20, 16).iter().map(|&x| (x * 4096) as f64).collect();
    check_values(&[PACKED], 18, &vs);
}

#[test]
fn a_marker_among_decimals_is_an_exception() {
    let mut vs: Vec<f64> = noise(480, 200).iter().map(|&x| x as f64 / 100.0).collect();
    vs[479] = f64::from_bits(STALE_NAN_BITS);
    check_values(&[PACKED | EXCEPTIONS, PCO_DECIMAL | EXCEPTIONS], 510, &vs);
    vs[0] = -0.0;
    vs[77] = f64::INFINITY;
    vs[78] = f64::from_bits(0x7ff8_dead_beef_0001);
    check_values(&[PACKED | EXCEPTIONS, PCO_DECIMAL | EXCEPTIONS], 540, &vs);
    let mut steady = vec![3.0; 100];
    steady[50] = f64::NEG_INFINITY;
    check_values(&[LINEAR | EXCEPTIONS], 14, &steady);
}

#[test]
fn one_stray_of_full_precision_does_not_scale_the_rest() {
    let mut vs: Vec<f64> = noise(480, 200).iter().map(|&x| x as f64 / 100.0).collect();
    vs[200] = 0.123_456_789_012_3;
    check_values(&[PACKED | EXCEPTIONS, PCO_DECIMAL | EXCEPTIONS], 510, &vs);
}

#[test]
fn full_precision_stays_as_it_is() {
    let vs: Vec<f64> = noise(480, 1 << 30).iter().map(|&x| (x as f64).sqrt().sin()).collect();
    check_values(&[PCO_FLOAT], 8 * 480, &vs);
    check_values(&[RAW], 80, &vs[..10]);
}

#[test]
fn regular_timestamps_take_a_start_and_a_step() {
    check_timestamps(
        10,
        &(0..480).map(|i| 1_700_000_000_123 + i * 15_000).collect::<Vec<_>>(),
    );
    check_timestamps(8, &[1_700_000_000_000]);
}

#[test]
fn jitter_takes_its_own_bits() {
    // Five steps of jitter are 2.3 bits.
    let ts: Vec<i64> = noise(480, 5)
        .iter()
        .zip(0..)
        .map(|(&x, i)| 1_700_000_000_000 + i * 15_000 + x as i64)
        .collect();
    check_timestamps(210, &ts);
    let gap: Vec<i64> = ts
        .iter()
        .enumerate()
        .map(|(i, t)| t + if i > 200 { 600_000 } else { 0 })
        .collect();
    check_timestamps(280, &gap);
}

#[test]
fn the_ends_of_time_survive() {
    check(&[i64::MIN, 0, i64::MAX], &[1.0, 2.0, 3.0]);
    check(&[i64::MAX - 1, i64::MAX], &[f64::MAX, f64::MIN]);
}

#[test]
fn numbers_of_samples_beyond_the_bound_are_refused() {
    let chunk = encode(&[1, 2], &[1.0, 1.0]);
    for n in [0, CHUNK_SAMPLES_MAX as u32 + 1, u32::MAX] {
        let refused = decode_into(&chunk.ts, chunk.codec, &chunk.values, n, &mut Samples::default());
        assert_eq!(refused, Err(ChunkError::Samples { n }));
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1_000_000_i64..1_000_000, 0_i32..7).prop_map(|(m, e)| m as f64 / 10_f64.powi(e)),
        any::<i64>().prop_map(|m| m as f64),
        proptest::sample::select(vec![
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            1e15,
            999_999_999_999_999.0,
            9_007_199_254_740_993.0,
            f64::from_bits(STALE_NAN_BITS),
            f64::from_bits(0xfff8_0000_0000_0001),
        ]),
    ]
}

fn any_values() -> impl Strategy<Value = Vec<f64>> {
    // From 768 on values are in pages.
    prop_oneof![3 => values_of(1..300), 1 => values_of(700..1700)]
}

fn values_of(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        proptest::collection::vec(any_value(), n.clone()),
        // Mostly decimals of one scale, some strays.
        (
            0_i32..7,
            proptest::collection::vec((-10_000_i64..10_000, 0_u8..40, any_value()), n.clone())
        )
            .prop_map(|(e, all)| all
                .into_iter()
                .map(|(m, odd, v)| if odd == 0 { v } else { m as f64 / 10_f64.powi(e) })
                .collect()),
        // Counters with resets.
        proptest::collection::vec((0_u32..100_000, 0_u8..50), n).prop_map(|all| {
            let mut sum = 0.0;
            all.into_iter()
                .map(|(step, reset)| {
                    sum = if reset == 0 { 0.0 } else { sum + f64::from(step) };
                    sum
                })
                .collect()
        }),
    ]
}

fn any_timestamps(n: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        (any::<i32>(), 1_i64..100_000)
            .prop_map(move |(start, step)| (0..n as i64).map(|i| i64::from(start) + i * step).collect()),
        (
            0_i64..1 << 41,
            100_i64..100_000,
            proptest::collection::vec(0_i64..99, n)
        )
            .prop_map(|(start, step, jitter)| jitter
                .iter()
                .zip(0..)
                .map(|(j, i)| start + i * step + j)
                .collect()),
        proptest::collection::btree_set(any::<i64>(), n).prop_map(|all| all.into_iter().collect()),
    ]
}

proptest! {
    #[test]
    fn every_bit_comes_back((vs, ts) in any_values().prop_flat_map(|vs| { let n = vs.len(); (Just(vs), any_timestamps(n)) })) {
        check(&ts, &vs);
    }

    #[test]
    fn any_stretch_comes_back(
        (vs, ts) in any_values().prop_flat_map(|vs| { let n = vs.len(); (Just(vs), any_timestamps(n)) }),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let chunk = encode(&ts, &vs);
        let (from, to) = (from.index(ts.len()), to.index(ts.len()));
        let mut out = Samples { timestamps: vec![-7], values: vec![7.5] };
        let range = TimeRange::millis(ts[from], ts[to]);
        let bounds = decode_within((&chunk.ts, chunk.codec, &chunk.values), chunk.n, range, &mut out).unwrap();
        prop_assert_eq!(bounds, (ts[0], ts[ts.len() - 1]));
        let expected = from..(to + 1).max(from);
        prop_assert_eq!(&out.timestamps[1..], &ts[expected.clone()]);
        prop_assert_eq!(bits(&out.values[1..]), bits(&vs[expected]));
        prop_assert_eq!((out.timestamps[0], out.values[0]), (-7, 7.5));
    }

    #[test]
    fn random_bytes_neither_panic_nor_grow(
        ts in proptest::collection::vec(any::<u8>(), 0..200),
        codec in any::<u8>(),
        vs in proptest::collection::vec(any::<u8>(), 0..400),
        n in 0_u32..5000,
    ) {
        let mut out = Samples::default();
        let _decoded = decode_into(&ts, codec, &vs, n, &mut out);
        prop_assert!(out.values.capacity() <= 2 * CHUNK_SAMPLES_MAX);
        prop_assert_eq!(out.timestamps.len(), out.values.len());
    }

    #[test]
    fn damaged_chunks_neither_panic_nor_grow(
        (vs, ts) in any_values().prop_flat_map(|vs| { let n = vs.len(); (Just(vs), any_timestamps(n)) }),
        flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
        cut in any::<u16>(),
        n in proptest::option::of(1_u32..4097),
    ) {
        let mut chunk = encode(&ts, &vs);
        for (at, with) in flips {
            let (ts_len, values_len) = (chunk.ts.len(), chunk.values.len());
            chunk.ts[usize::from(at) % ts_len] ^= with & 0x11;
            if values_len > 0 { chunk.values[usize::from(at) % values_len] ^= with; }
        }
        if cut % 3 == 0 { chunk.values.truncate(usize::from(cut) % (chunk.values.len() + 1)); }
        let mut out = Samples::default();
        let range = TimeRange::millis(ts[ts.len() / 2], i64::MAX);
        let _decoded = decode_within((&chunk.ts, chunk.codec, &chunk.values), n.unwrap_or(chunk.n), range, &mut out);
        out.clear();
        let _decoded = decode_into(&chunk.ts, chunk.codec, &chunk.values, n.unwrap_or(chunk.n), &mut out);
        prop_assert!(out.values.capacity() <= 2 * CHUNK_SAMPLES_MAX);
        prop_assert_eq!(out.timestamps.len(), out.values.len());
    }
}
