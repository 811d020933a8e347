//! Discord: <https://discord.com/developers/docs/resources/webhook#execute-webhook>. 204; 429 says in its body how long to wait.
//! Titles hold 256 characters, descriptions 4,096.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Body;
use super::form::form;
use crate::notify::message::{Message, cut, prefaced};
use crate::notify::send::{Judgement, Verdict, by_status, pause, retry_after};
use crate::notify::wording::Words;

pub(super) fn body(message: &Message, words: Option<&Words>) -> Value {
    let colour = match (message.is_resolved(), message.severity()) {
        (true, _) => 0x2e_7d32,
        (false, "warning" | "info") => 0xf9_a825,
        (false, _) => 0xc6_2828,
    };
    // The title leads to the page already.
    let doors = message.doors();
    let doors: Vec<String> = doors
        .iter()
        .skip(1)
        .map(|(words, url)| format!("[{words}]({url})"))
        .collect();
    let doors = if doors.is_empty() {
        String::new()
    } else {
        format!("\n\n{}", doors.join(" · "))
    };
    let room = 4096_usize.saturating_sub(doors.encode_utf16().count());
    let title = words.and_then(|words| words.text("title"));
    let title = title.map_or_else(|| message.title(), str::to_owned);
    let details = words.and_then(|words| words.text("message"));
    let details = details.map_or_else(|| message.details(), |text| prefaced(message, text, str::to_owned));
    let mut embed = json!({
        "title": cut(title.trim(), 256),
        "description": cut(&details, room) + &doors,
        "color": colour,
    });
    let link = message.link();
    if link.starts_with("http://") || link.starts_with("https://") {
        embed["url"] = link.into();
    }
    let content = words.and_then(|words| words.said("content")).unwrap_or_default();
    // Names of hosts must not call everyone; who wrote the text may.
    let mut calls: Vec<&str> = Vec::new();
    if !content.is_empty() {
        calls.extend(["roles", "users"]);
    }
    if words.is_some_and(|words| {
        ["@everyone", "@here"]
            .iter()
            .any(|name| words.is_written("content", name))
    }) {
        calls.push("everyone");
    }
    let mut body = json!({ "content": cut(content, 2000), "embeds": [embed], "allowed_mentions": { "parse": calls } });
    for (key, most) in [("username", 80), ("avatar_url", 2000)] {
        if let Some(said) = words.and_then(|words| words.said(key)) {
            body[key] = cut(said.trim(), most).into();
        }
    }
    body
}

/// The same with a picture below the text.
pub(super) fn illustrated(message: &Message, words: Option<&Words>, png: &[u8]) -> Body {
    const NAME: &str = "chart.png";
    let mut body = body(message, words);
    body["embeds"][0]["image"] = json!({ "url": format!("attachment://{NAME}") });
    body["attachments"] = json!([{ "id": 0, "filename": NAME, "description": cut(&message.chart_words(), 1024) }]);
    form(&[
        ("payload_json", None, "application/json", body.to_string().as_bytes()),
        ("files[0]", Some(NAME), "image/png", png),
    ])
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return by_status(status, headers);
    }
    let in_body = serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|answer| answer["retry_after"].as_f64())
        .and_then(pause);
    // The longer of the two: coming early makes it worse.
    let wait: Option<Duration> = in_body.max(retry_after(headers));
    Judgement::new(Verdict::Later(wait), "")
}
