//! Telegram's bot API: <https://core.telegram.org/bots/api#sendmessage>, or `sendPhoto` with a chart. The answer's `ok` is what
//! counts; 429 says in `parameters.retry_after` how long to wait. A message holds 4,096 characters, a picture's caption 1,024.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Body;
use super::form::form;
use crate::notify::message::{Message, cut, escaped, prefaced};
use crate::notify::send::{Judgement, Verdict, by_status, pause, retry_after};
use crate::notify::wording::Words;

const TEXT_MAX: usize = 4096;
/// Below a picture.
const CAPTION_MAX: usize = 1024;

pub(super) fn body(
    message: &Message,
    words: Option<&Words>,
    chat: &Value,
    thread: Option<i64>,
    silently: bool,
) -> Value {
    let text = text(message, words, TEXT_MAX);
    let mut body = json!({
        "chat_id": chat,
        "text": text.text,
        "link_preview_options": { "is_disabled": true },
        "disable_notification": silently,
    });
    if !text.mode.is_empty() {
        body["parse_mode"] = text.mode.into();
    }
    if let Some(thread) = thread {
        body["message_thread_id"] = thread.into();
    }
    body
}

/// The same below a picture (`sendPhoto`), where 1,024 characters are enough for it.
pub(super) fn illustrated(
    message: &Message,
    words: Option<&Words>,
    chat: &Value,
    thread: Option<i64>,
    silently: bool,
    png: &[u8],
) -> Option<Body> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let text = text(message, words, CAPTION_MAX);
    if !text.is_whole {
        return None;
    }
    let chat = chat.as_str().map_or_else(|| chat.to_string(), str::to_owned);
    let thread = thread.map(|thread| thread.to_string());
    let mut parts: Vec<(&str, Option<&str>, &str, &[u8])> = vec![
        ("chat_id", None, PLAIN, chat.as_bytes()),
        ("caption", None, PLAIN, text.text.as_bytes()),
        (
            "disable_notification",
            None,
            PLAIN,
            if silently { b"true" } else { b"false" },
        ),
    ];
    if !text.mode.is_empty() {
        parts.push(("parse_mode", None, PLAIN, text.mode.as_bytes()));
    }
    if let Some(thread) = &thread {
        parts.push(("message_thread_id", None, PLAIN, thread.as_bytes()));
    }
    parts.push(("photo", Some("chart.png"), "image/png", png));
    Some(form(&parts))
}

/// What is said, and how it is to be read.
struct Text {
    text: String,
    /// `parse_mode`; empty for plain text.
    mode: &'static str,
    is_whole: bool,
}

/// The message in at most so many characters.
fn text(message: &Message, words: Option<&Words>, most: usize) -> Text {
    if let Some(own) = words.and_then(|words| words.said("message")) {
        let mode = words.and_then(|words| words.text("parse_mode")).unwrap_or_default();
        return own_text(message, own, mode, most);
    }
    let (title, link) = (cut(&message.title(), 1000), message.link());
    // Of a link only its words count; the first is written out, for Telegram makes none of addresses within a network.
    let doors = message.doors();
    let words: usize = doors.iter().skip(1).map(|(words, _)| words.len() + 3).sum();
    let doors: String = doors
        .iter()
        .skip(1)
        .map(|(words, url)| format!(" · {}", html_link(words, url)))
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
    Text {
        text,
        mode: "HTML",
        is_whole,
    }
}

/// How a link is written: its words, its address.
type LinkForm = fn(&str, &str) -> String;

/// A text of the receiver's own with its links below it. One that is too long loses its markup, for what is cut in the middle of a
/// tag is refused.
fn own_text(message: &Message, own: &str, mode: &str, most: usize) -> Text {
    let (mode, form, link): (&'static str, fn(&str) -> String, LinkForm) = match mode {
        "HTML" => ("HTML", escaped, html_link),
        "MarkdownV2" => ("MarkdownV2", marked, |words, url| {
            let url = url.replace('\\', "\\\\").replace(')', "\\)");
            format!("[{}]({url})", marked(words))
        }),
        "Markdown" => ("Markdown", str::to_owned, |words, url| format!("[{words}]({url})")),
        _ => ("", str::to_owned, |words, url| format!("{words}: {url}")),
    };
    let doors = |link: LinkForm, between: &str| {
        let doors: Vec<String> = message.doors().iter().map(|(words, url)| link(words, url)).collect();
        doors.join(between)
    };
    let between = if mode.is_empty() { "\n" } else { " · " };
    let whole = format!("{}\n\n{}", prefaced(message, own, form), doors(link, between));
    if whole.encode_utf16().count() <= most {
        return Text {
            text: whole,
            mode,
            is_whole: true,
        };
    }
    let own = if mode == "HTML" {
        without_tags(own)
    } else {
        own.to_owned()
    };
    let text = prefaced(message, &own, str::to_owned);
    let doors = doors(|words, url| format!("{words}: {url}"), "\n");
    let room = most.saturating_sub(doors.encode_utf16().count() + 2);
    Text {
        text: format!("{}\n\n{doors}", cut(&text, room)),
        mode: "",
        is_whole: false,
    }
}

fn html_link(words: &str, url: &str) -> String {
    format!("<a href=\"{}\">{words}</a>", quoted(url))
}

/// The characters that mean something in MarkdownV2, made to mean nothing.
fn marked(text: &str) -> String {
    const MEANING: &str = "_*[]()~`>#+-=|{}.!\\";
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if MEANING.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// What is left of HTML as Telegram knows it: text, with the entities that it knows.
fn without_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => is_tag = false,
            c if !is_tag => out.push(c),
            _ => {}
        }
    }
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#43;", "+"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(out, |text, (entity, sign)| text.replace(entity, sign))
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
