//! Telegram's bot API: <https://core.telegram.org/bots/api#sendmessage>, or `sendPhoto` with a chart. The answer's `ok` is what
//! counts; 429 says in `parameters.retry_after` how long to wait. A message holds 4,096 characters, a picture's caption 1,024.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Body;
use super::form::form;
use crate::notify::message::{Message, cut, escaped};
use crate::notify::send::{Judgement, Verdict, by_status, pause, retry_after};

const TEXT_MAX: usize = 4096;
/// Below a picture.
const CAPTION_MAX: usize = 1024;

pub(super) fn body(message: &Message, chat: &Value, thread: Option<i64>, silently: bool) -> Value {
    let (text, _) = text(message, TEXT_MAX);
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

/// The same below a picture (`sendPhoto`), where 1,024 characters are enough for it.
pub(super) fn illustrated(
    message: &Message,
    chat: &Value,
    thread: Option<i64>,
    silently: bool,
    png: &[u8],
) -> Option<Body> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let (text, is_whole) = text(message, CAPTION_MAX);
    if !is_whole {
        return None;
    }
    let chat = chat.as_str().map_or_else(|| chat.to_string(), str::to_owned);
    let thread = thread.map(|thread| thread.to_string());
    let mut parts: Vec<(&str, Option<&str>, &str, &[u8])> = vec![
        ("chat_id", None, PLAIN, chat.as_bytes()),
        ("caption", None, PLAIN, text.as_bytes()),
        ("parse_mode", None, PLAIN, b"HTML"),
        (
            "disable_notification",
            None,
            PLAIN,
            if silently { b"true" } else { b"false" },
        ),
    ];
    if let Some(thread) = &thread {
        parts.push(("message_thread_id", None, PLAIN, thread.as_bytes()));
    }
    parts.push(("photo", Some("chart.png"), "image/png", png));
    Some(form(&parts))
}

/// The message in at most so many characters, and whether that is all of it.
fn text(message: &Message, most: usize) -> (String, bool) {
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
    let room = most.saturating_sub(title.encode_utf16().count() + link.encode_utf16().count() + words + 4);
    let whole = message.details();
    let details = cut(&whole, room);
    let text = format!(
        "<b>{}</b>\n{}\n\n{}{doors}",
        escaped(&title),
        escaped(&details),
        escaped(&link)
    );
    let room_taken = [&title, &details, &link].map(|part| part.encode_utf16().count());
    let is_whole = details == whole && room_taken.iter().sum::<usize>() + words + 4 <= most;
    (text, is_whole)
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
