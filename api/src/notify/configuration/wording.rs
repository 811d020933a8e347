//! The keys with which receivers shape their texts.

use std::sync::Arc;

use serde_yaml_ng::Value;

use super::fields::Fields;
use crate::notify::wording::{Draft, Shape, Wording};
use crate::template::{Form, Templates};

/// A key with what may stand under it.
pub(super) type Key = (&'static str, Shape);

const FIELDS: Shape = Shape::List(&[("title", Shape::Text), ("value", Shape::Text), ("short", Shape::Flag)]);

pub(super) const SLACK: &[Key] = &[
    (
        "actions",
        Shape::List(&[
            ("type", Shape::Text),
            ("text", Shape::Text),
            ("url", Shape::Text),
            ("style", Shape::Text),
            ("name", Shape::Text),
            ("value", Shape::Text),
            (
                "confirm",
                Shape::Keys(&[
                    ("title", Shape::Text),
                    ("text", Shape::Text),
                    ("ok_text", Shape::Text),
                    ("dismiss_text", Shape::Text),
                ]),
            ),
        ]),
    ),
    ("callback_id", Shape::Text),
    ("color", Shape::Text),
    ("fallback", Shape::Text),
    ("fields", FIELDS),
    ("footer", Shape::Text),
    ("icon_emoji", Shape::Text),
    ("icon_url", Shape::Text),
    ("image_url", Shape::Text),
    ("link_names", Shape::Flag),
    ("message_text", Shape::Text),
    ("mrkdwn_in", Shape::Texts),
    ("pretext", Shape::Text),
    ("short_fields", Shape::Flag),
    ("text", Shape::Text),
    ("thumb_url", Shape::Text),
    ("title", Shape::Text),
    ("title_link", Shape::Text),
    ("username", Shape::Text),
];

pub(super) const MATTERMOST: &[Key] = &[
    (
        "attachments",
        Shape::List(&[
            ("author_icon", Shape::Text),
            ("author_link", Shape::Text),
            ("author_name", Shape::Text),
            ("color", Shape::Text),
            ("fallback", Shape::Text),
            ("fields", FIELDS),
            ("footer", Shape::Text),
            ("footer_icon", Shape::Text),
            ("image_url", Shape::Text),
            ("pretext", Shape::Text),
            ("text", Shape::Text),
            ("thumb_url", Shape::Text),
            ("title", Shape::Text),
            ("title_link", Shape::Text),
        ]),
    ),
    ("icon_emoji", Shape::Text),
    ("icon_url", Shape::Text),
    (
        "priority",
        Shape::Keys(&[
            ("persistent_notifications", Shape::Flag),
            ("priority", Shape::Text),
            ("requested_ack", Shape::Flag),
        ]),
    ),
    ("props", Shape::Keys(&[("card", Shape::Text)])),
    ("text", Shape::Text),
    ("username", Shape::Text),
];

pub(super) const DISCORD: &[Key] = &[
    ("avatar_url", Shape::Text),
    ("content", Shape::Text),
    ("message", Shape::Text),
    ("title", Shape::Text),
    ("username", Shape::Text),
];

pub(super) const TEAMS: &[Key] = &[("summary", Shape::Text), ("text", Shape::Text), ("title", Shape::Text)];

pub(super) const PAGERDUTY: &[Key] = &[
    ("class", Shape::Text),
    ("client", Shape::Text),
    ("client_url", Shape::Text),
    ("component", Shape::Text),
    ("description", Shape::Text),
    ("details", Shape::Any),
    ("group", Shape::Text),
    (
        "images",
        Shape::List(&[("src", Shape::Text), ("alt", Shape::Text), ("href", Shape::Text)]),
    ),
    ("links", Shape::List(&[("href", Shape::Text), ("text", Shape::Text)])),
    ("severity", Shape::Text),
    ("source", Shape::Text),
];

/// Takes the keys that `keys` names; none where none of them is there.
pub(super) fn read(fields: &mut Fields, keys: &[Key], templates: &Arc<Templates>) -> Result<Option<Wording>, String> {
    drafts(fields, keys, templates).map(Wording::new)
}

/// The same, before they are all.
pub(super) fn drafts(
    fields: &mut Fields,
    keys: &[Key],
    templates: &Arc<Templates>,
) -> Result<Vec<(&'static str, Draft)>, String> {
    let mut drafts = Vec::new();
    for (key, shape) in keys {
        let place = fields.place(key);
        if let Some(value) = fields.take(key) {
            drafts.push((*key, draft(value, *shape, &place, templates)?));
        }
    }
    Ok(drafts)
}

/// One value, with everything in it that is a template parsed.
pub(super) fn draft(value: Value, shape: Shape, place: &str, templates: &Arc<Templates>) -> Result<Draft, String> {
    let within = |value: Value, keys: &'static [Key], place: &str| -> Result<Draft, String> {
        let mut fields = Fields::of(value, place)?;
        let mut drafts = Vec::new();
        for (key, shape) in keys {
            let place = fields.place(key);
            if let Some(value) = fields.take(key) {
                drafts.push(((*key).to_owned(), draft(value, *shape, &place, templates)?));
            }
        }
        // Nothing in there is known and left out.
        fields.finish(&[], &mut Vec::new())?;
        Ok(Draft::Keys(drafts))
    };
    let list = |value: Value| match value {
        Value::Sequence(values) => Ok(values),
        _ => Err(format!("{place} must be a list")),
    };
    let each = |values: Vec<Value>, one: &dyn Fn(Value, &str) -> Result<Draft, String>| {
        let drafts = values.into_iter().enumerate();
        let drafts = drafts.map(|(at, value)| one(value, &format!("{place}[{at}]")));
        drafts.collect::<Result<_, _>>().map(Draft::List)
    };
    match (shape, value) {
        (Shape::Flag, Value::Bool(flag)) => Ok(Draft::Plain(flag.into())),
        (Shape::Flag, _) => Err(format!("{place} must be true or false")),
        (Shape::Texts, value) => each(list(value)?, &|value, place| {
            draft(value, Shape::Text, place, templates)
        }),
        (Shape::List(keys), value) => each(list(value)?, &|value, place| within(value, keys, place)),
        (Shape::Keys(keys), value) => within(value, keys, place),
        (Shape::Any, Value::Sequence(values)) => {
            each(values, &|value, place| draft(value, Shape::Any, place, templates))
        }
        (Shape::Any, Value::Mapping(values)) => {
            let entry = |(key, value): (Value, Value)| {
                let key = super::fields::text_of(key, place)?;
                let place = format!("{place}.{key}");
                Ok((key, draft(value, Shape::Any, &place, templates)?))
            };
            values
                .into_iter()
                .map(entry)
                .collect::<Result<_, String>>()
                .map(Draft::Keys)
        }
        (Shape::Any, Value::Null) => Ok(Draft::Plain(serde_json::Value::Null)),
        (Shape::Text | Shape::Any, value) => text(value, Form::Text, place, templates),
    }
}

/// One text.
pub(super) fn text(value: Value, form: Form, place: &str, templates: &Arc<Templates>) -> Result<Draft, String> {
    let source = super::fields::text_of(value, place)?;
    let template = templates
        .template(place, &source)
        .map_err(|error| format!("{place}, line {}: {error}", error.line))?;
    Ok(Draft::Text { source, template, form })
}
