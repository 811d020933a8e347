//! Telegram's bot API: <https://core.telegram.org/bots/api#sendmessage>. The answer's `ok` is what counts; 429 says in
//! `parameters.retry_after` how long to wait. A message holds 4,096 characters.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::notify::message::{Message, cut, escaped};
use crate::notify::send::{Judgement, Verdict, by_status, pause, retry_after};

const TEXT_MAX: usize = 4096;

pub(super) fn body(message: &Message, chat: &Value, thread: Option<i64>, silently: bool) -> Value {
    let (title, link) = (cut(&message.title(), 1000), message.link());
    // Of a link only its words count; the first is written out, for Telegram makes none of addresses within a network.
    let doors = message.doors();
    let words: usize = doors.iter().skip(1).map(|(words, _)| words.len() + 3).sum();
    let doors: String = doors
        .iter()
        .skip(1)
        .map(|(words, url)| format!(" · <a href=\"{}\">{words}</a>", quoted(url)))
        .collect();
    // Entities count as the characters that they stand for, so that the text is cut before it is escaped.
    let room = TEXT_MAX.saturating_sub(title.encode_utf16().count() + link.encode_utf16().count() + words + 4);
    let details = cut(&message.details(), room);
    let text = format!(
        "<b>{}</b>\n{}\n\n{}{doors}",
        escaped(&title),
        escaped(&details),
        escaped(&link)
    );
    let mut body = json!({
        "chat_id": chat,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
        "disable_notification": silently,
    });
    if let Some(thread) = thread {
        body["message_thread_id"] = thread.into();
    }
    body
}

fn quoted(url: &str) -> String {
    escaped(url).replace('"', "&quot;")
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let in_body = answer["parameters"]["retry_after"].as_f64().and_then(pause);
        return Judgement::new(Verdict::Later(in_body.max(retry_after(headers))), "");
    }
    let judgement = by_status(status, headers);
    match (judgement.verdict, answer["ok"].as_bool()) {
        (Verdict::Delivered, Some(true)) => judgement,
        (Verdict::Delivered, _) => Judgement::new(Verdict::Refused, ", but did not take the message"),
        (Verdict::Refused, _) if !answer["parameters"]["migrate_to_chat_id"].is_null() => Judgement::new(
            Verdict::Refused,
            ": the group has become a supergroup, give its new chat id",
        ),
        _ => judgement,
    }
}
