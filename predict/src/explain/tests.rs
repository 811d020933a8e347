use super::*;

#[test]
fn numbers_are_said_in_the_units_of_the_trade() {
    let def = |unit| SignalDef {
        unit,
        ..SignalDef::unknown("x", false)
    };
    let cases = [
        (Unit::Ratio, 0.912, "91 %"),
        (Unit::Ratio, 0.0123, "1.23 %"),
        (Unit::Percent, 45.2, "45 %"),
        (Unit::Bytes, 3.5 * 1_073_741_824.0, "3.50 GiB"),
        (Unit::BytesPerSecond, 2_048.0, "2 KiB/s"),
        (Unit::Seconds, 0.1234, "123 ms"),
        (Unit::Seconds, 12.34, "12.3 s"),
        (Unit::Celsius, 87.25, "87.2 °C"),
        (Unit::Count, 3.0, "3"),
    ];
    for (unit, value, expected) in cases {
        assert_eq!(show(&def(unit), value), expected, "{unit:?}");
    }
    assert_eq!(show_difference(&def(Unit::Ratio), 0.042), "4.20 points");
}
