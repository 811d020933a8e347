//! What is sent to each platform, beside the form that the platform publishes, and what its answers mean.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::notify::notification::{Notification, Outlook, Signal};
use crate::notify::receiver::Receiver;
use crate::notify::send::Verdict;
use crate::rule::Trend;

mod own_words;

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

fn alert(host: &str, summary: &str) -> Notification {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let labels = pairs(&[
        ("alertname", "FailureLikely"),
        ("host", host),
        ("horizon", "1h"),
        ("severity", "warning"),
    ]);
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: pairs(&[("summary", summary), ("action", "Drain it & look <here>.")]),
        starts_ms: NOW - 60_000,
        ends_ms: None,
        value: Some(0.71),
        generator_url: format!("http://foreshock.example/hosts/{host}"),
        outlook: Some(Outlook {
            probability: Some(0.71),
            horizon: Some("1h".to_owned()),
            signals: vec![Signal {
                name: "memory".to_owned(),
                value: Some(0.91),
                unit: "1".to_owned(),
                usual: Some(0.47),
                text: "memory 91 %, usually 47 %".to_owned(),
                since_ms: NOW - 600_000,
            }],
            since_ms: Some(NOW - 600_000),
            ..Outlook::default()
        }),
        expires_ms: None,
        updated_ms: NOW,
        since_ms: None,
        trend: None,
    }
}

fn message(alerts: Vec<Notification>) -> Message {
    Message {
        receiver: "team".to_owned(),
        group_key: "{}:{alertname=\"FailureLikely\"}".to_owned(),
        group_labels: BTreeMap::from([("alertname".to_owned(), "FailureLikely".to_owned())]),
        external_url: "http://foreshock.example".to_owned(),
        alerts,
        left_out: 0,
        reason: "first_notification".to_owned(),
        instead_of: None,
        note: None,
        about: None,
        answer: None,
        chart_url: None,
    }
}

fn one() -> Message {
    message(vec![alert("db-1", "db-1: 71% likely to fail within 1h")])
}

fn over() -> Message {
    let mut message = one();
    message.alerts[0].ends_ms = Some(NOW);
    message
}

/// As long as nothing is.
fn long() -> Message {
    let mut message = message(
        (0..50)
            .map(|i| alert(&format!("höst-{i}"), &"läng ".repeat(300)))
            .collect(),
    );
    message.left_out = 7;
    message
}

fn hook() -> Hook {
    Hook::at("https://chat.example/hook/s3cret?key=k").unwrap()
}

fn post(channel: &Channel, message: &Message, picture: Option<&[u8]>) -> Post {
    match channel.outgoing(message, None, picture, NOW) {
        Outgoing::Post(post) => post,
        Outgoing::Mail(_) => panic!("mail is no request"),
    }
}

fn text(channel: &Channel, message: &Message) -> String {
    match post(channel, message, None).body {
        Body::Json(text) => text,
        Body::Form { .. } => panic!("words alone are JSON"),
    }
}

fn body(channel: &Channel, message: &Message) -> Value {
    serde_json::from_str(&text(channel, message)).unwrap()
}

const DETAILS: &str = "- memory 91 %, usually 47 %\nUnusual since Dec 31, 23:50 UTC.\nFiring since Dec 31, 23:59 UTC.\nWhat to do: Drain it & look <here>.";

fn later(seconds: u64) -> Verdict {
    Verdict::Later(Some(Duration::from_secs(seconds)))
}

/// What an answer with this status, header `Retry-After` and body means.
fn judged(channel: &Channel, status: u16, retry: Option<&str>, body: &str) -> Verdict {
    let mut headers = HeaderMap::new();
    if let Some(retry) = retry {
        headers.insert("retry-after", HeaderValue::from_str(retry).unwrap());
    }
    channel
        .judge(StatusCode::from_u16(status).unwrap(), &headers, body)
        .verdict
}

fn slack(channel: Option<&str>) -> Channel {
    Channel::Slack {
        hook: hook(),
        channel: channel.map(str::to_owned),
    }
}

#[test]
fn slack_gets_blocks_and_a_text_for_the_lock_screen() {
    let escaped = DETAILS.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(
        body(&slack(None), &one()),
        json!({
            "text": "db-1: 71% likely to fail within 1h",
            "attachments": [{ "color": "#f9a825", "blocks": [
                { "type": "header", "text": { "type": "plain_text", "text": "db-1: 71% likely to fail within 1h", "emoji": false } },
                { "type": "section", "text": { "type": "mrkdwn", "text": escaped } },
                { "type": "context", "elements": [
                    { "type": "mrkdwn", "text": "<http://foreshock.example/hosts/db-1|Open in Foreshock>" },
                ] },
            ] }],
        })
    );
    assert_eq!(body(&slack(Some("#ops")), &over())["channel"], "#ops");
    assert_eq!(body(&slack(None), &over())["attachments"][0]["color"], "#2e7d32");
    let long = body(&slack(None), &long());
    let blocks = &long["attachments"][0]["blocks"];
    let length = |text: &Value| text.as_str().unwrap().encode_utf16().count();
    assert!(length(&blocks[0]["text"]["text"]) <= 150 && length(&blocks[1]["text"]["text"]) <= 3000);
}

#[test]
fn every_place_for_people_gets_links_to_answer_by_within_its_bounds() {
    let answer = "https://foreshock.example/answer?t=abc-DEF_123&tenant=team";
    let chats = [
        slack(None),
        Channel::Mattermost {
            hook: hook(),
            channel: None,
        },
        Channel::Discord(hook()),
        Channel::Teams(hook()),
        Channel::GoogleChat(hook()),
        Channel::telegram("1:a", "1").unwrap(),
        Channel::DingTalk {
            hook: hook(),
            secret: None,
        },
        Channel::Feishu {
            hook: hook(),
            secret: None,
        },
        Channel::WeCom(hook()),
        Channel::pagerduty("key"),
        Channel::Webhook(hook()),
    ];
    for channel in chats {
        for mut message in [one(), long()] {
            let without = text(&channel, &message);
            assert!(!without.contains("answer"), "{without}");
            message.answer = Some(answer.to_owned());
            let sent = text(&channel, &message).replace("&amp;", "&");
            let wanted: &[&str] = match channel {
                Channel::Webhook(_) => &[""],
                _ => &["#acknowledge", "#silence", "#verdict"],
            };
            for place in wanted {
                assert!(
                    sent.contains(&format!("{answer}{place}")),
                    "{} {place}: {sent}",
                    channel.kind()
                );
            }
            let most = match channel {
                Channel::Webhook(_) | Channel::PagerDuty { .. } => 512_000,
                Channel::WeCom(_) => 4_300,
                _ => 28_000,
            };
            assert!(sent.len() < most, "{}: {} bytes", channel.kind(), sent.len());
        }
    }
}

#[test]
fn slack_says_no_with_200_as_well() {
    let slack = slack(None);
    assert_eq!(judged(&slack, 200, None, "ok"), Verdict::Delivered);
    assert_eq!(
        judged(&slack, 200, None, r#"{"ok":true,"ts":"1.2"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(&slack, 200, None, r#"{"ok":false,"error":"not_in_channel"}"#),
        Verdict::Refused
    );
    assert_eq!(
        judged(&slack, 200, Some("30"), r#"{"ok":false,"error":"ratelimited"}"#),
        later(30)
    );
    assert_eq!(judged(&slack, 429, Some("7"), ""), later(7));
    assert_eq!(judged(&slack, 404, None, "no_service"), Verdict::Refused);
}

#[test]
fn mattermost_gets_markdown() {
    let channel = Channel::Mattermost {
        hook: hook(),
        channel: None,
    };
    let text = body(&channel, &one())["text"].as_str().unwrap().to_owned();
    assert!(
        text.starts_with("#### db-1: 71% likely to fail within 1h\n- memory 91 %, usually 47 %  \n"),
        "{text}"
    );
    assert!(
        text.ends_with("[Open in Foreshock](http://foreshock.example/hosts/db-1)"),
        "{text}"
    );
    assert!(body(&channel, &long())["text"].as_str().unwrap().encode_utf16().count() <= 16_383);
}

#[test]
fn discord_gets_an_embed_and_calls_nobody() {
    let channel = Channel::Discord(hook());
    assert_eq!(
        body(&channel, &one()),
        json!({
            "content": "",
            "embeds": [{
                "title": "db-1: 71% likely to fail within 1h",
                "description": DETAILS,
                "color": 0xf9_a825,
                "url": "http://foreshock.example/hosts/db-1",
            }],
            "allowed_mentions": { "parse": [] },
        })
    );
    let long = body(&channel, &long());
    let length = |name: &str| long["embeds"][0][name].as_str().unwrap().encode_utf16().count();
    assert!(length("title") <= 256 && length("description") <= 4096);
    assert_eq!(judged(&channel, 204, None, ""), Verdict::Delivered);
    let limited = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#;
    assert_eq!(judged(&channel, 429, Some("65"), limited), later(65));
    assert_eq!(
        judged(&channel, 429, None, limited),
        Verdict::Later(Some(Duration::from_secs_f64(64.57)))
    );
}

#[test]
fn teams_gets_an_adaptive_card_of_less_than_28_kilobytes() {
    let channel = Channel::Teams(hook());
    let sent = body(&channel, &one());
    assert_eq!(sent["type"], "message");
    let attachment = &sent["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    assert!(attachment["contentUrl"].is_null());
    let card = &attachment["content"];
    assert_eq!(
        (&card["type"], &card["version"]),
        (&"AdaptiveCard".into(), &"1.4".into())
    );
    assert_eq!(card["body"][0]["text"], "db-1: 71% likely to fail within 1h");
    assert_eq!(card["body"][0]["color"], "warning");
    assert_eq!(card["actions"][0]["url"], "http://foreshock.example/hosts/db-1");
    assert!(text(&channel, &long()).len() < 28_000);
    assert_eq!(judged(&channel, 202, None, ""), Verdict::Delivered);
    assert_eq!(judged(&channel, 200, None, "1"), Verdict::Delivered);
    let failed = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429";
    assert_eq!(judged(&channel, 200, None, failed), Verdict::Later(None));
    let failed = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 400";
    assert_eq!(judged(&channel, 200, None, failed), Verdict::Refused);
}

#[test]
fn google_chat_gets_a_text() {
    let channel = Channel::GoogleChat(hook());
    assert_eq!(
        body(&channel, &one()),
        json!({ "text": format!(
            "*db-1: 71% likely to fail within 1h*\n{DETAILS}\n<http://foreshock.example/hosts/db-1|Open in Foreshock>"
        ) })
    );
    assert!(body(&channel, &long())["text"].as_str().unwrap().encode_utf16().count() <= 4096);
    assert_eq!(judged(&channel, 429, None, ""), Verdict::Later(None));
}

#[test]
fn telegram_gets_html_within_its_length() {
    let channel = Channel::Telegram {
        hook: hook(),
        chat: (-1001).into(),
        thread: Some(7),
        silently: false,
    };
    let sent = body(&channel, &one());
    assert_eq!(
        (&sent["chat_id"], &sent["message_thread_id"]),
        (&(-1001).into(), &7.into())
    );
    assert_eq!(sent["parse_mode"], "HTML");
    let text = sent["text"].as_str().unwrap();
    assert!(
        text.starts_with("<b>db-1: 71% likely to fail within 1h</b>\n"),
        "{text}"
    );
    assert!(text.contains("Drain it &amp; look &lt;here&gt;."), "{text}");
    let sent = body(&channel, &long());
    // Telegram counts what is shown, not how it is written.
    let written = [("<b>", ""), ("</b>", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    let text = sent["text"].as_str().unwrap().to_owned();
    let shown = written.iter().fold(text, |text, (from, to)| text.replace(from, to));
    assert!(shown.encode_utf16().count() <= 4096);
    assert_eq!(
        judged(&channel, 200, None, r#"{"ok":true,"result":{}}"#),
        Verdict::Delivered
    );
    let limited = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 35","parameters":{"retry_after":35}}"#;
    assert_eq!(judged(&channel, 429, None, limited), later(35));
    let moved = r#"{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-100200}}"#;
    let moved = channel.judge(StatusCode::BAD_REQUEST, &HeaderMap::new(), moved);
    assert!(moved.advice.contains("new chat id"), "{moved:?}");
    assert_eq!(judged(&channel, 200, None, "<html>"), Verdict::Refused);
}

#[test]
fn dingtalk_signs_in_its_address_with_milliseconds() {
    let channel = Channel::DingTalk {
        hook: Hook::at("https://oapi.dingtalk.example/robot/send?access_token=t").unwrap(),
        secret: Some(Secret::new("SECabc")),
    };
    let sent = post(&channel, &one(), None);
    // echo -en "1767225600000\nSECabc" | openssl dgst -sha256 -hmac SECabc -binary | base64
    assert_eq!(
        sent.url.reveal(),
        "https://oapi.dingtalk.example/robot/send?access_token=t&timestamp=1767225600000&sign=Tns%2Bq9xy3ZrHUPnf0YouCf2mHINUhrfNLY8ohhAIgfw%3D"
    );
    let markdown = body(&channel, &one());
    assert_eq!(markdown["msgtype"], "markdown");
    assert_eq!(markdown["markdown"]["title"], "db-1: 71% likely to fail within 1h");
    assert!(text(&channel, &long()).len() < 20_000);
    assert_eq!(
        judged(&channel, 200, None, r#"{"errcode":0,"errmsg":"ok"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(&channel, 200, None, r#"{"errcode":310000,"errmsg":"sign not match"}"#),
        Verdict::Refused
    );
    assert_eq!(
        judged(&channel, 200, None, r#"{"errcode":130101,"errmsg":"send too fast"}"#),
        later(600)
    );
    assert_eq!(judged(&channel, 200, None, r#"{"errcode":300001}"#), Verdict::Refused);
    assert_eq!(judged(&channel, 200, None, "<html>log in</html>"), Verdict::Refused);
}

#[test]
fn feishu_signs_in_its_body_with_seconds_and_the_key_where_dingtalk_has_the_text() {
    let channel = Channel::Feishu {
        hook: hook(),
        secret: Some(Secret::new("SECabc")),
    };
    let sent = body(&channel, &one());
    // printf '' | openssl dgst -sha256 -hmac "$(printf '1767225600\nSECabc')" -binary | base64
    assert_eq!(
        (&sent["timestamp"], &sent["sign"]),
        (
            &"1767225600".into(),
            &"DfQ7sDVtGPJRmOykps/Fdfx+xLohWpgM7406vt7k4oI=".into()
        )
    );
    assert_eq!(sent["msg_type"], "interactive");
    let card = &sent["card"];
    assert_eq!(card["header"]["title"]["content"], "db-1: 71% likely to fail within 1h");
    assert_eq!(card["header"]["template"], "orange");
    assert_eq!(card["elements"][0], json!({ "tag": "markdown", "content": DETAILS }));
    assert!(text(&channel, &long()).len() < 20_000);
    let plain = Channel::Feishu {
        hook: hook(),
        secret: None,
    };
    assert!(body(&plain, &over())["sign"].is_null());
    assert_eq!(
        judged(&channel, 200, None, r#"{"code":0,"data":{},"msg":"success"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(&channel, 200, None, r#"{"StatusCode":0,"StatusMessage":"success"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(&channel, 200, None, r#"{"code":11232,"msg":"frequency limited"}"#),
        later(60)
    );
    for code in [19_021, 19_022, 19_024, 9499] {
        assert_eq!(
            judged(&channel, 200, None, &format!(r#"{{"code":{code}}}"#)),
            Verdict::Refused
        );
    }
    assert_eq!(
        judged(&channel, 400, None, r#"{"code":11232,"msg":"frequency limited"}"#),
        later(60)
    );
}

#[test]
fn wecom_gets_markdown_within_its_bytes() {
    let channel = Channel::WeCom(hook());
    assert_eq!(
        body(&channel, &one()),
        json!({ "msgtype": "markdown", "markdown": { "content": format!(
            "**db-1: 71% likely to fail within 1h**\n{DETAILS}\n[Open in Foreshock](http://foreshock.example/hosts/db-1)"
        ) } })
    );
    assert!(body(&channel, &long())["markdown"]["content"].as_str().unwrap().len() <= 4096);
    assert_eq!(
        judged(&channel, 200, None, r#"{"errcode":0,"errmsg":"ok"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(
            &channel,
            200,
            None,
            r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#
        ),
        later(60)
    );
    assert_eq!(
        judged(
            &channel,
            200,
            None,
            r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#
        ),
        Verdict::Refused
    );
    assert_eq!(judged(&channel, 200, None, r#"{"errcode":-1}"#), Verdict::Later(None));
}

#[test]
fn pagerduty_gets_an_event_of_version_2_and_the_same_key_for_its_end() {
    let channel = Channel::PagerDuty {
        hook: hook(),
        routing_key: Secret::new("R0UT1NG"),
    };
    let trigger = body(&channel, &one());
    assert_eq!(
        (&trigger["routing_key"], &trigger["event_action"]),
        (&"R0UT1NG".into(), &"trigger".into())
    );
    let payload = &trigger["payload"];
    assert_eq!(payload["summary"], "db-1: 71% likely to fail within 1h");
    assert_eq!(
        (&payload["source"], &payload["severity"]),
        (&"db-1".into(), &"warning".into())
    );
    assert_eq!(payload["timestamp"], "2025-12-31T23:59:00Z");
    assert_eq!(payload["class"], "FailureLikely");
    let resolve = body(&channel, &over());
    assert_eq!(
        (&resolve["event_action"], &resolve["dedup_key"]),
        (&"resolve".into(), &trigger["dedup_key"])
    );
    assert!(trigger["dedup_key"].as_str().unwrap().len() <= 255);
    let sent = text(&channel, &long());
    let summary = serde_json::from_str::<Value>(&sent).unwrap()["payload"]["summary"].clone();
    assert!(summary.as_str().unwrap().chars().count() <= 1024 && sent.len() < 512_000);
    assert_eq!(
        judged(&channel, 202, None, r#"{"status":"success"}"#),
        Verdict::Delivered
    );
    assert_eq!(
        judged(&channel, 400, None, r#"{"status":"invalid event"}"#),
        Verdict::Refused
    );
    assert_eq!(judged(&channel, 429, None, ""), Verdict::Later(None));
}

#[test]
fn an_upstream_alertmanager_gets_alerts_that_last_until_they_are_said_again() {
    let channel = Channel::Alertmanager(hook());
    let sent = body(&channel, &one());
    assert_eq!(sent[0]["labels"]["host"], "db-1");
    assert_eq!(sent[0]["startsAt"], "2025-12-31T23:59:00Z");
    assert_eq!(sent[0]["endsAt"], "2026-01-01T00:20:00Z");
    assert_eq!(sent[0]["generatorURL"], "http://foreshock.example/hosts/db-1");
    assert_eq!(body(&channel, &over())[0]["endsAt"], "2026-01-01T00:00:00Z");
    assert!(channel.repeat_ms().unwrap() * 4 <= 20 * 60_000);
}

#[test]
fn no_channel_shows_its_secrets() {
    let secret = || Secret::new("R0UT1NG");
    let all = [
        Channel::Webhook(hook()),
        slack(None),
        Channel::DingTalk {
            hook: hook(),
            secret: Some(secret()),
        },
        Channel::PagerDuty {
            hook: hook(),
            routing_key: secret(),
        },
    ];
    for channel in all {
        let receiver = Receiver::new("r", channel.clone()).unwrap();
        let shown = format!(
            "{receiver:?} {} {:?}",
            receiver.place(),
            post(&channel, &one(), None).url
        );
        assert!(!shown.contains("s3cret") && !shown.contains("R0UT1NG"), "{shown}");
        assert_eq!(receiver.place(), "https://chat.example");
    }
}

/// One that fires, with the hours before it.
fn with_trend() -> Message {
    let mut message = one();
    message.alerts[0].trend = Some(Trend {
        start_ms: NOW - 900_000,
        step_ms: 450_000,
        values: vec![Some(0.1), Some(0.2), Some(0.71)],
        threshold: None,
        unit: "1".to_owned(),
    });
    message
}

const BARS: &str = "15\u{a0}min before: ▁▂█ (lowest 10\u{a0}%, highest 71\u{a0}%, last 71\u{a0}%)";

#[test]
fn the_hours_before_stand_in_every_text_and_as_a_picture_where_one_can_be_sent() {
    let png = b"\x89PNG and more";
    let discord = Channel::Discord(hook());
    let text = |channel: &Channel| text(channel, &with_trend()).replace("\\u00a0", "\u{a0}");
    for channel in [&discord, &slack(None), &Channel::Teams(hook()), &Channel::WeCom(hook())] {
        assert!(text(channel).contains(BARS), "{}", text(channel));
    }
    let Body::Form { boundary, bytes } = post(&discord, &with_trend(), Some(png)).body else {
        panic!("a form was expected")
    };
    let sent = String::from_utf8_lossy(&bytes).into_owned();
    let parts: Vec<&str> = sent.split(&format!("--{boundary}")).collect();
    let [nothing, words, picture, end] = parts.as_slice() else {
        panic!("{sent}")
    };
    assert_eq!((*nothing, *end), ("", "--\r\n"));
    let (head, words) = words.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head,
        "\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json"
    );
    let words: Value = serde_json::from_str(words).unwrap();
    let mut plain = body(&discord, &with_trend());
    plain["embeds"][0]["image"] = json!({ "url": "attachment://chart.png" });
    plain["attachments"] = json!([{ "id": 0, "filename": "chart.png", "description": BARS }]);
    assert_eq!(words, plain);
    assert_eq!(
        *picture,
        "\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"chart.png\"\r\nContent-Type: image/png\r\n\r\n\
         \u{fffd}PNG and more\r\n"
    );
}

#[test]
fn telegram_shows_a_picture_above_what_fits_below_it() {
    let channel = Channel::telegram("1:a", "@ops").unwrap();
    let sent = post(&channel, &with_trend(), Some(b"png"));
    assert_eq!(sent.url.reveal(), "https://api.telegram.org/bot1:a/sendPhoto");
    let Body::Form { bytes, .. } = sent.body else {
        panic!("a form was expected")
    };
    let sent = String::from_utf8(bytes).unwrap();
    let field = |name: &str| {
        let (_, rest) = sent.split_once(&format!("name=\"{name}\"")).unwrap_or_default();
        let (_, rest) = rest.split_once("\r\n\r\n").unwrap_or_default();
        rest.split("\r\n--foreshock-").next().unwrap_or_default().to_owned()
    };
    let plain = body(&channel, &with_trend());
    assert_eq!(field("caption"), plain["text"].as_str().unwrap());
    assert_eq!(
        (field("chat_id"), field("parse_mode"), field("photo")),
        ("@ops".to_owned(), "HTML".to_owned(), "png".to_owned())
    );
    // A caption holds less than a message does.
    let mut long = with_trend();
    long.alerts[0]
        .annotations
        .insert("action".to_owned(), "do it ".repeat(200));
    let sent = post(&channel, &long, Some(b"png"));
    assert!(sent.url.reveal().ends_with("/sendMessage") && matches!(sent.body, Body::Json(_)));
}

#[test]
fn platforms_that_fetch_pictures_are_told_where_the_chart_is() {
    let url = "https://foreshock.example/chart.png?t=abc";
    let mut message = with_trend();
    message.chart_url = Some(url.to_owned());
    let mattermost = Channel::Mattermost {
        hook: hook(),
        channel: None,
    };
    for (channel, place, expected) in [
        (
            slack(None),
            "/attachments/1",
            json!({ "fallback": BARS, "image_url": url }),
        ),
        (
            mattermost,
            "/attachments/0",
            json!({ "fallback": BARS, "image_url": url }),
        ),
        (
            Channel::Teams(hook()),
            "/attachments/0/content/body/2",
            json!({ "type": "Image", "url": url, "altText": BARS, "size": "stretch" }),
        ),
        (
            Channel::GoogleChat(hook()),
            "/cardsV2/0/card/sections/0/widgets/0",
            json!({ "image": { "imageUrl": url, "altText": BARS } }),
        ),
        (
            Channel::pagerduty("key"),
            "/images/0",
            json!({ "src": url, "href": "http://foreshock.example/hosts/db-1", "alt": BARS }),
        ),
    ] {
        assert!(channel.fetches_pictures());
        let sent = body(&channel, &message);
        assert_eq!(sent.pointer(place), Some(&expected), "{}: {sent}", channel.kind());
        assert_eq!(body(&channel, &with_trend()).pointer(place), None);
    }
}
