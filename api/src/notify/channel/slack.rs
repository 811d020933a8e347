//! Slack and Mattermost: incoming webhooks, and Slack's `chat.postMessage`.
//!
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>: 200 with `ok`; `chat.postMessage` answers 200
//! with `{"ok": false, "error": ...}` as well. Header blocks hold 150 characters, sections 3,000.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::notify::message::{Message, cut, escaped, markdown_doors, prefaced};
use crate::notify::send::{Judgement, Verdict, by_status, retry_after};
use crate::notify::wording::Words;

const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;

/// Of the texts that a configuration shapes itself; Slack cuts far later, but nobody reads on.
const OWN_TEXT_MAX: usize = 12_000;
/// As Alertmanager has it.
const OWN_TITLE_MAX: usize = 1024;

pub(super) fn slack(message: &Message, words: Option<&Words>, channel: Option<&str>) -> Value {
    const SHAPED: [&str; 12] = [
        "actions",
        "callback_id",
        "color",
        "fallback",
        "fields",
        "footer",
        "image_url",
        "pretext",
        "text",
        "thumb_url",
        "title",
        "title_link",
    ];
    let shaped = words.filter(|words| words.has_any(&SHAPED));
    let title = message.title();
    let doors = json!({
        "type": "context",
        "elements": [{ "type": "mrkdwn", "text": message.door_line(|words, url| format!("<{}|{words}>", escaped(url))) }],
    });
    let mut body = match shaped {
        // Blocks and what Alertmanager's keys speak of cannot stand in one attachment.
        Some(words) => json!({
            "attachments": [own_attachment(message, words), { "color": colour(message), "blocks": [doors] }],
        }),
        None => {
            let mut blocks = vec![json!({
                "type": "header",
                "text": { "type": "plain_text", "text": cut(&title, HEADER_MAX), "emoji": false },
            })];
            let details = escaped(&message.details());
            if !details.is_empty() {
                blocks.push(
                    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&details, SECTION_MAX) } }),
                );
            }
            blocks.push(doors);
            json!({
                // Shown where blocks are not: on lock screens.
                "text": cut(&escaped(&title), SECTION_MAX),
                "attachments": [{ "color": colour(message), "blocks": blocks }],
            })
        }
    };
    if let (Some(attachments), Some(url)) = (body["attachments"].as_array_mut(), &message.chart_url) {
        // Not a block: a picture that Slack cannot fetch would make it refuse the whole message there.
        attachments.push(json!({ "fallback": message.chart_words(), "image_url": url }));
    }
    if let Some(text) = words.and_then(|words| words.said("message_text")) {
        body["text"] = cut(text, OWN_TEXT_MAX).into();
    }
    put_said(&mut body, words, &["username", "icon_emoji", "icon_url", "link_names"]);
    if let Some(channel) = words.and_then(|words| words.said("channel")).or(channel) {
        body["channel"] = channel.trim().into();
    }
    body
}

/// What is said under these keys, under the same ones.
fn put_said(body: &mut Value, words: Option<&Words>, keys: &[&str]) {
    for key in keys {
        let said = words.map_or(Value::Null, |words| words.filled(key));
        if !said.is_null() {
            body[*key] = said;
        }
    }
}

/// An attachment in the form that Alertmanager's keys speak of; what is not among them is ours.
fn own_attachment(message: &Message, words: &Words) -> Value {
    let title = words
        .text("title")
        .map_or_else(|| escaped(&message.title()), str::to_owned);
    let title = cut(title.trim(), OWN_TITLE_MAX);
    let text = words.text("text").map(|text| prefaced(message, text, escaped));
    let text = text.unwrap_or_else(|| escaped(&message.details()));
    let mut attachment = json!({
        "fallback": title,
        "color": colour(message),
        "mrkdwn_in": ["fallback", "pretext", "text"],
    });
    let link = words.text("title_link").map_or_else(|| message.link(), str::to_owned);
    for (key, own) in [
        ("title", title),
        ("title_link", link),
        ("text", cut(&text, OWN_TEXT_MAX)),
    ] {
        if !own.trim().is_empty() {
            attachment[key] = own.into();
        }
    }
    put_said(
        &mut attachment,
        Some(words),
        &[
            "actions",
            "callback_id",
            "color",
            "fallback",
            "fields",
            "footer",
            "image_url",
            "mrkdwn_in",
            "pretext",
            "thumb_url",
        ],
    );
    let is_short = words.value("short_fields").and_then(Value::as_bool).unwrap_or(false);
    for field in attachment["fields"].as_array_mut().into_iter().flatten() {
        if field["short"].is_null() {
            field["short"] = is_short.into();
        }
    }
    attachment
}

/// Markdown; Mattermost splits posts at 16,383 characters and refuses some longer ones.
pub(super) fn mattermost(message: &Message, words: Option<&Words>, channel: Option<&str>) -> Value {
    const TEXT_MAX: usize = 16_000;
    let doors = format!("\n\n{}", markdown_doors(message));
    let shaped = words.filter(|words| words.has_any(&["text", "attachments"]));
    let text = match shaped {
        Some(words) => prefaced(message, words.text("text").unwrap_or_default(), str::to_owned),
        None => format!(
            "#### {}\n{}",
            message.title(),
            // A single line break is none in Markdown.
            message.details().replace('\n', "  \n")
        ),
    };
    let room = TEXT_MAX.saturating_sub(doors.encode_utf16().count());
    let mut body = json!({ "text": (cut(&text, room) + &doors).trim_start() });
    put_said(
        &mut body,
        words,
        &["attachments", "icon_emoji", "icon_url", "priority", "props", "username"],
    );
    if let Some(url) = &message.chart_url {
        let chart = json!({ "fallback": message.chart_words(), "image_url": url });
        match body["attachments"].as_array_mut() {
            Some(attachments) => attachments.push(chart),
            None => body["attachments"] = json!([chart]),
        }
    }
    if let Some(channel) = words.and_then(|words| words.said("channel")).or(channel) {
        body["channel"] = channel.trim().into();
    }
    body
}

fn colour(message: &Message) -> &'static str {
    match (message.is_resolved(), message.severity()) {
        (true, _) => "#2e7d32",
        (false, "warning" | "info") => "#f9a825",
        (false, _) => "#c62828",
    }
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    let judgement = by_status(status, headers);
    if judgement.verdict != Verdict::Delivered {
        return judgement;
    }
    let Ok(answer) = serde_json::from_str::<Value>(body) else {
        return judgement;
    };
    match (answer["ok"].as_bool(), answer["error"].as_str()) {
        (
            Some(false),
            Some("ratelimited" | "rate_limited" | "internal_error" | "fatal_error" | "service_unavailable"),
        ) => Judgement::new(Verdict::Later(retry_after(headers)), ", but did not take the message"),
        (Some(false), _) => Judgement::new(
            Verdict::Refused,
            ", but did not take the message: check token, channel, and whether the app is in it",
        ),
        _ => judgement,
    }
}
