//! `foreshock rules`: what its exit status and its words say.

use std::process::{Command, Output};

fn rules(arguments: &[&str]) -> (bool, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["--log", "error", "rules"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let Output { status, stdout, .. } = run.expect("foreshock runs");
    (status.success(), String::from_utf8_lossy(&stdout).into_owned())
}

#[test]
fn tests_of_rules_pass_and_fail_by_their_exit_status() {
    let (passed, said) = rules(&[
        "test",
        "tests/rules/promtool/pass_alerts.yml",
        "tests/rules/default.yml",
    ]);
    assert!(passed, "{said}");
    assert!(
        said.starts_with("tests/rules/promtool/pass_alerts.yml: all 11 checks of 2 tests hold\n"),
        "{said}"
    );
    let (passed, said) = rules(&[
        "test",
        "tests/rules/promtool/fail_value.yml",
        "tests/rules/promtool/fail_field.yml",
    ]);
    assert!(!passed, "{said}");
    assert!(
        said.contains("fail_value.yml: 1 failures in 1 checks of 1 tests\n"),
        "{said}"
    );
    assert!(said.contains("unknown field `colour`"), "{said}");
}

#[test]
fn objectives_become_rule_files_that_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("foreshock.toml");
    let text = "[[objective]]\nname = 'shop'\ntarget = 0.999\nerrors = 'bad_total'\ntotal = 'all_total'\n";
    std::fs::write(&config, text).expect("written");
    let (made, said) = rules(&["objectives", "--config", config.to_str().expect("a path")]);
    assert!(made, "{said}");
    let file = dir.path().join("shop.yml");
    std::fs::write(&file, said).expect("written");
    let (checked, said) = rules(&["check", file.to_str().expect("a path")]);
    assert!(checked, "{said}");
    assert!(said.ends_with("shop.yml: 15 rules in 2 groups\n"), "{said}");
}

#[test]
fn rules_are_replayed_over_a_data_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, lines) = (dir.path().join("data"), dir.path().join("in.jsonl"));
    // Hot from minute 10 to 19.
    let values: Vec<String> = (0..30)
        .map(|minute| if (10..20).contains(&minute) { "90" } else { "20" }.to_owned())
        .collect();
    let times: Vec<String> = (0..30)
        .map(|minute| (1_767_225_600_000_i64 + minute * 60_000).to_string())
        .collect();
    let series = r#"{"metric":{"__name__":"temperature","host":"a"},"values":[VALUES],"timestamps":[TIMES]}"#;
    let series = series
        .replace("VALUES", &values.join(","))
        .replace("TIMES", &times.join(","));
    std::fs::write(&lines, series).expect("written");
    let data = data.to_str().expect("a path");
    let import = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args([
            "--log",
            "error",
            "store",
            "import",
            "--data",
            data,
            lines.to_str().expect("a path"),
        ])
        .output()
        .expect("foreshock runs");
    assert!(import.status.success(), "{import:?}");
    let file = dir.path().join("rules.yml");
    let text = "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 80, for: 2m, annotations: {summary: '{{ $labels.host }} is hot'}}]}]";
    std::fs::write(&file, text).expect("written");
    let (replayed, said) = rules(&[
        "replay",
        "--data",
        data,
        "--from",
        "2026-01-01T00:00:00Z",
        "--to",
        "2026-01-01T00:29:00Z",
        file.to_str().expect("a path"),
    ]);
    assert!(replayed, "{said}");
    let expected = "Hot: would have fired 1 times, 8m 0s in all, at most 1 at once; 0 times it held too short\n  \
                    2026-01-01T00:12:00Z to 2026-01-01T00:20:00Z  a is hot\n";
    assert!(said.contains(expected), "{said}");
}
