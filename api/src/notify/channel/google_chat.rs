//! Google Chat: <https://developers.google.com/workspace/chat/quickstart/webhooks>. 200; 429 beyond one message a second in a
//! space. A message holds 32,000 bytes; its text is cut well below that.

use serde_json::{Value, json};

use crate::notify::message::{Message, cut};

const TEXT_MAX: usize = 4000;

pub(super) fn body(message: &Message) -> Value {
    let text = format!("*{}*\n{}", message.title(), message.details());
    let link = message.door_line(|words, url| format!("<{url}|{words}>"));
    let link = format!("\n{link}");
    let room = TEXT_MAX.saturating_sub(link.encode_utf16().count());
    let mut body = json!({ "text": cut(text.trim_end(), room) + &link });
    if let Some(url) = &message.chart_url {
        let image = json!({ "image": { "imageUrl": url, "altText": message.chart_words() } });
        body["cardsV2"] = json!([{ "cardId": "chart", "card": { "sections": [{ "widgets": [image] }] } }]);
    }
    body
}
