//! DingTalk, Feishu (Lark) and WeCom: robots of groups. All answer 200 also where they did not take the message; the code in the
//! body is what counts. DingTalk and Feishu sign, in ways that look alike and are not: key and message change places, and one
//! takes milliseconds, the other seconds.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use ring::hmac;
use serde_json::{Value, json};

use crate::notify::message::{Message, cut, cut_bytes, markdown_doors};
use crate::notify::send::{Judgement, Verdict, by_status};
use crate::page::layout::encoded;

/// A robot of DingTalk that got more than 20 messages in a minute takes none for ten.
const DINGTALK_BLOCK: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);

fn signed(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// What is added to the address: `&timestamp=...&sign=...`, the secret being the key.
pub(super) fn dingtalk_query(secret: &str, now_ms: i64) -> String {
    let sign = signed(secret, &format!("{now_ms}\n{secret}"));
    format!("timestamp={now_ms}&sign={}", encoded(&sign))
}

/// Markdown, at most 20,000 bytes.
pub(super) fn dingtalk(message: &Message) -> Value {
    let title = message.title();
    let text = format!(
        "### {title}\n\n{}\n\n{}",
        cut_bytes(&message.details(), 15_000).replace('\n', "  \n"),
        markdown_doors(message)
    );
    json!({ "msgtype": "markdown", "markdown": { "title": cut(&title, 100), "text": text } })
}

/// A card, at most 20 KB; with `secret` it is signed, and holds for an hour.
pub(super) fn feishu(message: &Message, secret: Option<&str>, now_ms: i64) -> Value {
    let template = match (message.is_resolved(), message.severity()) {
        (true, _) => "green",
        (false, "warning" | "info") => "orange",
        (false, _) => "red",
    };
    let button = |(words, url): &(&str, String)| json!({ "tag": "button", "type": "default", "url": url, "text": { "tag": "plain_text", "content": words } });
    let buttons: Vec<Value> = message.doors().iter().map(button).collect();
    let mut body = json!({
        "msg_type": "interactive",
        "card": {
            "config": { "wide_screen_mode": true },
            "header": { "template": template, "title": { "tag": "plain_text", "content": cut(&message.title(), 500) } },
            "elements": [
                { "tag": "markdown", "content": cut_bytes(&message.details(), 14_000) },
                { "tag": "action", "actions": buttons },
            ],
        },
    });
    if let Some(secret) = secret {
        let seconds = now_ms.div_euclid(1000);
        body["timestamp"] = seconds.to_string().into();
        body["sign"] = signed(&format!("{seconds}\n{secret}"), "").into();
    }
    body
}

/// Markdown, at most 4,096 bytes.
pub(super) fn wecom(message: &Message) -> Value {
    let link = format!("\n{}", markdown_doors(message));
    let text = format!("**{}**\n{}", message.title(), message.details());
    let room = 4096_usize.saturating_sub(link.len());
    json!({ "msgtype": "markdown", "markdown": { "content": cut_bytes(text.trim_end(), room) + &link } })
}

pub(super) fn judge_dingtalk(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    by_code(status, headers, body, &["errcode"], |code| match code {
        -1 => Some(Judgement::new(Verdict::Later(None), ", but is busy")),
        130_101 | 410_100 => Some(Judgement::new(
            Verdict::Later(Some(DINGTALK_BLOCK)),
            ", but got too many messages",
        )),
        310_000 => Some(Judgement::new(
            Verdict::Refused,
            ", but its security settings refuse the message: check secret, keyword and addresses of the robot",
        )),
        _ => None,
    })
}

pub(super) fn judge_feishu(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    // Old robots answer in `StatusCode`.
    by_code(status, headers, body, &["code", "StatusCode"], |code| match code {
        11_232 | 99_991_400 => Some(Judgement::new(
            Verdict::Later(Some(MINUTE)),
            ", but got too many messages",
        )),
        19_021 => Some(Judgement::new(
            Verdict::Refused,
            ", but refuses the signature: check the robot's secret and this host's clock",
        )),
        19_022 => Some(Judgement::new(
            Verdict::Refused,
            ", but does not know this server's address",
        )),
        19_024 => Some(Judgement::new(
            Verdict::Refused,
            ", but misses its keyword: Foreshock stands in each message, so make that one",
        )),
        _ => None,
    })
}

pub(super) fn judge_wecom(status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
    by_code(status, headers, body, &["errcode"], |code| match code {
        -1 => Some(Judgement::new(Verdict::Later(None), ", but is busy")),
        45_009 => Some(Judgement::new(
            Verdict::Later(Some(MINUTE)),
            ", but got too many messages",
        )),
        93_000 => Some(Judgement::new(
            Verdict::Refused,
            ", but knows no such robot: check the key",
        )),
        _ => None,
    })
}

/// What the code in the body means: zero is yes, anything that `known` does not know is no.
fn by_code(
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    names: &[&str],
    known: impl Fn(i64) -> Option<Judgement>,
) -> Judgement {
    let judgement = by_status(status, headers);
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let code = names.iter().find_map(|name| answer[*name].as_i64());
    match (judgement.verdict, code) {
        (Verdict::Delivered, Some(0)) => judgement,
        (Verdict::Delivered, Some(code)) => {
            known(code).unwrap_or_else(|| Judgement::new(Verdict::Refused, ", but did not take the message"))
        }
        // Some platforms answer 400 with their code.
        (Verdict::Refused, Some(code)) => known(code).unwrap_or(judgement),
        // An answer without a code did not come from the robot: a proxy, a page to log in.
        (Verdict::Delivered, None) => Judgement::new(Verdict::Refused, ", but not as a robot does: check its address"),
        _ => judgement,
    }
}
