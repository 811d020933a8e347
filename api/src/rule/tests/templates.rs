use crate::rule::template::Facts;
use crate::rule::*;

fn rendered(text: &str, value: f64) -> String {
    let facts = Facts {
        labels: vec![
            ("instance", "web-1.example.org:9100"),
            ("job", "node"),
            ("mountpoint", "/"),
        ],
        value,
        external_labels: vec![("cluster", "a")],
        external_url: "http://foreshock.example",
    };
    match Template::parse(text) {
        Ok(template) => template.render(&facts),
        Err(error) => format!("refused: {error}"),
    }
}

fn gives(text: &str, value: f64, expected: &str) {
    assert_eq!(rendered(text, value), expected, "{text} with {value}");
}

/// `cases`: value, `is`, what the template makes of it; a semicolon between two.
fn each(template: &str, cases: &str) {
    for case in cases.split("; ") {
        let (value, expected) = case.split_once(" is ").unwrap();
        gives(template, value.parse().unwrap(), expected);
    }
}

#[test]
fn labels_and_value_are_put_in() {
    gives("plain", 1.0, "plain");
    gives(
        "{{ $labels.job }} on {{$labels.instance}}",
        1.0,
        "node on web-1.example.org:9100",
    );
    gives(
        "{{ .Labels.job }} {{ .Value }} {{ $externalLabels.cluster }}",
        2.5,
        "node 2.5 a",
    );
    gives("[{{ $labels.missing }}]", 1.0, "[]");
    gives(
        "{{ index $labels \"job\" }} {{ externalURL }} {{ $externalURL }}",
        1.0,
        "node http://foreshock.example http://foreshock.example",
    );
    gives("a {{- /* said */ -}} b {{ \"c\" -}}   d", 1.0, "ab cd");
    gives("{{ `raw \"text\"` }}", 1.0, "raw \"text\"");
}

#[test]
fn numbers_look_as_in_go() {
    each(
        "{{ $value }}",
        "95 is 95; 0.1 is 0.1; 1234567 is 1.234567e+06; 100000 is 100000; 0.000012 is 1.2e-05; -0.5 is -0.5; NaN is NaN; inf is +Inf",
    );
}

#[test]
fn humanized_numbers_are_those_of_prometheus() {
    each(
        "{{ $value | humanize }}",
        "0 is 0; 1234567 is 1.235M; 999 is 999; 0.0005 is 500u; -0.25 is -250m",
    );
    each("{{ $value | humanize1024 }}", "1073741824 is 1Gi; 1500 is 1.465ki");
    each("{{ $value | humanizePercentage }}", "0.123456 is 12.35%; 1 is 100%");
    each(
        "{{ $value | humanizeDuration }}",
        "0 is 0s; 59.5 is 59.5s; 3661 is 1h 1m 1s; 90061 is 1d 1h 1m 1s; -65 is -1m 5s; 0.012 is 12ms",
    );
    each(
        "{{ $value | humanizeTimestamp }}",
        "1435065584.128 is 2015-06-23 13:19:44.128 +0000 UTC",
    );
    gives("{{ humanize $value }}", 0.0, "0");
    gives("{{ \"1h\" | parseDuration }}", 0.0, "3600");
    gives("{{ \"3.5\" | humanize }}", 0.0, "3.5");
}

#[test]
fn printf_knows_the_common_verbs() {
    gives("{{ printf \"%.2f%%\" $value }}", 12.345, "12.35%");
    gives("{{ $value | printf \"%.1f\" }}", 0.25, "0.2");
    gives("{{ printf \"%s is %v\" $labels.job $value }}", 3.0, "node is 3");
    gives(
        "{{ printf \"%5.1f|%-6s|%06.2f\" $value \"ab\" $value }}",
        1.5,
        "  1.5|ab    |001.50",
    );
    gives("{{ printf \"%d %t %q\" 5 true \"x\" }}", 0.0, "5 true \"x\"");
    gives(
        "{{ printf \"%.3g %e\" $value $value }}",
        1234.5,
        "1.23e+03 1.234500e+03",
    );
    gives("{{ printf \"%d\" $value }}", 1.5, "%!d(float64=1.5)");
    gives("{{ printf \"%s %s\" \"a\" }}", 0.0, "a %!s(MISSING)");
    gives("{{ printf \"%s\" \"a\" \"b\" }}", 0.0, "a%!(EXTRA string=b)");
    gives(
        "{{ printf \"%p\" $value }}",
        0.0,
        "refused: printf verb %p is not supported at \"{{ printf \\\"%p\\\" $value }}\"",
    );
}

#[test]
fn conditions_choose() {
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        9.0,
        "high",
    );
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        3.0,
        "middle",
    );
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        1.0,
        "low",
    );
    gives("{{ if $labels.missing }}a{{ end }}b", 0.0, "b");
    gives(
        "{{ with $labels.job }}job {{ . }}{{ else }}none{{ end }}",
        0.0,
        "job node",
    );
    gives(
        "{{ with $x := $labels.missing }}{{ $x }}{{ else }}none{{ end }}",
        0.0,
        "none",
    );
    gives("{{ $x := $labels.job | toUpper }}{{ $x }}", 0.0, "NODE");
    gives(
        "{{ if and (eq $labels.job \"node\") (not (lt $value 1.0)) }}yes{{ end }}",
        1.0,
        "yes",
    );
    gives(
        "{{ if or (eq $labels.job \"a\" \"node\") false }}yes{{ end }}",
        1.0,
        "yes",
    );
    gives("{{ if match \"^web-[0-9]\" $labels.instance }}web{{ end }}", 1.0, "web");
}

#[test]
fn labels_are_gone_through() {
    gives(
        "{{ range $name, $value := $labels }}{{ $name }}={{ $value }} {{ end }}",
        0.0,
        "instance=web-1.example.org:9100 job=node mountpoint=/ ",
    );
    gives(
        "{{ define \"who\" }}{{ .job }}{{ end }}{{ template \"who\" $labels }}",
        0.0,
        "node",
    );
    gives(
        "{{ $all := \"\" }}{{ range $labels }}{{ $all = print $all \"x\" }}{{ end }}{{ $all }}",
        0.0,
        "xxx",
    );
}

#[test]
fn texts_are_changed_as_prometheus_does() {
    gives("{{ $labels.instance | stripPort }}", 0.0, "web-1.example.org");
    gives("{{ $labels.instance | stripDomain }}", 0.0, "web-1:9100");
    gives(
        "{{ stripPort \"[::1]:80\" }} {{ stripDomain \"10.0.0.1:80\" }}",
        0.0,
        "::1 10.0.0.1:80",
    );
    gives(
        "{{ reReplaceAll \"(.*):.*\" \"$1!\" $labels.instance }}",
        0.0,
        "web-1.example.org!",
    );
    gives(
        "{{ title \"one two\" }} {{ toLower \"ABC\" }} {{ len \"abc\" }}",
        0.0,
        "One Two abc 3",
    );
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    gives(
        "{{ nonsense $value }}",
        0.0,
        "refused: unknown function nonsense at \"{{ nonsense $value }}\"",
    );
    gives(
        "{{ $labels.job",
        0.0,
        "refused: an action does not end with }} at \"{{ $labels.job\"",
    );
    gives(
        "{{ $nobody }}",
        0.0,
        "refused: undefined variable $nobody at \"{{ $nobody }}\"",
    );
    gives(
        "{{ if $value }}x",
        0.0,
        "refused: a block does not end at \"{{ if $value }}\"",
    );
    gives("{{ end }}", 0.0, "refused: unexpected end at \"{{ end }}\"");
    gives(
        "{{ humanize }}",
        0.0,
        "refused: humanize takes 1 arguments, not 0 at \"{{ humanize }}\"",
    );
    for (text, problem) in [
        ("{{ query \"up\" | first | value }}", "not supported"),
        ("{{ template \"x\" }}", "there is no template \"x\""),
    ] {
        assert!(rendered(text, 0.0).contains(problem), "{text}: {}", rendered(text, 0.0));
    }
    gives(
        "{{ $labels.job | humanize }}",
        0.0,
        "<error expanding template: humanize: \"node\" is no number>",
    );
}
