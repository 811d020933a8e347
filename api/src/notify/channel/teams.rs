//! Microsoft Teams, through a workflow that is started by a webhook request: an adaptive card.
//! <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>. 202, or 200; older
//! connectors answered 200 and said in the text that they failed. A message holds 28 KB.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::notify::message::{Message, cut, cut_bytes, prefaced};
use crate::notify::send::{Judgement, Verdict, by_status, retry_after};
use crate::notify::wording::Words;

/// Leaves room for the card around it.
const DETAILS_BYTES_MAX: usize = 20_000;

pub(super) fn body(message: &Message, words: Option<&Words>) -> Value {
    let colour = match (message.is_resolved(), message.severity()) {
        (true, _) => "good",
        (false, "warning" | "info") => "warning",
        (false, _) => "attention",
    };
    let title = words.and_then(|words| words.text("title"));
    let title = title.map_or_else(|| message.title(), str::to_owned);
    let details = match words.and_then(|words| words.text("text")) {
        Some(text) => cut_bytes(&prefaced(message, text, str::to_owned), DETAILS_BYTES_MAX),
        // A card shows Markdown, in which a line break needs two.
        None => cut_bytes(&message.details(), DETAILS_BYTES_MAX).replace('\n', "\n\n"),
    };
    let mut lines = Vec::new();
    if !title.trim().is_empty() {
        lines.push(json!({
            "type": "TextBlock", "text": cut(title.trim(), 500), "weight": "bolder", "size": "medium", "wrap": true, "color": colour,
        }));
    }
    if !details.is_empty() {
        lines.push(json!({ "type": "TextBlock", "text": details, "wrap": true }));
    }
    if let Some(url) = &message.chart_url {
        lines.push(json!({ "type": "Image", "url": url, "altText": message.chart_words(), "size": "stretch" }));
    }
    let action = |(words, url): &(&str, String)| json!({ "type": "Action.OpenUrl", "title": words, "url": url });
    let actions: Vec<Value> = message.doors().iter().map(action).collect();
    let mut body = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "full" },
                "body": lines,
                "actions": actions,
            },
        }],
    });
    if let Some(summary) = words.and_then(|words| words.said("summary")) {
        body["summary"] = cut(summary.trim(), 500).into();
    }
    body
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    let judgement = by_status(status, headers);
    if judgement.verdict == Verdict::Delivered && body.contains("delivery failed") {
        let advice = ", but did not deliver the message";
        return if body.contains("HTTP error 429") || body.contains("HTTP error 5") {
            Judgement::new(Verdict::Later(retry_after(headers)), advice)
        } else {
            Judgement::new(Verdict::Refused, advice)
        };
    }
    judgement
}
