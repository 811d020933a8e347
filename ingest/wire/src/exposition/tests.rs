use proptest::prelude::*;

use super::*;

fn show(text: &str, format: Format) -> String {
    let mut out = Vec::new();
    for line in lines(text, format) {
        out.push(match line {
            Ok(Line::Sample(sample)) => {
                let labels: Vec<String> = sample.labels().map(|(n, v)| format!("{n}={v:?}")).collect();
                let mut shown = format!("{} {:?} @{:?}", labels.join(" "), sample.value, sample.at_ms);
                if let Some(e) = sample.exemplar {
                    let labels: Vec<String> = e.labels().map(|(n, v)| format!("{n}={v:?}")).collect();
                    shown += &format!(" # {} {:?} @{:?}", labels.join(" "), e.value, e.at_ms);
                }
                shown
            }
            Ok(Line::About { metric, property, text }) => format!("{property:?} {metric} {text:?}"),
            Err(error) => format!("error: {error}"),
        });
    }
    out.join("\n")
}

fn check(text: &str, expected: &str) {
    assert_eq!(show(text, Format::Text), expected, "{text}");
}

fn check_open(text: &str, expected: &str) {
    assert_eq!(show(text, Format::OpenMetrics), expected, "{text}");
}

#[test]
fn samples_have_name_labels_value_and_time() {
    check("up 1", "__name__=\"up\" 1.0 @None");
    check("  up\t{ } 1 5\n\n", "__name__=\"up\" 1.0 @Some(5)");
    check(
        "a:b{x=\"1\", y = \"2\",} -Inf -7\r\n",
        "__name__=\"a:b\" x=\"1\" y=\"2\" -inf @Some(-7)",
    );
    check(
        "m{x=\"}\\\"\\\\\\n,\"} NaN",
        "__name__=\"m\" x=\"}\\\"\\\\\\n,\" NaN @None",
    );
    check("m{x=\"ä\\q\"} 1e-3", "__name__=\"m\" x=\"ä\\\\q\" 0.001 @None");
    check(
        "{\"my.name\",\"a b\"=\"c\",d=\"\"} 2",
        "__name__=\"my.name\" a b=\"c\" d=\"\" 2.0 @None",
    );
}

#[test]
fn comments_say_what_a_metric_is() {
    check(
        "# a comment\n#\n# TYPE up gauge \n#HELP up It\\nis\\\\ \"up\"",
        "Type up \"gauge\"\nHelp up \"It\\nis\\\\ \\\"up\\\"\"",
    );
    check("# TYPE \"my.name\" counter", "Type my.name \"counter\"");
    check("# UNIT x_seconds seconds", "Unit x_seconds \"seconds\"");
}

#[test]
fn what_cannot_be_read_names_its_line() {
    for (text, error) in [
        ("up 1\nup", "2: a number is expected after the series"),
        ("up x", "1: a number is expected after the series"),
        ("1up 1", "1: a series begins with the name of its metric"),
        ("{a=\"b\"} 1", "1: a series begins with the name of its metric"),
        ("up{\"x\"} 1", "1: a series has one name"),
        (
            "up{a=\"b\" c=\"d\"} 1",
            "1: a comma or a closing brace is expected after a label",
        ),
        ("up{a=b} 1", "1: a quotation mark is expected"),
        ("up{a=\"b", "1: a quoted text does not end"),
        ("up{=\"b\"} 1", "1: the name of a label is expected"),
        ("up 1 1.5", "1: a timestamp is a whole number of milliseconds"),
        ("up 1 1 1", "1: nothing is expected after value and timestamp"),
        (
            "# TYPE 1 gauge",
            "1: the name of a metric is expected after HELP, TYPE or UNIT",
        ),
    ] {
        let shown = show(text, Format::Text);
        assert_eq!(
            shown.lines().last(),
            Some(format!("error: line {error}").as_str()),
            "{text}"
        );
    }
}

#[test]
fn openmetrics_has_seconds_exemplars_and_an_end() {
    check_open(
        "# TYPE a counter\na_total 1 1.5 # {trace_id=\"x\"} 0.5 1.25\na_total 2 # {} 1\n# EOF\nrest",
        "Type a \"counter\"\n__name__=\"a_total\" 1.0 @Some(1500) # trace_id=\"x\" 0.5 @Some(1250)\n\
         __name__=\"a_total\" 2.0 @None #  1.0 @None",
    );
    check_open(
        "a 1\n",
        "__name__=\"a\" 1.0 @None\nerror: line 2: the text ends without # EOF",
    );
    check_open("a 1 # x", "error: line 1: an exemplar begins with its labels");
}

#[test]
fn the_content_type_names_the_format() {
    for (content_type, format) in [
        ("text/plain; version=0.0.4", Format::Text),
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::OpenMetrics,
        ),
        ("", Format::Text),
    ] {
        assert_eq!(Format::of_content_type(content_type), format, "{content_type}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z{}=\",# \\n0-9\\\\.:ä-]{0,80}", open in any::<bool>()) {
        show(&text, if open { Format::OpenMetrics } else { Format::Text });
    }

    #[test]
    fn labels_come_back_as_they_were_written(values in prop::collection::vec(".{0,12}", 0..5), value in any::<f64>()) {
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = values.iter().enumerate().map(|(i, v)| format!("l{i}=\"{}\"", escaped(v))).collect();
        let text = format!("m{{{}}} {value}", labels.join(","));
        let Some(Ok(Line::Sample(sample))) = lines(&text, Format::Text).next() else {
            return Err(TestCaseError::fail(show(&text, Format::Text)));
        };
        let read: Vec<String> = sample.labels().skip(1).map(|(_, v)| v.into_owned()).collect();
        prop_assert_eq!(read, values);
        prop_assert!(sample.value == value || value.is_nan());
    }
}
