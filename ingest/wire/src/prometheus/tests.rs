use super::*;

fn check(input: &str, expected: &str) {
    let (name, rest) = input.split_once('|').unwrap_or((input, ""));
    let (unit, kind) = rest.split_once('|').unwrap_or((rest, "gauge"));
    let kind = match kind {
        "counter" => Kind::Counter,
        "updown" => Kind::UpDownCounter,
        "histogram" => Kind::Histogram,
        _ => Kind::Gauge,
    };
    assert_eq!(prometheus_name(name, unit, kind), expected, "{input}");
}

#[test]
fn metric_names_are_those_of_prometheus() {
    // From `metric_namer_test.go` of prometheus/otlptranslator, where names are escaped and suffixes added.
    check("requests||counter", "requests_total");
    check("cpu_usage|1|gauge", "cpu_usage_ratio");
    check("items|1|counter", "items_total");
    check("response_time|ms", "response_time_milliseconds");
    check("memory_usage|By", "memory_usage_bytes");
    check("requests|1/s", "requests_per_second");
    check("throughput|By/s", "throughput_bytes_per_second");
    check("custom_metric|custom_unit", "custom_metric_custom_unit");
    check("custom_metric|{custom}", "custom_metric");
    check("custom_metric|By/{custom}", "custom_metric_bytes");
    check("requests_total||counter", "requests_total");
    check("cpu_usage_ratio|1", "cpu_usage_ratio");
    check("response_time_seconds|s", "response_time_seconds");
    check("requests|1/s|counter", "requests_per_second_total");
    check(
        "metric__with__multiple__underscores|unit__multiple__underscores",
        "metric_with_multiple_underscores_unit_multiple_underscores",
    );
    check(
        "custom_metric|unit@with#special/chars",
        "custom_metric_unit_with_special_per_chars",
    );
    check("@#$%", "");
    check("request_duration|s|histogram", "request_duration_seconds");
    check("active_connections||updown", "active_connections");
    check("uptime|d", "uptime_days");
}

#[test]
fn odd_names_and_units_give_what_prometheus_gives() {
    check("123_requests||counter", "_123_requests_total");
    check("total.requests.total|s|counter", "requests_seconds_total");
    check("ratio.of.things|1", "of_things_ratio");
    check("memory.utilization|1|updown", "memory_utilization");
    check("a:b.c|%", "a:b_c_percent");
    check("x|_/_", "x");
    check("x|a_/s", "x_a_per_second");
    check("x|a_", "x_a_");
    check("temp|°C", "temp_C");
    check("x| s / m ", "x_seconds_per_minute");
    check("total||counter", "total");
    check("speed|m/s|gauge", "speed_meters_per_second");
    check("hw.fan_speed|rpm", "hw_fan_speed_rpm");
}

#[test]
fn label_names_are_those_of_prometheus() {
    for (input, expected) in [
        ("label", "label"),
        ("host.name", "host_name"),
        ("label:colon", "label_colon"),
        ("LabelMixed@2", "LabelMixed_2"),
        ("_label", "key_label"),
        ("__reserved__", "__reserved__"),
        (".label", "key_label"),
        ("..label", "__label"),
        ("3abc", "key_3abc"),
        ("a..b", "a__b"),
        ("größe", "gr__e"),
        ("__", "__"),
        ("", ""),
        ("@@", ""),
    ] {
        let mut out = String::from("kept ");
        assert_eq!(write_label_name(input, &mut out), !expected.is_empty(), "{input}");
        assert_eq!(out.strip_prefix("kept "), Some(expected), "{input}");
    }
}
