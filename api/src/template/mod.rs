//! Go's template language, in which rules and messages were always written.
//!
//! ```text
//! text ─► lex: pieces ─► parse: a tree in which every function and variable is known ─► run: facts in, text out
//! ```
//!
//! One engine serves the labels and annotations of rules ([`crate::rule`]) and the messages of receivers ([`crate::notify`]);
//! what differs is the [`Vocabulary`]. What is not known here is refused when a text is read, by name and line: one that would
//! first fail in the middle of the night is of no use. What can only fail later says where it did.
//!
//! Invariants: a template reads nothing but its facts and the time that it is given; it ends, within [`Limits`]; and it does not
//! panic, whatever is in it. Values that are put into a [`Form::Page`] cannot begin a tag, a script or an address of one.

mod call;
mod escape;
mod format;
mod function;
mod json;
mod lex;
mod moment;
mod number;
mod page;
mod parse;
mod run;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use run::{Out, Run};
use tree::Node;

pub(crate) use number::humanize;
pub(crate) use value::Value;

/// Whose functions and variables there are, besides Go's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vocabulary {
    /// Prometheus' for labels and annotations.
    Rules,
    /// Alertmanager's for messages.
    Messages,
}

impl Vocabulary {
    /// Variables that are there from the beginning; the one without a name is what a template is about.
    fn variables(self) -> Vec<String> {
        let named: &[&str] = match self {
            Self::Rules => &["", "labels", "value", "externalLabels", "externalURL"],
            Self::Messages => &[""],
        };
        named.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// What a text becomes a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// A page in HTML, in which values are made harmless.
    Page,
}

/// Bounds of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of the text that comes out, and of every value on the way.
    pub(crate) bytes: usize,
    /// Actions, calls, and 64 bytes of text each.
    pub(crate) steps: u64,
}

/// A text that is no template, or one that is beyond what is understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at {place:?}")]
pub struct TemplateError {
    pub(crate) problem: String,
    /// The action in which it happened.
    pub(crate) place: String,
    /// Its line, from one.
    pub(crate) line: u32,
}

/// Why a template gave no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {problem}")]
pub(crate) struct Failure {
    /// The file, or the place in a configuration.
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) problem: String,
}

/// A template with a name, and where it was written.
#[derive(Debug)]
pub(crate) struct Definition {
    file: Arc<str>,
    nodes: Vec<Node>,
}

/// Templates that know each other by name.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    vocabulary: Vocabulary,
    named: BTreeMap<String, Arc<Definition>>,
}

impl Templates {
    pub(crate) fn new(vocabulary: Vocabulary) -> Self {
        Self {
            vocabulary,
            named: BTreeMap::new(),
        }
    }

    /// Adds what a file defines, and the file itself under the last part of its name, as Go has it. What was defined before is
    /// replaced, unless by nothing.
    ///
    /// # Errors
    /// [`TemplateError`] for bad syntax and for functions that are not known.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<(), TemplateError> {
        let base = file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned();
        let own = self.take_in(file, text)?;
        self.define(base, own);
        Ok(())
    }

    fn take_in(&mut self, file: &str, text: &str) -> Result<Definition, TemplateError> {
        let parsed = parse::parse(&lex::pieces(text)?, self.vocabulary)?;
        let file: Arc<str> = file.into();
        let definition = |nodes| Definition {
            file: Arc::clone(&file),
            nodes,
        };
        for (name, nodes) in parsed.defined {
            self.define(name, definition(nodes));
        }
        Ok(definition(parsed.nodes))
    }

    fn define(&mut self, name: String, definition: Definition) {
        if definition.is_empty() && self.named.contains_key(&name) {
            return;
        }
        self.named.insert(name, Arc::new(definition));
    }

    /// A text that may call these; `place` names it in failures.
    ///
    /// # Errors
    /// [`TemplateError`] as for [`Templates::add`], and where it asks for a template that there is not, itself or through others.
    pub(crate) fn template(self: &Arc<Self>, place: &str, text: &str) -> Result<Template, TemplateError> {
        // What it defines itself is its own.
        let mut with_own = Self::clone(self);
        let main = with_own.take_in(place, text)?;
        let templates = if text.contains("define") || text.contains("block") {
            Arc::new(with_own)
        } else {
            Arc::clone(self)
        };
        let template = Template {
            templates,
            main: Arc::new(main),
        };
        match template.missing() {
            None => Ok(template),
            Some((name, of)) => Err(TemplateError {
                problem: format!("there is no template {name:?}, which {of} asks for"),
                place: lex::excerpt(text),
                line: 1,
            }),
        }
    }
}

impl Definition {
    fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| match &node.kind {
            tree::NodeKind::Text(text) => text.trim().is_empty(),
            _ => false,
        })
    }
}

/// A parsed text, with the templates that it may call.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    templates: Arc<Templates>,
    main: Arc<Definition>,
}

/// What a run starts with.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    /// What the template is about.
    pub(crate) dot: Value,
    /// Variables besides.
    pub(crate) variables: Vec<(&'static str, Value)>,
    pub(crate) external_url: &'a str,
    pub(crate) now_ms: i64,
}

impl Template {
    /// The first template that is asked for and not there, and who asks for it.
    fn missing(&self) -> Option<(String, String)> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![("it".to_owned(), &self.main)];
        while let Some((by, definition)) = waiting.pop() {
            let mut names = BTreeSet::new();
            Node::asked_for(&definition.nodes, &mut |name| {
                names.insert(name);
            });
            for name in names {
                let Some(found) = self.templates.named.get(name) else {
                    return Some((name.to_owned(), by));
                };
                if seen.insert(name) {
                    waiting.push((format!("{name:?}"), found));
                }
            }
        }
        None
    }

    /// The text for these facts.
    ///
    /// # Errors
    /// [`Failure`] for what only shows now: a field that is not there, a value of another kind, a limit.
    pub(crate) fn run(&self, start: Start<'_>, form: Form, limits: Limits) -> Result<String, Failure> {
        let now = Timestamp::from_millisecond(start.now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut variables = vec![(String::new(), start.dot.clone())];
        variables.extend(
            start
                .variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        let mut run = Run {
            templates: &self.templates.named,
            around: call::Around {
                vocabulary: self.templates.vocabulary,
                external_url: start.external_url,
                now: now.to_zoned(TimeZone::UTC),
                bytes_max: limits.bytes,
            },
            limits,
            variables,
            dot: start.dot,
            out: Out::of(form),
            steps: 0,
            depth: 0,
            file: Arc::clone(&self.main.file),
        };
        run.nodes(&self.main.nodes)?;
        Ok(run.out.into_text())
    }
}
