//! A text as it is configured, or several in a list or under keys of their own.

use serde_json::{Map, Value as Json};

use super::LIMITS;
use crate::notify::message::Message;
use crate::template::{Failure, Form, Start, Template, Value};

/// What may stand under a key of a receiver's configuration.
#[derive(Debug, Clone, Copy)]
pub(in crate::notify) enum Shape {
    Text,
    Flag,
    /// A list of texts.
    Texts,
    /// A list of things with such keys.
    List(&'static [(&'static str, Shape)]),
    /// One thing with such keys.
    Keys(&'static [(&'static str, Shape)]),
    /// Texts under any keys, in any depth.
    Any,
}

/// A text that is still to be made for a message.
#[derive(Debug, Clone)]
pub(in crate::notify) enum Draft {
    Text {
        source: String,
        template: Template,
        form: Form,
    },
    /// What is no template: a flag or a number.
    Plain(Json),
    List(Vec<Draft>),
    Keys(Vec<(String, Draft)>),
}

impl Draft {
    pub(super) fn say(&self, facts: &Value, message: &Message, now_ms: i64) -> Result<Json, Failure> {
        Ok(match self {
            Self::Text { template, form, .. } => {
                let start = Start {
                    dot: facts.clone(),
                    variables: Vec::new(),
                    external_url: &message.external_url,
                    now_ms,
                };
                Json::String(template.run(start, *form, LIMITS)?)
            }
            Self::Plain(value) => value.clone(),
            Self::List(drafts) => {
                let said = drafts.iter().map(|draft| draft.say(facts, message, now_ms));
                Json::Array(said.collect::<Result<_, _>>()?)
            }
            Self::Keys(drafts) => {
                let said = drafts
                    .iter()
                    .map(|(key, draft)| Ok((key.clone(), draft.say(facts, message, now_ms)?)));
                Json::Object(said.collect::<Result<Map<_, _>, Failure>>()?)
            }
        })
    }

    pub(super) fn mentions(&self, part: &str) -> bool {
        match self {
            Self::Text { source, .. } => source.contains(part),
            Self::Plain(_) => false,
            Self::List(drafts) => drafts.iter().any(|draft| draft.mentions(part)),
            Self::Keys(drafts) => drafts.iter().any(|(_, draft)| draft.mentions(part)),
        }
    }
}
