use super::*;
use crate::notify::notification::Notification;

fn read_text(text: &str) -> Result<Configuration, String> {
    load(text, Path::new("alertmanager.yml")).map_err(|error| match error {
        ConfigurationError::Yaml { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}

const WHOLE: &str = r#"
global:
  resolve_timeout: 2m
  opsgenie_api_url: https://example.net
templates: ['*.tmpl']
route:
  receiver: team
  group_by: [alertname]
  group_wait: 10s
  routes:
  - matchers: ['severity="page"', 'host=~"db-.*"']
    receiver: pager
    group_by: ['...']
    continue: true
    mute_time_intervals: [nights]
  - match: {team: web}
    match_re: {host: web-.*}
    repeat_interval: 1d
    active_time_intervals: [hours]
receivers:
- name: team
  webhook_configs:
  - url: http://127.0.0.1:9/team/s3cret
    send_resolved: false
    max_alerts: 7
    timeout: 2s
    http_config: {authorization: {credentials: t0ken}, follow_redirects: false}
- name: pager
  webhook_configs: [{url: 'http://127.0.0.1:9/one'}, {url: 'http://127.0.0.1:9/two'}]
- name: nobody
inhibit_rules:
- source_matchers: ['alertname="HostSilent"']
  target_matchers: ['severity=~"page|warning"']
  equal: [host]
time_intervals:
- name: nights
  time_intervals:
  - times: [{start_time: '20:00', end_time: '24:00'}, {start_time: '00:00', end_time: '07:00'}]
- name: hours
  time_intervals:
  - weekdays: ['monday:friday']
    times: [{start_time: '09:00', end_time: '17:00'}]
    location: UTC
"#;

#[test]
fn a_whole_configuration_is_read_as_it_is() {
    let read = read_text(WHOLE).unwrap();
    let ids: Vec<&str> = read.receivers.iter().map(Receiver::id).collect();
    assert_eq!(ids, ["team", "pager/webhook", "pager/webhook-2"]);
    assert_eq!(read.silent, ["nobody"]);
    assert_eq!(
        (read.receivers[0].alerts_max, read.receivers[0].send_resolved),
        (7, false)
    );
    assert_eq!(read.routing.resolve_after_ms, 120_000);
    let routes: Vec<(&str, i64, i64, usize)> = read
        .routing
        .all()
        .into_iter()
        .map(|route| {
            (
                route.id(),
                route.grouping.wait_ms,
                route.grouping.repeat_ms,
                route.grouping.by.len(),
            )
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("{}", 10_000, 14_400_000, 1),
            ("{}/{host=~\"db-.*\",severity=\"page\"}", 10_000, 14_400_000, 1),
            ("{}/{host=~\"web-.*\",team=\"web\"}", 10_000, 86_400_000, 1),
        ]
    );
    assert_eq!(
        read.warnings,
        [
            "global.opsgenie_api_url is not used: there is no receiver for Opsgenie",
            "templates[0] is not used: there is no file *.tmpl",
            "receivers[0].webhook_configs[0].http_config.follow_redirects is not used: redirects are not followed, and a receiver that answers with one is told so",
        ]
    );
    for secret in ["s3cret", "t0ken"] {
        assert!(!read.shown.contains(secret), "{}", read.shown);
        assert!(!format!("{read:?}").contains(secret));
    }
    assert!(read.shown.contains("http://127.0.0.1:9/\n"), "{}", read.shown);
    assert!(read_text(&read.shown).is_ok(), "what is shown can be read again");
}

#[test]
fn mail_is_read_with_what_is_said_for_all_of_it() {
    let text = |own: &str| {
        format!(
            "global: {{smtp_from: a@example.net, smtp_smarthost: 'localhost:25', smtp_require_tls: false, smtp_auth_username: u, smtp_auth_password: w0rd}}
route: {{receiver: team}}
receivers: [{{name: team, email_configs: [{{to: b@example.net{own}}}]}}]"
        )
    };
    let read = read_text(&text("")).unwrap();
    let receiver = &read.receivers[0];
    assert_eq!(
        (receiver.kind(), receiver.place(), receiver.send_resolved),
        ("email", "smtp://localhost:25", false)
    );
    assert!(!read.shown.contains("w0rd") && !format!("{read:?}").contains("w0rd"));
    let own = ", send_resolved: true, smarthost: '[::1]:465', html: '', text: mine, headers: {X-Team: ops, Subject: '{{ .Status }}'}, threading: {enabled: true}, tls_config: {min_version: TLS12}";
    let read = read_text(&text(own)).unwrap();
    assert_eq!(read.receivers[0].place(), "smtps://[::1]:465");
    assert_eq!(
        read.warnings,
        [
            "receivers[0].email_configs[0].tls_config.min_version is not used: TLS 1.2 and 1.3 are spoken",
            "receivers[0].email_configs[0].threading is not used: letters about one group of alerts stand in one thread",
        ]
    );
    for (own, problem) in [
        (", to: nobody", "duplicate entry"),
        (", headers: {Date: '{{ now }}'}", "header \"Date\" cannot be set"),
        (
            ", html: '{{ range }}'",
            "receivers[0].email_configs[0].html, line 1: a value is missing",
        ),
        (
            ", from: nobody",
            "receivers[0].email_configs[0]: from must be an address",
        ),
        (
            ", require_tls: 1",
            "receivers[0].email_configs[0].require_tls must be true or false",
        ),
        (
            ", smarthost: 'mail.example.net:25'",
            "receivers[0].email_configs[0]: require_tls: false is for a mail server on this machine",
        ),
        (
            ", tls_config: {insecure_skip_verify: true}",
            "certificates are always checked",
        ),
        (
            ", auth_password_file: /nowhere",
            "receivers[0].email_configs[0].auth_password_file: cannot read",
        ),
    ] {
        let refused = read_text(&text(own)).unwrap_err();
        assert!(refused.contains(problem), "{refused}");
    }
    let refused = read_text("route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: b@c.d, from: b@c.d}]}]")
        .unwrap_err();
    assert!(
        refused.contains("smarthost is missing, here and as global.smtp_smarthost"),
        "{refused}"
    );
}

#[test]
fn times_of_quiet_hold_for_the_routes_that_name_them() {
    let routing = read_text(WHOLE).unwrap().routing;
    let muted = |route: usize, at: &str| {
        let now_ms = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        routing.muted_by(routing.all()[route], now_ms)
    };
    // A Monday.
    assert_eq!(muted(1, "2026-01-05T21:00:00Z").as_deref(), Some("nights"));
    assert_eq!(muted(1, "2026-01-05T12:00:00Z"), None);
    assert_eq!(muted(2, "2026-01-05T12:00:00Z"), None);
    assert_eq!(muted(2, "2026-01-05T18:00:00Z").as_deref(), Some("hours"));
    assert_eq!(muted(0, "2026-01-05T21:00:00Z"), None);
}

#[test]
fn an_alert_is_inhibited_by_another_one_of_its_host_and_not_by_itself() {
    let rules = read_text(WHOLE).unwrap().routing.inhibitions;
    let alert = |name: &str, host: &str, severity: &str| {
        let labels = [("alertname", name), ("host", host), ("severity", severity)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Notification {
            fingerprint: crate::rule::fingerprint(&labels),
            labels,
            annotations: std::collections::BTreeMap::new(),
            starts_ms: 0,
            ends_ms: None,
            value: None,
            generator_url: String::new(),
            outlook: None,
            expires_ms: None,
            updated_ms: 0,
            since_ms: None,
            trend: None,
        }
    };
    let firing = [alert("HostSilent", "a", "page"), alert("HostSilent", "b", "page")];
    let check = |alert: &Notification, count: usize| {
        let found = crate::notify::inhibit::inhibitors(&rules, alert, &firing);
        assert_eq!(found.len(), count, "{:?}", alert.labels);
    };
    check(&alert("DiskRunsFull", "a", "warning"), 1);
    check(&alert("DiskRunsFull", "c", "warning"), 0);
    check(&alert("DiskRunsFull", "a", "info"), 0);
    check(&firing[0], 0);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let receivers = "receivers: [{name: a}]";
    for (text, expected) in [
        (
            &*format!("route: {{receiver: a}}\n{receivers}\nreceiverz: []"),
            "receiverz is not known",
        ),
        ("receivers: [{name: a}]", "route is missing"),
        (
            &*format!("route: {{receiver: b}}\n{receivers}"),
            "route: there is no receiver \"b\"",
        ),
        (
            &*format!("route: {{receiver: a, colour: red}}\n{receivers}"),
            "route.colour is not known",
        ),
        (
            &*format!("route: {{receiver: a, group_wait: soon}}\n{receivers}"),
            "route.group_wait: \"soon\" is no duration",
        ),
        (
            &*format!("route: {{receiver: a, group_interval: 0s}}\n{receivers}"),
            "route.group_interval must be longer",
        ),
        (
            &*format!("route: {{receiver: a, match: {{x: y}}}}\n{receivers}"),
            "the root route matches everything",
        ),
        (
            &*format!("route: {{receiver: a, routes: [{{matchers: ['x']}}]}}\n{receivers}"),
            "route.routes[0].matchers: \"x\" is no matcher",
        ),
        (
            &*format!("route: {{receiver: a, routes: [{{mute_time_intervals: [x]}}]}}\n{receivers}"),
            "there is no time interval \"x\"",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]",
            "receivers[1]: the name \"a\" is taken",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://x/s3cret'}]}]",
            "receivers[0].webhook_configs[0].url must begin with http:// or https://",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a, opsgenie_configs: [{}]}]",
            "opsgenie_configs is not spoken here",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{equal: [x]}]",
            "inhibit_rules[0]: source_matchers and target_matchers must both say something",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{location: Nowhere/Land}]}]",
            "time_intervals[0].time_intervals[0].location",
        ),
        ("- a\n- b", "must have keys and values"),
        ("route: [", "did not find expected"),
    ] {
        let problem = read_text(text).unwrap_err();
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(!problem.contains("s3cret"), "{problem}");
    }
}

/// A configuration with one receiver, beside a file of templates.
fn with_templates(templates: &str, receiver: &str) -> (tempfile::TempDir, Result<Configuration, String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("templates")).unwrap();
    std::fs::write(dir.path().join("templates/own.tmpl"), templates).unwrap();
    let text = format!("templates: ['templates/*.tmpl']\nroute: {{receiver: a}}\nreceivers: [{{name: a, {receiver}}}]");
    let read = load(&text, &dir.path().join("alertmanager.yml")).map_err(|error| error.to_string());
    (dir, read)
}

#[test]
fn templates_are_read_and_what_is_wrong_in_them_is_said_with_file_and_line() {
    const OWN: &str = "{{ define \"mine.title\" }}{{ .Status | toUpper }} {{ template \"__subject\" . }}{{ end }}";
    let discord = "discord_configs: [{webhook_url: 'http://127.0.0.1:9/x', title: '{{ template \"mine.title\" . }}'}]";
    let (_dir, read) = with_templates(OWN, discord);
    let read = read.unwrap();
    assert!(read.receivers[0].has_own_words());
    assert_eq!(read.warnings, Vec::<String>::new());
    for (templates, receiver, problem) in [
        (
            "\n\n{{ define \"x\" }}{{ nosuch . }}{{ end }}",
            discord,
            "own.tmpl, line 3: unknown function nosuch",
        ),
        ("{{ define \"x\" }}", discord, "own.tmpl, line 1: a block does not end"),
        (
            "",
            discord,
            "receivers[0].discord_configs[0].title, line 1: there is no template \"mine.title\"",
        ),
        (
            "{{ define \"mine.title\" }}{{ template \"deeper\" . }}{{ end }}",
            discord,
            "there is no template \"deeper\", which \"mine.title\" asks for",
        ),
        (
            "",
            "discord_configs: [{webhook_url: 'http://127.0.0.1:9/{{ .Status }}'}]",
            "webhook_url: addresses are no templates here",
        ),
        (
            "",
            "slack_configs: [{api_url: 'http://127.0.0.1:9/x', fields: [{title: a, colour: b}]}]",
            "receivers[0].slack_configs[0].fields[0].colour is not known",
        ),
        (
            "",
            "slack_configs: [{api_url: 'http://127.0.0.1:9/x', fields: [{title: '{{ .x'}]}]",
            "receivers[0].slack_configs[0].fields[0].title, line 1: an action does not end",
        ),
        (
            "",
            "telegram_configs: [{bot_token: t, chat_id: 1, parse_mode: BBCode}]",
            "parse_mode must be HTML, Markdown, MarkdownV2 or empty",
        ),
        (
            "",
            "pagerduty_configs: [{routing_key: '{{ .CommonLabels.key }}'}]",
            "routing_key is no template here",
        ),
    ] {
        let (_dir, read) = with_templates(templates, receiver);
        let refused = read.unwrap_err();
        assert!(refused.contains(problem), "{refused}");
    }
    // What only shows with an alert is no error: such a message goes out in our words.
    let (_dir, read) = with_templates("{{ define \"mine.title\" }}\n{{ .Nope }}{{ end }}", discord);
    let warnings = read.unwrap().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("own.tmpl, line 2: there is no field Nope here"),
        "{warnings:?}"
    );
}
