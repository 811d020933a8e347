//! A message as a letter: headers (RFC 5322), a text and a page (RFC 2045 to 2047) that read well on a phone.

use std::time::{Duration, UNIX_EPOCH};

use lettre::error::Error;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, MultiPart, SinglePart};
use maud::{DOCTYPE, Markup, html};
use ring::digest;

use super::{Mail, MailError};
use crate::notify::chart;
use crate::notify::message::{Message, action, cut, cut_bytes, facts, prefaced, summary};
use crate::notify::notification::Notification;
use crate::notify::wording::Words;
use crate::page::text::utc_short;

const SUBJECT_MAX: usize = 200;
/// RFC 5322, section 2.1.1.
const HEADER_MAX: usize = 900;
const HEADERS_MAX: usize = 50;

/// Headers that are not for others to set: what the letter is made of, and who gets it.
const OWN: [&str; 11] = [
    "auto-submitted",
    "bcc",
    "cc",
    "date",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "references",
    "to",
    "x-foreshock-key",
];

/// Headers that were configured, once they are found to be some.
pub(super) fn headers(drafts: &[(String, String)]) -> Result<Vec<HeaderValue>, MailError> {
    let header = |(at, (name, value)): (usize, &(String, String))| {
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
        let wrong = |problem| MailError::Header {
            name: name.chars().take(80).collect(),
            problem,
        };
        let known = HeaderName::new_from_ascii(name.clone()).ok().filter(|_| is_name);
        let Some(known) = known else {
            return Err(wrong("this is no header's name"));
        };
        if lower.starts_with("content-") || OWN.contains(&lower.as_str()) {
            Err(wrong("it is made for each letter"))
        } else if value.chars().any(char::is_control) {
            Err(wrong("its value holds a line break or another control character"))
        } else if value.len() > HEADER_MAX {
            Err(wrong("its value is longer than 900 bytes"))
        } else if at >= HEADERS_MAX {
            Err(wrong("there are more than 50"))
        } else {
            Ok(HeaderValue::new(known, value.clone()))
        }
    };
    drafts.iter().enumerate().map(header).collect()
}

/// The letter that says `message`, with `\r\n` at the end of each line.
pub(super) fn compose(
    mail: &Mail,
    message: &Message,
    words: Option<&Words>,
    key: &str,
    now_ms: i64,
) -> Result<Vec<u8>, Error> {
    let to: Vec<&str> = mail.to.iter().map(|mailbox| mailbox.email.as_ref()).collect();
    let id = |what: &str| {
        let bytes = digest::digest(&digest::SHA256, what.as_bytes());
        let hex: String = bytes.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("<{hex}@{}>", mail.from.email.domain())
    };
    // The same for each attempt at the same news, so that mailboxes know a letter that comes twice.
    let message_id = id(&format!("{key}\0{}\0{}", message.receiver, to.join(",")));
    let own = |name, value| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let mut builder = lettre::Message::builder()
        .date(UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)))
        .from(mail.from.clone())
        .message_id(Some(message_id.clone()))
        // What is said about one group of alerts stands in one thread.
        .references(id(&message.group_key))
        .subject(in_a_line(&cut(&message.title(), SUBJECT_MAX)))
        .raw_header(own("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(own("X-Foreshock-Key", in_a_line(key)));
    for mailbox in &mail.to {
        builder = builder.to(mailbox.clone());
    }
    for header in mail.headers.iter().cloned().chain(made_headers(words)) {
        builder = builder.raw_header(header);
    }
    let own = |key: &str| words.and_then(|words| words.said(key));
    let plain = part(ContentType::TEXT_PLAIN, text(message, own("text")));
    let letter = if mail.html {
        // `=_` never stands in quoted-printable.
        let boundary = format!("=_{}", &message_id[1..33]);
        // A page that is not ours has no place for them.
        let charts = match own("html") {
            Some(_) => Vec::new(),
            None => charts(message, &message_id[1..message_id.len() - 1]),
        };
        let page = own("html").map_or_else(|| page(message, &charts).into_string(), |own| with_doors(message, own));
        let page = part(ContentType::TEXT_HTML, page);
        let both = MultiPart::alternative().boundary(&boundary).singlepart(plain);
        builder.multipart(if charts.is_empty() {
            both.singlepart(page)
        } else {
            let first = MultiPart::related().boundary(format!("{boundary}.1")).singlepart(page);
            both.multipart(
                charts
                    .into_iter()
                    .fold(first, |parts, chart| parts.singlepart(chart.part())),
            )
        })
    } else {
        builder.singlepart(plain)
    };
    Ok(letter?.formatted())
}

/// A picture that the page shows, and that comes with the letter.
struct Chart<'a> {
    alert: &'a Notification,
    content_id: String,
    png: Vec<u8>,
}

/// Pictures in one letter, each of a few thousand bytes.
const CHARTS_MAX: usize = 3;

fn charts<'a>(message: &'a Message, id: &str) -> Vec<Chart<'a>> {
    let firing = message.alerts.iter().filter(|alert| !alert.is_resolved());
    let drawn = firing.filter_map(|alert| Some((alert, chart::picture(alert.trend.as_ref()?)?)));
    drawn
        .take(CHARTS_MAX)
        .enumerate()
        .map(|(at, (alert, png))| Chart {
            alert,
            content_id: format!("{at}.{id}"),
            png,
        })
        .collect()
}

impl Chart<'_> {
    fn part(self) -> SinglePart {
        let kind = ContentType::parse("image/png").expect("a constant");
        Attachment::new_inline_with_name(self.content_id, "chart.png".to_owned()).body(self.png, kind)
    }
}

fn part(kind: ContentType, text: String) -> SinglePart {
    SinglePart::builder()
        .header(kind)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text)
}

/// Headers end where a line ends.
fn in_a_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Headers that were made for this message. One that says nothing is left out: the subject is ours then.
fn made_headers(words: Option<&Words>) -> Vec<HeaderValue> {
    let made = words.and_then(|words| words.value("headers")?.as_object());
    let made = made.into_iter().flatten().filter_map(|(name, value)| {
        let value = in_a_line(value.as_str()?);
        let value = cut_bytes(value.trim(), HEADER_MAX);
        let name = HeaderName::new_from_ascii(name.clone()).ok()?;
        (!value.is_empty()).then(|| HeaderValue::new(name, value))
    });
    made.collect()
}

/// A page that is not ours, with why it came before what it says and our links behind it.
fn with_doors(message: &Message, page: &str) -> String {
    let sentences = html! { @for sentence in message.prologue() { p { (sentence) } } };
    let doors = html! { p { @for (words, url) in web_doors(message) { (button(&url, words)) } } };
    let lower = page.to_ascii_lowercase();
    let start = lower
        .find("<body")
        .and_then(|body| Some(body + lower[body..].find('>')? + 1));
    let start = start.unwrap_or(0);
    let end = lower.rfind("</body").filter(|end| *end >= start).unwrap_or(page.len());
    [
        &page[..start],
        &sentences.into_string(),
        &page[start..end],
        &doors.into_string(),
        &page[end..],
    ]
    .concat()
}

fn text(message: &Message, own: Option<&str>) -> String {
    let door = |(words, url): &(&str, String)| format!("{words}: {url}\n");
    let doors: String = message.doors().iter().map(door).collect();
    if let Some(own) = own {
        return format!("{}\n\n{doors}", prefaced(message, own, str::to_owned));
    }
    format!("{}\n\n{}\n\n{doors}", message.title(), message.details())
}

/// One column, large letters, what matters first; styles stand where they are used, for mail programs drop the others.
fn page(message: &Message, charts: &[Chart<'_>]) -> Markup {
    let colour = match (message.is_resolved(), message.severity()) {
        (true, _) => "#2e7d32",
        (false, "warning" | "info") => "#f9a825",
        (false, _) => "#c62828",
    };
    let doors = web_doors(message);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (message.title()) }
            }
            body style="margin:0;padding:16px;font:16px/1.45 system-ui,sans-serif" {
                div style="max-width:600px;margin:0 auto" {
                    h1 style=(format!("font-size:20px;line-height:1.3;margin:0 0 12px;padding:4px 0 4px 12px;border-left:6px solid {colour}")) {
                        (message.title())
                    }
                    @for sentence in message.prologue() {
                        p { (sentence) }
                    }
                    @for alert in &message.alerts {
                        (one(alert, message.alerts.len() > 1, charts))
                    }
                    @if message.left_out > 0 {
                        p { "And " (message.left_out) " more." }
                    }
                    p style="margin:20px 0" {
                        @for (words, url) in &doors { (button(url, words)) }
                    }
                }
            }
        }
    }
}

/// Addresses that lead somewhere.
fn web_doors(message: &Message) -> Vec<(&'static str, String)> {
    let mut doors = message.doors();
    doors.retain(|(_, url)| url.starts_with("http://") || url.starts_with("https://"));
    doors
}

fn button(link: &str, words: &str) -> Markup {
    html! {
        a href=(link) style="display:inline-block;padding:12px 18px;margin:0 8px 8px 0;background:#1d4ed8;color:#ffffff;text-decoration:none;border-radius:6px" {
            (words)
        }
    }
}

fn one(alert: &Notification, of_several: bool, charts: &[Chart<'_>]) -> Markup {
    let facts = facts(alert);
    let words = alert.trend.as_ref().and_then(chart::words);
    let chart = charts.iter().find(|chart| std::ptr::eq(chart.alert, alert));
    html! {
        div style="margin:0 0 16px" {
            @if of_several {
                p style="margin:0 0 4px;font-weight:bold" {
                    @if alert.is_resolved() { "Over: " }
                    (summary(alert))
                }
            }
            @if let Some(ends_ms) = alert.ends_ms {
                p style="margin:0" { "It ended at " (utc_short(ends_ms)) "." }
            } @else {
                @for fact in &facts {
                    p style="margin:0 0 4px" { (fact) }
                }
                @if let Some(words) = &words {
                    @if let Some(chart) = chart {
                        img src=(format!("cid:{}", chart.content_id)) alt=(words) width=(chart::WIDTH / 2) height=(chart::HEIGHT / 2)
                            style="display:block;max-width:100%;height:auto;margin:8px 0;border-radius:6px";
                    } @else {
                        p style="margin:0 0 4px" { (words) }
                    }
                }
                p style="margin:0 0 4px" { "Firing since " (utc_short(alert.starts_ms)) "." }
                @if let Some(action) = action(alert) {
                    p style="margin:8px 0 0;padding:10px 12px;border:1px solid #9aa0a6;border-radius:6px" {
                        b { "What to do: " } (action)
                    }
                }
            }
        }
    }
}
