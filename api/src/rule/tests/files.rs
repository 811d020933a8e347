use crate::rule::template::Facts;
use crate::rule::*;

fn refused(text: &str) -> String {
    load(text, "test.yml").expect_err("the file is wrong").to_string()
}

#[test]
fn a_rule_file_is_read_as_it_is() {
    let groups = load(
        r#"
groups:
  - name: example
    interval: 30s
    limit: 10
    labels: {team: a}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 1m
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is down"}
  - name: empty
"#,
        "test.yml",
    )
    .unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(
        (groups[0].interval_ms, groups[0].limit, groups[1].interval_ms),
        (30_000, 10, 60_000)
    );
    let alert = &groups[0].rules[1];
    assert_eq!(
        alert.labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["severity", "team"]
    );
    let RuleKind::Alert { hold, annotations } = &alert.kind else {
        panic!("an alert was expected")
    };
    assert_eq!(
        *hold,
        Hold {
            for_ms: 300_000,
            keep_firing_ms: 60_000
        }
    );
    assert_eq!(annotations[0].1.source(), "{{ $labels.instance }} is down");
    assert!(load("", "empty.yml").unwrap().is_empty());
}

#[test]
fn errors_name_file_group_and_rule() {
    let rule = |text: &str| refused(&format!("groups: [{{name: g, rules: [{text}]}}]"));
    let at = "test.yml, group \"g\", rule 1 ";
    assert_eq!(rule("{expr: up}"), format!("{at}\"\": a rule needs alert or record"));
    assert_eq!(
        rule("{alert: A, record: b, expr: up}"),
        format!("{at}\"A\": a rule has alert or record, not both")
    );
    assert!(rule("{alert: A, expr: 'up ='}").starts_with(&format!("{at}\"A\": expr: ")));
    assert_eq!(
        rule("{alert: A, expr: up, for: soon}"),
        format!("{at}\"A\": for: \"soon\" is no duration like 30s or 5m")
    );
    assert_eq!(
        rule("{record: b, expr: up, for: 1m}"),
        format!("{at}\"b\": for, keep_firing_for and annotations belong to alerts")
    );
    assert_eq!(
        rule("{record: 'a b', expr: up}"),
        format!("{at}\"a b\": record: \"a b\" is no name of a metric")
    );
    assert_eq!(
        rule("{alert: A, expr: up, annotations: {s: '{{ huh }}'}}"),
        format!("{at}\"A\": annotation s: unknown function huh at \"{{{{ huh }}}}\"")
    );
    assert_eq!(
        rule("{alert: A, expr: up, labels: {'a-b': c}}"),
        format!("{at}\"A\": \"a-b\" is no valid name of a label")
    );
    assert_eq!(
        rule("{alert: A, expr: up, annotations: {s: '{{ $value.x }}'}}"),
        format!("{at}\"A\": annotation s: there is no field x here (in float64)")
    );
    assert_eq!(
        refused("groups: [{name: g}, {name: g}]"),
        "test.yml, group \"g\": the name is taken by another group of this file"
    );
    assert_eq!(
        refused("groups: [{name: g, interval: x}]"),
        "test.yml, group \"g\": interval: \"x\" is no duration like 30s or 5m"
    );
    let error = load("groups: [{name: g, colour: red}]", "test.yml").unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("unknown field `colour`")
    );
    assert!(error.hint().is_some());
}

#[test]
fn the_default_rules_are_sound_and_say_what_to_do() {
    let groups = default_groups();
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    assert!(rules.len() >= 40, "{}", rules.len());
    let labels = [
        "host",
        "host_name",
        "hw_id",
        "device",
        "horizon",
        "model",
        "gpu_slot",
        "xid",
    ];
    for rule in rules {
        let RuleKind::Alert { annotations, .. } = &rule.kind else {
            continue;
        };
        assert!(rule.labels.iter().any(|(name, _)| name == "severity"), "{}", rule.name);
        for wanted in ["summary", "description", "action", "runbook"] {
            let (_, text) = annotations
                .iter()
                .find(|(name, _)| name == wanted)
                .unwrap_or_else(|| panic!("{}: no {wanted}", rule.name));
            let facts = Facts {
                labels: labels.map(|name| (name, "79")).to_vec(),
                value: 0.5,
                ..Facts::default()
            };
            let text = text.render(&facts);
            assert!(!text.is_empty() && !text.contains("<error"), "{}: {text}", rule.name);
        }
    }
}
