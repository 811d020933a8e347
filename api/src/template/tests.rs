//! The language itself; what Alertmanager makes of the same texts stands beside `notify::wording`, what Prometheus does in `rule`.

use super::*;

const LIMITS: Limits = Limits {
    bytes: 64 << 10,
    steps: 200_000,
};

fn facts() -> Value {
    let alert = |host: &str, value: &str| {
        let labels = [
            ("host".to_owned(), host.to_owned()),
            ("zone".to_owned(), value.to_owned()),
        ];
        Value::record(vec![
            ("Status", "status", Value::text("firing")),
            (
                "Labels",
                "labels",
                Value::pairs(labels.iter().map(|(name, value)| (name, value))),
            ),
            ("StartsAt", "startsAt", Value::time(1_767_225_600_000)),
        ])
    };
    let alerts = [alert("db-1", "<a>"), alert("db-2", "\"b\" c"), alert("web", "")];
    Value::record(vec![
        ("Status", "status", Value::text("firing")),
        ("Alerts", "alerts", Value::alerts(alerts)),
        ("Count", "count", Value::Whole(3)),
    ])
}

fn start(dot: Value) -> Start<'static> {
    Start {
        dot,
        variables: Vec::new(),
        external_url: "",
        now_ms: 1_767_225_600_000,
    }
}

fn run_with(templates: Templates, text: &str, form: Form) -> Result<String, String> {
    let template = Arc::new(templates).template("here", text);
    let template = template.map_err(|error| format!("line {}: {error}", error.line))?;
    template
        .run(start(facts()), form, LIMITS)
        .map_err(|failure| failure.to_string())
}

fn run(text: &str) -> Result<String, String> {
    run_with(Templates::new(Vocabulary::Messages), text, Form::Text)
}

fn check(text: &str, expected: &str) {
    assert_eq!(run(text).unwrap_or_else(|problem| problem), expected, "{text}");
}

#[test]
fn mistakes_are_said_with_their_line() {
    check(
        "a\nb {{ 1 }}\n{{ nosuch }}",
        "line 3: unknown function nosuch at \"{{ nosuch }}\"",
    );
    check(
        "{{/* one\ntwo */}}\n\n{{ if }}",
        "line 4: a value is missing at \"{{ if }}\"",
    );
    check(
        "\n{{ template \"x\" . }}",
        "line 1: there is no template \"x\", which it asks for at \"\\n{{ template \\\"x\\\" . }}\"",
    );
    check(
        "{{ .Status }}\n{{ .Nope }}",
        "here, line 2: there is no field Nope here (in struct)",
    );
    check(
        "{{ range .Alerts }}\n{{ .Labels.host.x }}{{ end }}",
        "here, line 2: there is no field x here (in string)",
    );
}

#[test]
fn a_failure_names_the_file_that_it_is_in() {
    let mut templates = Templates::new(Vocabulary::Messages);
    templates
        .add("/etc/a.tmpl", "\n{{ define \"a\" }}\n{{ index .Alerts 9 }}{{ end }}")
        .unwrap();
    let failed = run_with(templates, "{{ template \"a\" . }}", Form::Text);
    assert_eq!(
        failed.unwrap_err(),
        "/etc/a.tmpl, line 3: index: there is nothing at 9 of 3"
    );
}

#[test]
fn what_is_defined_last_counts_unless_it_is_empty() {
    let mut templates = Templates::new(Vocabulary::Messages);
    templates.add("a.tmpl", "{{ define \"x\" }}one{{ end }}").unwrap();
    templates
        .add("b.tmpl", "{{ define \"x\" }}two{{ end }}whole file")
        .unwrap();
    templates.add("c.tmpl", "{{ define \"x\" }} {{ end }}").unwrap();
    let both = "{{ template \"x\" }} {{ template \"b.tmpl\" }}";
    assert_eq!(run_with(templates.clone(), both, Form::Text).unwrap(), "two whole file");
    let own = "{{ define \"x\" }}own{{ end }}{{ template \"x\" }}";
    assert_eq!(run_with(templates.clone(), own, Form::Text).unwrap(), "own");
    // What a text defines is its own.
    assert_eq!(run_with(templates, "{{ template \"x\" }}", Form::Text).unwrap(), "two");
}

#[test]
fn nothing_takes_longer_or_becomes_longer_than_it_may() {
    for (text, problem) in [
        ("{{ range 100000000 }}{{ end }}", "steps"),
        (
            "{{ range 400 }}{{ range 400 }}{{ range 400 }}{{ end }}{{ end }}{{ end }}",
            "steps",
        ),
        ("{{ range 5000 }}0123456789abcdef{{ end }}", "longer than 65536 bytes"),
        (
            "{{ $x := \"0123456789\" }}{{ range 60 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
            "longer than 65536 bytes",
        ),
        (
            "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
            "longer than 65536 bytes",
        ),
        (
            "{{ define \"again\" }}{{ template \"again\" . }}{{ end }}{{ template \"again\" . }}",
            "deep",
        ),
        (
            "{{ define \"a\" }}{{ template \"b\" . }}{{ template \"b\" . }}{{ end }}{{ define \"b\" }}{{ range 9 }}{{ template \"a\" . }}{{ end }}{{ end }}{{ template \"a\" . }}",
            "deep",
        ),
        (
            "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x }}{{ end }}{{ $x }}",
            "longer than 65536 bytes",
        ),
        (
            "{{ $x := printf \"%200s%200s%200s\" 1 2 3 }}{{ join $x (stringSlice $x $x $x) | len }}{{ reReplaceAll \" \" $x $x }}",
            "longer than 65536 bytes",
        ),
        (
            "{{ $x := list }}{{ range 5000 }}{{ $x = append $x \"abc\" }}{{ end }}",
            "steps",
        ),
        ("{{ reReplaceAll \"(a{1000}){1000}\" \"\" \"a\" }}", "size limit"),
    ] {
        let failed = run(text).expect_err(text);
        assert!(failed.contains(problem), "{text}: {failed}");
    }
    for text in ["(".repeat(100_000), "{{ (".repeat(10_000)] {
        assert!(run(&format!("{{{{ {text}")).is_err());
    }
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(run(&parentheses).unwrap_err().contains("nested more than"));
    let blocks = "{{ if true }}".repeat(50_000) + &"{{ end }}".repeat(50_000);
    assert!(run(&blocks).unwrap_err().contains("nested more than"));
}

/// Numbers without an end, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[test]
fn no_text_makes_it_panic_or_run_over() {
    const PARTS: &[&str] = &[
        "{{",
        "}}",
        "{{- ",
        " -}}",
        " ",
        "\n",
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "define ",
        "template ",
        "block ",
        "break",
        "continue",
        "\"x\"",
        "`y`",
        "'c'",
        ".",
        ".Alerts",
        ".Alerts.Firing",
        ".Status",
        ".Labels.host",
        ".Nope",
        ".StartsAt",
        ".Format ",
        ".Add ",
        ".Count",
        "$",
        "$x",
        "$x := ",
        "$x = ",
        "$i, $x := ",
        "(",
        ")",
        " | ",
        "1",
        "-7",
        "1e300",
        "9223372036854775807",
        "0x7f",
        "nil ",
        "true ",
        "index ",
        "slice ",
        "len ",
        "printf ",
        "\"%d %s %5.1f%%\" ",
        "print ",
        "eq ",
        "lt ",
        "and ",
        "or ",
        "not ",
        "join ",
        "stringSlice ",
        "toUpper ",
        "title ",
        "date ",
        "tz ",
        "\"Europe/Berlin\" ",
        "since ",
        "humanizeDuration ",
        "toJson ",
        "reReplaceAll ",
        "match ",
        "\"[a-\"",
        "html ",
        "js ",
        "urlquery ",
        "safeHtml ",
        "list ",
        "dict ",
        "append ",
        "base64decode ",
        "urlUnescape ",
        "\"%zz\"",
        "<a href=\"",
        "\">",
        "<style>",
        "</style>",
        "<!--",
        "-->",
        "<script>",
        "=",
        "<",
        ">",
        "ä€😀",
        "\u{0}",
        "/*",
        "*/",
        "2006-01-02 _2 .999",
    ];
    let mut dice = Dice(0x5eed);
    let mut ran = 0;
    for round in 0..10_000 {
        let mut text = String::new();
        // Half of them are whole actions, so that enough of them run.
        for _ in 0..1 + dice.roll(12) {
            let is_action = round % 2 == 0 && dice.roll(3) > 0;
            if is_action {
                text.push_str("{{ ");
            }
            for _ in 0..1 + dice.roll(4) {
                text.push_str(PARTS[dice.roll(PARTS.len())]);
            }
            if is_action {
                text.push_str(" }}");
            }
        }
        for form in [Form::Text, Form::Page] {
            if let Ok(made) = run_with(Templates::new(Vocabulary::Messages), &text, form) {
                ran += 1;
                assert!(made.len() <= LIMITS.bytes * 2, "{text}");
            }
        }
    }
    assert!(ran > 200, "only {ran} of them ran");
}

#[test]
fn no_value_breaks_out_of_its_place_in_a_page() {
    const PLACES: &[&str] = &[
        "<p>{{ . }}</p>",
        "<p title=\"{{ . }}\">x</p>",
        "<p title='{{ . }}'>x</p>",
        "<p title={{ . }}>x</p>",
        "<a href=\"{{ . }}\">x</a>",
        "<a href={{ . }}>x</a>",
        "<a href=\"https://x.example/{{ . }}?q={{ . }}#{{ . }}\">x</a>",
        "<p style=\"color:{{ . }}\">x</p>",
        "<style>p { color: {{ . }} }</style><p>x</p>",
        "<title>{{ . }}</title><p>x</p>",
        "<textarea>{{ . }}</textarea>",
        "<!-- {{ . }} --><p>x</p>",
        "<p class = \"{{ . }}\" title= '{{ . }}'>{{ . }}</p>",
        "<br/>{{ . }}<br>{{ . }}",
    ];
    const VALUES: &[&str] = &[
        "<script>alert(1)</script>",
        "\"><script>x</script>",
        "' onmouseover='x",
        "x onload=x",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<b>",
        "--><b>",
        "</style><b>",
        "</title></textarea><b>",
        "red;background:url(x)",
        "expr/**/ession(x)",
        "`x`=>",
        "\u{0}<",
    ];
    let shape = |page: &str| -> (usize, usize, usize) {
        let count = |sign: char| page.chars().filter(|c| *c == sign).count();
        (count('<'), count('"'), count('\''))
    };
    for place in PLACES {
        let template = Arc::new(Templates::new(Vocabulary::Messages))
            .template("here", place)
            .unwrap();
        let page = |value: &str| template.run(start(Value::text(value)), Form::Page, LIMITS).unwrap();
        for value in VALUES {
            let (harmless, made) = (page("word"), page(value));
            assert_eq!(shape(&made), shape(&harmless), "{value:?} in {place}: {made}");
            let lower = made.to_lowercase();
            for scheme in ["javascript:", "data:"] {
                assert!(
                    !lower.contains(&format!("href=\"{scheme}")),
                    "{value:?} in {place}: {made}"
                );
                assert!(
                    !lower.contains(&format!("href={scheme}")),
                    "{value:?} in {place}: {made}"
                );
            }
            assert!(!place.contains("style") || !made.contains("url("), "{made}");
            assert!(!place.contains("title={{") || !made.contains("=x onload"), "{made}");
        }
    }
    let halves = "<a href=\"{{ slice . 0 4 }}{{ slice . 4 }}\">x</a>";
    let halves = Arc::new(Templates::new(Vocabulary::Messages))
        .template("here", halves)
        .unwrap();
    let page = |value: &str| halves.run(start(Value::text(value)), Form::Page, LIMITS).unwrap();
    assert_eq!(page("javascript:alert(1)"), "<a href=\"java#unsafe\">x</a>");
    assert_eq!(page("host/a:b"), "<a href=\"host/a:b\">x</a>");
    for place in [
        "<script>{{ . }}</script>",
        "<p onclick=\"{{ . }}\">",
        "<{{ . }}>",
        "<p {{ . }}=\"x\">",
    ] {
        let template = Arc::new(Templates::new(Vocabulary::Messages))
            .template("here", place)
            .unwrap();
        let failed = template.run(start(Value::text("x")), Form::Page, LIMITS).unwrap_err();
        assert!(failed.problem.contains("cannot stand in"), "{failed}");
    }
}

#[test]
fn rules_and_messages_have_functions_of_their_own() {
    let of_rules = |text: &str| {
        Arc::new(Templates::new(Vocabulary::Rules))
            .template("here", text)
            .map(|_| ())
            .map_err(|error| error.problem)
    };
    assert!(of_rules("{{ $value | humanize }}{{ range $name, $value := $labels }}{{ $name }}{{ end }}").is_ok());
    assert_eq!(of_rules("{{ since .x }}").unwrap_err(), "unknown function since");
    assert!(
        run("{{ humanize 1 }}")
            .unwrap_err()
            .contains("unknown function humanize")
    );
    assert!(
        of_rules("{{ query \"up\" }}")
            .unwrap_err()
            .contains("not supported here")
    );
}
