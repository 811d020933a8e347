use super::*;

fn text(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn samples_are_written_as_go_writes_them() {
    let check = |value: f64, expected: &str| assert_eq!(text(|out| sample(out, value)), expected);
    check(0.0, "0");
    check(-0.0, "-0");
    check(1.0, "1");
    check(0.1 + 0.2, "0.30000000000000004");
    check(f64::NAN, "NaN");
    check(f64::INFINITY, "+Inf");
    check(f64::NEG_INFINITY, "-Inf");
    check(1e-6, "0.000001");
    check(1e-7, "1e-07");
    check(-1.5e-9, "-1.5e-09");
    check(1e20, "100000000000000000000");
    check(1e21, "1e+21");
    check(1.7976931348623157e308, "1.7976931348623157e+308");
    check(5e-324, "5e-324");
}

#[test]
fn scalars_never_have_an_exponent() {
    let check = |value: f64, expected: &str| assert_eq!(text(|out| plain(out, value)), expected);
    check(1e-7, "0.0000001");
    check(1e21, "1000000000000000000000");
    check(f64::NAN, "NaN");
}

#[test]
fn numbers_are_as_short_as_they_can_be_and_read_back() {
    // In the middle of two that are as short, the even one, as Go has it; the standard library takes the other.
    assert_eq!(
        text(|out| plain(out, 1_070_500_050_762_648.0 + 0.25)),
        "1070500050762648.2"
    );
    let mut state = 7_u64;
    for i in 0..50_000_u32 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let decimal = f64::from((state >> 40) as u32) / 10_f64.powi((i % 9) as i32);
        for value in [f64::from_bits(state), decimal, -decimal, (state >> 20) as f64] {
            if value.is_finite() {
                let written = text(|out| plain(out, value));
                assert_eq!(
                    written.parse::<f64>().map(f64::to_bits),
                    Ok(value.to_bits()),
                    "{written}"
                );
                // Display of the standard library: as short, by other code.
                assert_eq!(written.len(), value.to_string().len(), "{written}");
            }
        }
    }
}

#[test]
fn times_are_seconds_with_up_to_three_decimals() {
    let check = |at_ms: i64, expected: &str| assert_eq!(text(|out| seconds(out, at_ms)), expected);
    check(0, "0");
    check(4_000, "4");
    check(1_435_781_430_781, "1435781430.781");
    check(1_007, "1.007");
    check(500, "0.500");
    check(-1_500, "-1.500");
}

#[test]
fn strings_are_json() {
    let check = |input: &str| {
        let written = text(|out| string(out, input));
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), input);
    };
    check("");
    check("plain");
    check("a\"b\\c\nd\te\r\u{1}\u{1f}");
    check("Grüße, 世界 🚀");
}
