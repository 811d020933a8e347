//! What a receiver's configuration wants its messages to read: Alertmanager's templates, and the texts that call them.
//!
//! ```text
//! templates: files ─┐
//! our bodies for    ├► Templates ─► Wording (a receiver's own texts, by key) ── message, now ──► Words ─► its channel's body
//! default names  ───┘                                                    └─ fails ─► our own message, and a count
//! ```
//!
//! A receiver without a text of its own gets our message. Where one fails, our message goes out instead, and the delivery log
//! says why: a mistake in a template must not cost an alert.

mod data;
mod draft;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use serde_json::{Map, Value};

pub(super) use draft::{Draft, Shape};

use super::message::Message;
use crate::template::{Failure, Limits, TemplateError, Templates, Vocabulary};

/// The names that Alertmanager's own templates have, with bodies of ours.
const DEFAULTS: &str = include_str!("defaults.tmpl");

/// What a pager shows of one alert does not need more, and a letter with a thousand alerts fits.
pub(super) const LIMITS: Limits = Limits {
    bytes: 512 << 10,
    steps: 1_000_000,
};

/// The templates that every configuration has.
pub(super) fn default_templates() -> Templates {
    let mut templates = Templates::new(Vocabulary::Messages);
    let added: Result<(), TemplateError> = templates.add("defaults.tmpl", DEFAULTS);
    added.expect("our own bodies are checked by a test");
    templates
}

/// A receiver's own texts, by the keys of its configuration.
#[derive(Debug, Clone)]
pub(super) struct Wording {
    drafts: Arc<[(&'static str, Draft)]>,
}

/// What they say about one message.
#[derive(Debug, Clone)]
pub(super) struct Words {
    said: Map<String, Value>,
    of: Wording,
}

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

impl Wording {
    /// None where no text is given.
    pub(super) fn new(drafts: Vec<(&'static str, Draft)>) -> Option<Self> {
        (!drafts.is_empty()).then(|| Self { drafts: drafts.into() })
    }

    /// What is said about `message`, now.
    ///
    /// # Errors
    /// [`Failure`] where one of the texts cannot be made.
    pub(super) fn say(&self, message: &Message, now_ms: i64) -> Result<Words, Failure> {
        let facts = data::of(message);
        let mut words = Map::new();
        for (key, draft) in self.drafts.iter() {
            words.insert((*key).to_owned(), draft.say(&facts, message, now_ms)?);
        }
        Ok(Words {
            said: words,
            of: self.clone(),
        })
    }
}

impl Words {
    /// The text `key`; none where the receiver has none of its own.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.said.get(key).and_then(Value::as_str)
    }

    /// The same, where it says anything.
    pub(super) fn said(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|text| !text.trim().is_empty())
    }

    /// What is said under `key`, with whatever says nothing left out; null where nothing is left.
    pub(super) fn filled(&self, key: &str) -> Value {
        fn fill(value: &Value) -> Value {
            match value {
                Value::String(text) if text.trim().is_empty() => Value::Null,
                Value::Array(values) => {
                    let filled: Vec<Value> = values.iter().map(fill).filter(|value| !value.is_null()).collect();
                    if filled.is_empty() { Value::Null } else { filled.into() }
                }
                Value::Object(values) => {
                    let filled = values.iter().map(|(key, value)| (key.clone(), fill(value)));
                    let filled: Map<String, Value> = filled.filter(|(_, value)| !value.is_null()).collect();
                    if filled.is_empty() { Value::Null } else { filled.into() }
                }
                other => other.clone(),
            }
        }
        self.said.get(key).map_or(Value::Null, fill)
    }

    /// Whether the text `key` holds `part` as it is written in the configuration, rather than by what an alert says.
    pub(super) fn is_written(&self, key: &str, part: &str) -> bool {
        let mut drafts = self.of.drafts.iter();
        drafts.any(|(known, draft)| *known == key && draft.mentions(part))
    }

    /// Whether one of these keys is there.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.said.contains_key(*key))
    }

    /// Whatever stands under `key`.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.said.get(key)
    }

    /// True where not one text says anything.
    pub(super) fn is_empty(&self) -> bool {
        fn says(value: &Value) -> bool {
            match value {
                Value::String(text) => !text.trim().is_empty(),
                Value::Array(values) => values.iter().any(says),
                Value::Object(values) => values.values().any(says),
                Value::Bool(flag) => *flag,
                _ => false,
            }
        }
        !self.said.values().any(says)
    }

    /// Every text with the place where it stands: `title`, `fields[0].value`.
    pub(super) fn listed(&self) -> Vec<(String, String)> {
        fn list(place: String, value: &Value, found: &mut Vec<(String, String)>) {
            match value {
                Value::Array(values) => {
                    for (at, value) in values.iter().enumerate() {
                        list(format!("{place}[{at}]"), value, found);
                    }
                }
                Value::Object(values) => {
                    for (key, value) in values {
                        list(format!("{place}.{key}"), value, found);
                    }
                }
                Value::String(text) => found.push((place, text.clone())),
                Value::Null => {}
                other => found.push((place, other.to_string())),
            }
        }
        let mut found = Vec::new();
        for (key, value) in &self.said {
            list(key.clone(), value, &mut found);
        }
        found
    }
}

/// Counts a message that did not go out in its receiver's own words.
pub(super) fn count_failure(receiver: &str, reason: &'static str) {
    static FAILURES: OnceLock<Counter<u64>> = OnceLock::new();
    let failures = FAILURES.get_or_init(|| {
        opentelemetry::global::meter("foreshock_api")
            .u64_counter("foreshock_api_notification_template_failures")
            .with_description(
                "Messages that went out in Foreshock's words because their receiver's own failed, or were refused",
            )
            .build()
    });
    failures.add(
        1,
        &[
            KeyValue::new("receiver", receiver.to_owned()),
            KeyValue::new("reason", reason),
        ],
    );
}
