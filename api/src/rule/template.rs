//! The text of labels and annotations: Go's template language, as far as rule files use it.
//!
//! `{{ $labels.name }}`, `{{ $value }}`, pipelines, literals, parentheses, `if`/`else`/`with`, variables, comments and the
//! functions of Prometheus that need no query. What is not known here is refused when the file is loaded, by name: a text that
//! would first fail in the middle of the night is of no use.

mod lex;
mod parse;
mod render;

use std::sync::Arc;

use parse::Node;

/// A parsed text.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    nodes: Arc<[Node]>,
}

/// What a template can speak about.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// `$labels`.
    pub labels: Vec<(&'a str, &'a str)>,
    /// `$value`.
    pub value: f64,
    /// `$externalLabels`.
    pub external_labels: Vec<(&'a str, &'a str)>,
    /// `$externalURL`.
    pub external_url: &'a str,
}

/// A text that is no template, or one that is beyond what is understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at {place:?}")]
pub struct TemplateError {
    pub(crate) problem: String,
    /// The action in which it happened.
    pub(crate) place: String,
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError`] for bad syntax and for functions that are not known.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let nodes = parse::parse(&lex::pieces(source)?)?;
        Ok(Self {
            source: source.to_owned(),
            nodes: nodes.into(),
        })
    }

    /// The text as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text for these facts. What fails only now is said in the text, as Prometheus does, for an alert with a broken
    /// description is better than none.
    #[must_use]
    pub fn render(&self, facts: &Facts<'_>) -> String {
        match render::render(&self.nodes, facts) {
            Ok(text) => text,
            Err(problem) => format!("<error expanding template: {problem}>"),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
