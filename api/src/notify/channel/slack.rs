//! Slack and Mattermost: incoming webhooks, and Slack's `chat.postMessage`.
//!
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>: 200 with `ok`; `chat.postMessage` answers 200
//! with `{"ok": false, "error": ...}` as well. Header blocks hold 150 characters, sections 3,000.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::notify::message::{Message, cut, escaped, markdown_doors};
use crate::notify::send::{Judgement, Verdict, by_status, retry_after};

const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;

pub(super) fn slack(message: &Message, channel: Option<&str>) -> Value {
    let title = message.title();
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&title, HEADER_MAX), "emoji": false },
    })];
    let details = escaped(&message.details());
    if !details.is_empty() {
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&details, SECTION_MAX) } }));
    }
    blocks.push(json!({
        "type": "context",
        "elements": [{ "type": "mrkdwn", "text": message.door_line(|words, url| format!("<{}|{words}>", escaped(url))) }],
    }));
    let mut body = json!({
        // Shown where blocks are not: on lock screens.
        "text": cut(&escaped(&title), SECTION_MAX),
        "attachments": [{ "color": colour(message), "blocks": blocks }],
    });
    if let (Some(attachments), Some(url)) = (body["attachments"].as_array_mut(), &message.chart_url) {
        // Not a block: a picture that Slack cannot fetch would make it refuse the whole message there.
        attachments.push(json!({ "fallback": message.chart_words(), "image_url": url }));
    }
    if let Some(channel) = channel {
        body["channel"] = channel.into();
    }
    body
}

/// Markdown; Mattermost splits posts at 16,383 characters and refuses some longer ones.
pub(super) fn mattermost(message: &Message, channel: Option<&str>) -> Value {
    const TEXT_MAX: usize = 16_000;
    let doors = format!("\n\n{}", markdown_doors(message));
    let text = format!(
        "#### {}\n{}",
        message.title(),
        // A single line break is none in Markdown.
        message.details().replace('\n', "  \n")
    );
    let room = TEXT_MAX.saturating_sub(doors.encode_utf16().count());
    let mut body = json!({ "text": cut(&text, room) + &doors });
    if let Some(url) = &message.chart_url {
        body["attachments"] = json!([{ "fallback": message.chart_words(), "image_url": url }]);
    }
    if let Some(channel) = channel {
        body["channel"] = channel.into();
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
