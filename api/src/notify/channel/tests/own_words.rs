//! Receivers whose configuration says what their messages read, beside the forms that the platforms publish.

use super::*;
use crate::notify::configuration;

fn configured(receiver: &str) -> Receiver {
    let text = format!("route: {{receiver: a}}\nreceivers:\n- name: a\n{receiver}");
    let read = configuration::load(&text, std::path::Path::new("alertmanager.yml")).unwrap();
    assert_eq!(read.warnings, Vec::<String>::new());
    read.receivers.into_iter().next().unwrap()
}

fn said(receiver: &Receiver, message: &Message) -> Words {
    receiver.wording.as_ref().unwrap().say(message, NOW).unwrap()
}

fn own(receiver: &Receiver, message: &Message) -> Value {
    let words = said(receiver, message);
    match receiver.channel.outgoing(message, Some(&words), None, NOW) {
        Outgoing::Post(Post {
            body: Body::Json(text), ..
        }) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn with_answer(mut message: Message) -> Message {
    message.answer = Some("http://foreshock.example/answer?t=x".to_owned());
    message
}

const SLACK: &str = r##"
  slack_configs:
  - api_url: https://chat.example/hook
    channel: '#{{ .CommonLabels.severity }}'
    username: '{{ template "slack.default.username" . }}'
    icon_emoji: ':fire:'
    link_names: true
    title: '[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}'
    title_link: 'https://wiki.example/{{ .CommonLabels.alertname }}'
    pretext: '{{ if gt (len .Alerts) 1 }}several{{ end }}'
    text: |
      {{ range .Alerts }}*{{ .Annotations.summary }}* <{{ .GeneratorURL }}|more>
      {{ end }}
    color: '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}'
    footer: '{{ (index .Alerts 0).StartsAt.Format "15:04" }}'
    short_fields: true
    fields:
    - {title: Host, value: '{{ .CommonLabels.host }}'}
    - {title: Labels, value: '{{ .CommonLabels.SortedPairs }}', short: false}
    actions:
    - {type: button, text: 'Runbook', url: 'https://wiki.example/{{ .CommonLabels.host }}'}
"##;

#[test]
fn slack_gets_an_attachment_of_the_receiver_s_own_and_our_links() {
    let receiver = configured(SLACK);
    assert_eq!(
        own(&receiver, &with_answer(one())),
        json!({
            "channel": "#warning",
            "username": "Foreshock",
            "icon_emoji": ":fire:",
            "link_names": true,
            "attachments": [
                {
                    "fallback": "[FIRING] FailureLikely",
                    "title": "[FIRING] FailureLikely",
                    "title_link": "https://wiki.example/FailureLikely",
                    "text": "*db-1: 71% likely to fail within 1h* <http://foreshock.example/hosts/db-1|more>",
                    "color": "danger",
                    "footer": "23:59",
                    "mrkdwn_in": ["fallback", "pretext", "text"],
                    "fields": [
                        { "title": "Host", "value": "db-1", "short": true },
                        {
                            "title": "Labels",
                            "value": "alertname=FailureLikely, horizon=1h, host=db-1, severity=warning",
                            "short": false,
                        },
                    ],
                    "actions": [{ "type": "button", "text": "Runbook", "url": "https://wiki.example/db-1" }],
                },
                {
                    "color": "#f9a825",
                    "blocks": [{
                        "type": "context",
                        "elements": [{
                            "type": "mrkdwn",
                            "text": "<http://foreshock.example/hosts/db-1|Open in Foreshock> · <http://foreshock.example/answer?t=x#acknowledge|Acknowledge> · <http://foreshock.example/answer?t=x#silence|Silence> · <http://foreshock.example/answer?t=x#verdict|Real or noise?>",
                        }],
                    }],
                },
            ],
        })
    );
    let over = own(&receiver, &over());
    assert_eq!(over["attachments"][0]["color"], "good");
    assert_eq!(over["attachments"][0]["title"], "[RESOLVED] FailureLikely");
    let long = own(&receiver, &long());
    let text = long["attachments"][0]["text"].as_str().unwrap();
    assert!(text.encode_utf16().count() <= 12_000 && text.ends_with('…'));
    assert_eq!(long["attachments"][0]["pretext"], "several");
}

#[test]
fn slack_keeps_our_message_where_only_its_place_and_sender_are_chosen() {
    let receiver = configured(
        "  slack_configs: [{api_url: 'https://chat.example/hook', channel: '#{{ .CommonLabels.severity }}', username: ops}]",
    );
    let mut expected = body(&slack(Some("#warning")), &one());
    expected["username"] = "ops".into();
    assert_eq!(own(&receiver, &one()), expected);
    let receiver = configured("  slack_configs: [{api_url: 'https://chat.example/hook', link_names: true}]");
    let mut expected = body(&slack(None), &one());
    expected["link_names"] = true.into();
    assert!(!said(&receiver, &one()).is_empty());
    assert_eq!(own(&receiver, &one()), expected);
    // A text that is given counts; the title is ours then.
    let receiver = configured("  slack_configs: [{api_url: 'https://chat.example/hook', text: 'hi'}]");
    let body = own(&receiver, &one());
    assert_eq!(body["attachments"][0]["title"], "db-1: 71% likely to fail within 1h");
    assert_eq!(body["attachments"][0]["text"], "hi");
}

#[test]
fn a_copy_says_why_it_came_whatever_else_it_says() {
    let mut message = one();
    message.instead_of = Some("pager <b>".to_owned());
    let why = "Sent here because receiver pager <b> cannot be reached.";
    let escaped = why.replace('<', "&lt;").replace('>', "&gt;");
    let receiver = configured("  slack_configs: [{api_url: 'https://chat.example/hook', text: hi}]");
    assert_eq!(
        own(&receiver, &message)["attachments"][0]["text"],
        format!("{escaped}\n\nhi")
    );
    let receiver = configured("  discord_configs: [{webhook_url: 'https://chat.example/hook', message: hi}]");
    let body = own(&receiver, &message);
    assert!(
        body["embeds"][0]["description"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{why}\n\nhi")),
        "{body}"
    );
    let receiver = configured("  telegram_configs: [{bot_token: t, chat_id: 5, message: hi}]");
    let body = own(&receiver, &message);
    assert!(
        body["text"].as_str().unwrap().starts_with(&format!("{escaped}\n\nhi")),
        "{body}"
    );
}

#[test]
fn mattermost_gets_its_own_text_and_attachments() {
    let receiver = configured(
        "  mattermost_configs:
  - webhook_url: https://chat.example/hook
    channel: ops
    username: '{{ .Receiver }}'
    text: '#### {{ template \"mattermost.default.title\" . }}'
    props: {card: '{{ .Status }}'}
    priority: {priority: urgent, requested_ack: true}
    attachments:
    - {title: '{{ .CommonLabels.host }}', color: '{{ template \"mattermost.default.color\" . }}', fields: [{title: a, value: b, short: true}]}
",
    );
    assert_eq!(
        own(&receiver, &one()),
        json!({
            "channel": "ops",
            "username": "team",
            "text": "#### 1 firing: FailureLikely (1h, db-1, warning)\n\n[Open in Foreshock](http://foreshock.example/hosts/db-1)",
            "props": { "card": "firing" },
            "priority": { "priority": "urgent", "requested_ack": true },
            "attachments": [{
                "title": "db-1", "color": "#c62828", "fields": [{ "title": "a", "value": "b", "short": true }],
            }],
        })
    );
}

#[test]
fn discord_gets_its_own_title_and_message_and_calls_whom_the_configuration_names() {
    let receiver = |content: &str| {
        configured(&format!(
            "  discord_configs: [{{webhook_url: 'https://chat.example/hook', title: '{{{{ .Status }}}}', message: '{{{{ range .Alerts }}}}{{{{ .Labels.host }}}} {{{{ end }}}}', username: ops, avatar_url: 'https://x.example/a.png', content: '{content}'}}]"
        ))
    };
    assert_eq!(
        own(&receiver("<@&7> look"), &one()),
        json!({
            "content": "<@&7> look",
            "username": "ops",
            "avatar_url": "https://x.example/a.png",
            "embeds": [{
                "title": "firing", "description": "db-1", "color": 0xf9_a825,
                "url": "http://foreshock.example/hosts/db-1",
            }],
            "allowed_mentions": { "parse": ["roles", "users"] },
        })
    );
    let calls = |content: &str| {
        own(&receiver(content), &message(vec![alert("@everyone", "x")]))["allowed_mentions"]["parse"].clone()
    };
    assert_eq!(calls("@everyone {{ .Status }}"), json!(["roles", "users", "everyone"]));
    assert_eq!(
        calls("{{ .CommonLabels.host }}"),
        json!(["roles", "users"]),
        "an alert calls nobody"
    );
    assert_eq!(calls(""), json!([]));
    let long = own(
        &receiver("{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}"),
        &long(),
    );
    assert_eq!(long["content"].as_str().unwrap().encode_utf16().count(), 2000);
}

#[test]
fn teams_gets_its_own_title_and_text_within_28_kilobytes() {
    let receiver = configured(
        "  msteamsv2_configs: [{webhook_url: 'https://chat.example/hook', title: '{{ .Status }}', text: '{{ template \"msteamsv2.default.text\" . }}'}]",
    );
    let body = own(&receiver, &with_answer(one()));
    let card = &body["attachments"][0]["content"];
    assert_eq!(card["body"][0]["text"], "firing");
    let text = card["body"][1]["text"].as_str().unwrap();
    assert!(text.starts_with("# Firing\n\n**db-1: 71% likely"), "{text}");
    assert_eq!(card["actions"].as_array().unwrap().len(), 4);
    assert!(own(&receiver, &long()).to_string().len() < 28 * 1024);
    let receiver =
        configured("  msteams_configs: [{webhook_url: 'https://chat.example/hook', summary: 'in short', text: 'own'}]");
    let body = own(&receiver, &one());
    assert_eq!(body["summary"], "in short");
    assert_eq!(
        body["attachments"][0]["content"]["body"][0]["text"],
        "db-1: 71% likely to fail within 1h"
    );
}

#[test]
fn telegram_gets_its_own_text_in_the_markup_that_it_is_in() {
    let receiver = |message: &str, mode: &str| {
        configured(&format!(
            "  telegram_configs: [{{bot_token: t, chat_id: 5, message: '{message}', parse_mode: {mode}}}]"
        ))
    };
    let hostile = || with_answer(message(vec![alert("<b>&db", "x")]));
    let html = own(&receiver("<b>{{ .CommonLabels.host }}</b>", "HTML"), &hostile());
    assert_eq!(html["parse_mode"], "HTML");
    assert_eq!(
        html["text"],
        "<b>&lt;b&gt;&amp;db</b>\n\n<a href=\"http://foreshock.example/hosts/<b>&db\">Open in Foreshock</a> · <a href=\"http://foreshock.example/answer?t=x#acknowledge\">Acknowledge</a> · <a href=\"http://foreshock.example/answer?t=x#silence\">Silence</a> · <a href=\"http://foreshock.example/answer?t=x#verdict\">Real or noise?</a>"
            .replace("hosts/<b>&db", "hosts/&lt;b&gt;&amp;db")
    );
    let plain = own(&receiver("{{ .CommonLabels.host }}", "\"\""), &one());
    assert!(plain["parse_mode"].is_null());
    assert_eq!(
        plain["text"],
        "db-1\n\nOpen in Foreshock: http://foreshock.example/hosts/db-1"
    );
    let marked = own(&receiver("*{{ .Status }}*", "MarkdownV2"), &with_answer(one()));
    assert_eq!(marked["parse_mode"], "MarkdownV2");
    let text = marked["text"].as_str().unwrap();
    assert!(
        text.starts_with("*firing*\n\n[Open in Foreshock](http://foreshock.example/hosts/db-1)"),
        "{text}"
    );
    // What is too long loses its markup rather than the half of a tag.
    let long = own(
        &receiver(
            "{{ range .Alerts }}<b>{{ .Annotations.summary }} & so on</b>{{ end }}",
            "HTML",
        ),
        &long(),
    );
    assert!(long["parse_mode"].is_null());
    let text = long["text"].as_str().unwrap();
    assert!(
        text.encode_utf16().count() <= 4096 && !text.contains("<b>") && text.contains('…'),
        "{text}"
    );
    assert!(
        text.ends_with("Open in Foreshock: http://foreshock.example/hosts/höst-0"),
        "{text}"
    );
}

#[test]
fn pagerduty_gets_its_own_fields_and_keeps_its_key() {
    let receiver = configured(
        "  pagerduty_configs:
  - routing_key: r
    url: https://events.example/v2/enqueue
    description: '{{ template \"pagerduty.default.description\" . }}'
    severity: '{{ if eq .CommonLabels.severity \"warning\" }}critical{{ else }}nonsense{{ end }}'
    class: '{{ .CommonLabels.horizon }}'
    component: disk
    group: '{{ .CommonLabels.nope }}'
    source: '{{ .CommonLabels.host }}.example.net'
    client: us
    client_url: https://us.example
    details:
      firing: '{{ template \"pagerduty.default.instances\" .Alerts.Firing }}'
      nested: {count: '{{ len .Alerts }}', list: ['{{ .Status }}']}
    links: [{href: 'https://wiki.example/{{ .CommonLabels.alertname }}', text: Runbook}, {href: '{{ .CommonLabels.nope }}', text: none}]
    images: [{src: 'https://x.example/a.png', alt: a}]
",
    );
    let (found, ours) = (own(&receiver, &one()), body(&Channel::pagerduty("r"), &one()));
    assert_eq!(found["dedup_key"], ours["dedup_key"]);
    assert_eq!(found["event_action"], "trigger");
    let payload = &found["payload"];
    assert_eq!(payload["summary"], "1 firing: FailureLikely (1h, db-1, warning)");
    assert_eq!(
        (
            &payload["severity"],
            &payload["class"],
            &payload["component"],
            &payload["source"]
        ),
        (
            &json!("critical"),
            &json!("1h"),
            &json!("disk"),
            &json!("db-1.example.net")
        )
    );
    assert!(payload["group"].is_null());
    let details = &payload["custom_details"];
    assert!(
        details["firing"]
            .as_str()
            .unwrap()
            .contains("Labels: alertname=FailureLikely")
    );
    assert_eq!(details["nested"], json!({ "count": "1", "list": ["firing"] }));
    assert_eq!(details["labels"], ours["payload"]["custom_details"]["labels"]);
    assert_eq!(
        (&found["client"], &found["client_url"]),
        (&json!("us"), &json!("https://us.example"))
    );
    assert_eq!(
        found["links"],
        json!([
            { "href": "http://foreshock.example/hosts/db-1", "text": "Open in Foreshock" },
            { "href": "https://wiki.example/FailureLikely", "text": "Runbook" },
        ])
    );
    assert_eq!(
        found["images"],
        json!([{ "src": "https://x.example/a.png", "alt": "a" }])
    );
    let mut other = one();
    other.alerts[0].labels.insert("severity".to_owned(), "info".to_owned());
    assert_eq!(
        own(&receiver, &other)["payload"]["severity"],
        "info",
        "nonsense is none of the four"
    );
    assert_eq!(own(&receiver, &over())["event_action"], "resolve");
    assert_eq!(
        own(&receiver, &long())["payload"]["summary"]
            .as_str()
            .unwrap()
            .encode_utf16()
            .count()
            .max(1024),
        1024
    );
}
