use std::collections::BTreeMap;

use super::*;
use crate::notify::notification::Notification;
use crate::template::Form;

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn alert(labels: &[(&str, &str)], annotations: &[(&str, &str)], start: &str, end: Option<&str>) -> Notification {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    let labels = map(labels);
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        generator_url: format!("http://foreshock.example/hosts/{}", labels["host"]),
        labels,
        annotations: map(annotations),
        starts_ms: at(start),
        ends_ms: end.map(at),
        value: None,
        outlook: None,
        expires_ms: None,
        updated_ms: 0,
        since_ms: None,
        trend: None,
    }
}

/// Two that fire and one that is over; the same that `golden.jsonl` is about.
fn three() -> Message {
    let labels = |host| [("alertname", "Hot"), ("host", host), ("severity", "page")];
    let mut first = labels("db-1").to_vec();
    first.push(("zone", "<a&b>"));
    Message {
        receiver: "team".to_owned(),
        group_key: "{}:{alertname=\"Hot\"}".to_owned(),
        group_labels: BTreeMap::from([("alertname".to_owned(), "Hot".to_owned())]),
        external_url: "http://foreshock.example".to_owned(),
        alerts: vec![
            alert(
                &first,
                &[
                    ("summary", "db-1 is \"hot\""),
                    ("runbook", "https://wiki.example/x?a=1&b=2"),
                ],
                "2026-01-01T00:00:00Z",
                None,
            ),
            alert(
                &labels("db-2"),
                &[
                    ("summary", "db-2 is hot + bothered"),
                    ("runbook", "javascript:alert(1)"),
                ],
                "2025-12-31T22:15:30.25Z",
                None,
            ),
            alert(
                &labels("web-1"),
                &[("summary", "it's over")],
                "2025-12-31T20:00:00Z",
                Some("2025-12-31T23:30:00Z"),
            ),
        ],
        left_out: 0,
        reason: "first_notification".to_owned(),
        instead_of: None,
        note: None,
        about: None,
        answer: None,
        chart_url: None,
    }
}

const NOW: &str = "2026-01-01T01:00:00Z";

fn made(text: &str, form: Form) -> Result<String, String> {
    let templates = Arc::new(default_templates());
    let template = templates.template("here", text).map_err(|error| error.to_string())?;
    let draft = Draft::Text {
        source: text.to_owned(),
        template,
        form,
    };
    let wording = Wording::new(vec![("text", draft)]).unwrap();
    let words = wording.say(&three(), at(NOW)).map_err(|failure| failure.to_string())?;
    Ok(words.text("text").unwrap().to_owned())
}

/// What Alertmanager 0.34 makes of the same texts, or that it cannot; `tests/go/templates` asks it anew.
#[test]
fn templates_give_what_alertmanager_makes_of_them() {
    let mut differences = Vec::new();
    for line in include_str!("golden.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let form = if case["form"] == "html" { Form::Page } else { Form::Text };
        let (found, expected) = (made(text, form), case["out"].as_str());
        if found.as_deref().ok() != expected {
            differences.push(format!("{text}\n  here:  {found:?}\n  there: {expected:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_only_foreshock_knows_is_there_as_well() {
    let text = "{{ .Foreshock.Title }}|{{ (index .Alerts 0).Foreshock.Host }}|{{ (index .Alerts 0).Foreshock.Probability }}|{{ .TruncatedAlerts }}";
    let made = made(text, Form::Text).unwrap();
    assert_eq!(made, "2 alerts, 1 over Hot|db-1|<no value>|0");
}

#[test]
fn every_name_of_alertmanager_s_own_templates_leads_to_a_body_of_ours() {
    let names = [
        "__subject",
        "__description",
        "__alertmanager",
        "__alertmanagerURL",
        "slack.default.title",
        "slack.default.username",
        "slack.default.fallback",
        "slack.default.callbackid",
        "slack.default.pretext",
        "slack.default.titlelink",
        "slack.default.iconemoji",
        "slack.default.iconurl",
        "slack.default.text",
        "slack.default.footer",
        "slack.default.color",
        "pagerduty.default.description",
        "pagerduty.default.client",
        "pagerduty.default.clientURL",
        "opsgenie.default.message",
        "opsgenie.default.description",
        "opsgenie.default.source",
        "wechat.default.message",
        "wechat.default.to_user",
        "wechat.default.to_party",
        "wechat.default.to_tag",
        "wechat.default.agent_id",
        "victorops.default.state_message",
        "victorops.default.entity_display_name",
        "victorops.default.monitoring_tool",
        "pushover.default.title",
        "pushover.default.message",
        "pushover.default.url",
        "sns.default.subject",
        "sns.default.message",
        "telegram.default.message",
        "discord.default.content",
        "discord.default.title",
        "discord.default.message",
        "webex.default.message",
        "msteams.default.summary",
        "msteams.default.title",
        "msteams.default.text",
        "msteamsv2.default.title",
        "msteamsv2.default.text",
        "jira.default.summary",
        "jira.default.description",
        "jira.default.priority",
        "rocketchat.default.title",
        "rocketchat.default.alias",
        "rocketchat.default.titlelink",
        "rocketchat.default.emoji",
        "rocketchat.default.iconurl",
        "rocketchat.default.text",
        "mattermost.default.color",
        "mattermost.default.username",
        "mattermost.default.title",
        "mattermost.default.titlelink",
        "mattermost.default.fallback",
        "mattermost.default.text",
        "email.default.subject",
        "email.default.html",
    ];
    for name in names {
        let call = format!("{{{{ template {name:?} . }}}}");
        for form in [Form::Text, Form::Page] {
            made(&call, form).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }
    // These two are about a list of alerts.
    for name in [
        "__text_alert_list",
        "__text_alert_list_markdown",
        "pagerduty.default.instances",
    ] {
        let call = format!("{{{{ template {name:?} .Alerts.Firing }}}}");
        let list = made(&call, Form::Text).unwrap();
        assert!(list.contains("db-2 is hot") && !list.contains("web-1"), "{list}");
    }
}

#[test]
fn our_bodies_say_what_is_the_matter() {
    let text = |text: &str| made(text, Form::Text).unwrap();
    assert_eq!(text("{{ template \"slack.default.title\" . }}"), "2 firing: Hot (page)");
    assert_eq!(
        text("{{ template \"slack.default.fallback\" . }}"),
        "2 firing: Hot (page), http://foreshock.example/alerts"
    );
    assert_eq!(text("{{ template \"jira.default.priority\" . }}"), "High");
    let both = text("{{ template \"discord.default.message\" . }}");
    let expected = "Firing:
db-1 is \"hot\"
runbook: https://wiki.example/x?a=1&b=2
Labels: alertname=Hot, host=db-1, severity=page, zone=<a&b>
Since: 2026-01-01 00:00 UTC
More: http://foreshock.example/hosts/db-1
";
    assert!(both.starts_with(expected), "{both}");
    assert!(
        both.contains("Over:\nit's over\n") && both.contains(", until 2025-12-31 23:30 UTC"),
        "{both}"
    );
    let page = made("{{ template \"email.default.html\" . }}", Form::Page).unwrap();
    assert!(page.contains("zone=&lt;a&amp;b&gt;"), "{page}");
    assert!(
        page.contains("<a href=\"http://foreshock.example/hosts/db-1\">more</a>"),
        "{page}"
    );
}
