//! Discord: <https://discord.com/developers/docs/resources/webhook#execute-webhook>. 204; 429 says in its body how long to wait.
//! Titles hold 256 characters, descriptions 4,096.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Body;
use super::form::form;
use crate::notify::message::{Message, cut};
use crate::notify::send::{Judgement, Verdict, by_status, pause, retry_after};

pub(super) fn body(message: &Message) -> Value {
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
    let mut embed = json!({
        "title": cut(&message.title(), 256),
        "description": cut(&message.details(), room) + &doors,
        "color": colour,
    });
    let link = message.link();
    if link.starts_with("http://") || link.starts_with("https://") {
        embed["url"] = link.into();
    }
    // Names of hosts must not call everyone.
    json!({ "content": "", "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

/// The same with a picture below the text.
pub(super) fn illustrated(message: &Message, png: &[u8]) -> Body {
    const NAME: &str = "chart.png";
    let mut body = body(message);
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
