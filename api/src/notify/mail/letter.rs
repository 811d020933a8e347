//! A message as a letter: headers (RFC 5322), a text and a page (RFC 2045 to 2047) that read well on a phone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};
use ring::digest;

use super::address::Address;
use super::{Mail, MailError};
use crate::notify::message::{Message, action, cut, facts, summary};
use crate::notify::notification::Notification;
use crate::number::rfc3339;

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

/// Checks headers that were configured.
pub(super) fn check(headers: &[(String, String)]) -> Result<(), MailError> {
    for (at, (name, value)) in headers.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
        let problem = if !is_name || name.len() > 76 {
            "this is no header's name"
        } else if lower.starts_with("content-") || OWN.contains(&lower.as_str()) {
            "it is made for each letter"
        } else if value.chars().any(char::is_control) {
            "its value holds a line break or another control character"
        } else if value.len() > HEADER_MAX {
            "its value is longer than 900 bytes"
        } else if at >= HEADERS_MAX {
            "there are more than 50"
        } else {
            continue;
        };
        return Err(MailError::Header {
            name: name.chars().take(80).collect(),
            problem,
        });
    }
    Ok(())
}

/// The letter that says `message`, with `\r\n` at the end of each line.
pub(super) fn compose(mail: &Mail, message: &Message, key: &str, now_ms: i64) -> String {
    let to: Vec<String> = mail.to.iter().map(mailbox).collect();
    let id = |what: &str| {
        let bytes = digest::digest(&digest::SHA256, what.as_bytes());
        let hex: String = bytes.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("<{hex}@{}>", mail.from.domain)
    };
    // The same for each attempt at the same news, so that mailboxes know a letter that comes twice.
    let message_id = id(&format!("{key}\0{}\0{}", message.receiver, to.join(",")));
    let mut headers = vec![
        ("Date".to_owned(), date(now_ms)),
        ("From".to_owned(), mailbox(&mail.from)),
        ("To".to_owned(), to.join(",\r\n ")),
        ("Message-ID".to_owned(), message_id.clone()),
        // What is said about one group of alerts stands in one thread.
        ("References".to_owned(), id(&message.group_key)),
        ("Auto-Submitted".to_owned(), "auto-generated".to_owned()),
        ("X-Foreshock-Key".to_owned(), encoded(key)),
        ("MIME-Version".to_owned(), "1.0".to_owned()),
    ];
    if !mail
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("subject"))
    {
        let subject = cut(&message.title(), SUBJECT_MAX);
        headers.push(("Subject".to_owned(), encoded(&subject)));
    }
    let own = mail.headers.iter().map(|(name, value)| (name.clone(), encoded(value)));
    headers.extend(own);
    let mut letter: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let plain = part("text/plain", &text(message));
    if mail.html {
        // `=_` never stands in quoted-printable.
        let boundary = format!("=_{}", &message_id[1..33]);
        letter.push_str(&format!(
            "Content-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n"
        ));
        for part in [plain, part("text/html", &page(message).into_string())] {
            letter.push_str(&format!("--{boundary}\r\n{part}\r\n"));
        }
        letter.push_str(&format!("--{boundary}--\r\n"));
    } else {
        letter.push_str(&plain);
    }
    letter
}

fn part(kind: &str, text: &str) -> String {
    format!(
        "Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        quoted_printable(text)
    )
}

fn date(now_ms: i64) -> String {
    let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    now.to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S +0000")
        .to_string()
}

fn text(message: &Message) -> String {
    let door = |(words, url): &(&str, String)| format!("{words}: {url}\n");
    let doors: String = message.doors().iter().map(door).collect();
    format!("{}\n\n{}\n\n{doors}", message.title(), message.details())
}

/// One column, large letters, what matters first; styles stand where they are used, for mail programs drop the others.
fn page(message: &Message) -> Markup {
    let colour = match (message.is_resolved(), message.severity()) {
        (true, _) => "#2e7d32",
        (false, "warning" | "info") => "#f9a825",
        (false, _) => "#c62828",
    };
    let mut doors = message.doors();
    doors.retain(|(_, url)| url.starts_with("http://") || url.starts_with("https://"));
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
                        (one(alert, message.alerts.len() > 1))
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

fn button(link: &str, words: &str) -> Markup {
    html! {
        a href=(link) style="display:inline-block;padding:12px 18px;margin:0 8px 8px 0;background:#1d4ed8;color:#ffffff;text-decoration:none;border-radius:6px" {
            (words)
        }
    }
}

fn one(alert: &Notification, of_several: bool) -> Markup {
    let facts = facts(alert);
    html! {
        div style="margin:0 0 16px" {
            @if of_several {
                p style="margin:0 0 4px;font-weight:bold" {
                    @if alert.is_resolved() { "Over: " }
                    (summary(alert))
                }
            }
            @if let Some(ends_ms) = alert.ends_ms {
                p style="margin:0" { "It ended at " (rfc3339(ends_ms)) "." }
            } @else {
                @for fact in &facts {
                    p style="margin:0 0 4px" { (fact) }
                }
                p style="margin:0 0 4px" { "Firing since " (rfc3339(alert.starts_ms)) "." }
                @if let Some(action) = action(alert) {
                    p style="margin:8px 0 0;padding:10px 12px;border:1px solid #9aa0a6;border-radius:6px" {
                        b { "What to do: " } (action)
                    }
                }
            }
        }
    }
}

fn mailbox(address: &Address) -> String {
    if address.name.is_empty() {
        return address.to_string();
    }
    let name = if address.name.is_ascii() {
        let escaped = address.name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    } else {
        encoded(&address.name)
    };
    format!("{name} <{address}>")
}

/// A header's value: as it is where it is plain ASCII, else in encoded words of at most 75 characters, a line each.
fn encoded(text: &str) -> String {
    /// Bytes of a word: 60 characters of base64 and 12 around them.
    const WORD_MAX: usize = 45;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_ascii() && !text.contains("=?") {
        return text;
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        let is_full = words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD_MAX);
        if is_full {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    use base64::Engine as _;
    let word = |word: &String| format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(word));
    words.iter().map(word).collect::<Vec<_>>().join("\r\n ")
}

/// RFC 2045, section 6.7: lines of at most 76 characters.
fn quoted_printable(text: &str) -> String {
    const LINE_MAX: usize = 76;
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut width = 0;
        for (at, byte) in line.bytes().enumerate() {
            let is_last = at + 1 == line.len();
            let as_it_is = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !is_last);
            let size = if as_it_is { 1 } else { 3 };
            // Room for the mark that the line goes on.
            if width + size > LINE_MAX - 1 {
                out.push_str("=\r\n");
                width = 0;
            }
            if as_it_is {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("={byte:02X}"));
            }
            width += size;
        }
        out.push_str("\r\n");
    }
    out
}
