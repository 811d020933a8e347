//! The text of labels and annotations: templates, as far as rule files use them.
//!
//! `{{ $labels.name }}`, `{{ $value }}`, all of the language, and the functions of Prometheus that need no query.

use std::sync::{Arc, OnceLock};

use crate::template::{self, Form, Limits, Start, Templates, Value, Vocabulary};

pub use crate::template::TemplateError;

/// A parsed text.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    parsed: template::Template,
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

/// Of one label or annotation.
const LIMITS: Limits = Limits {
    bytes: 64 << 10,
    steps: 100_000,
};

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError`] for bad syntax and for functions that are not known.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        static NONE: OnceLock<Arc<Templates>> = OnceLock::new();
        let none = NONE.get_or_init(|| Arc::new(Templates::new(Vocabulary::Rules)));
        Ok(Self {
            source: source.to_owned(),
            parsed: none.template("", source)?,
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
        if !self.source.contains("{{") {
            return self.source.clone();
        }
        let labels = Value::labels(&facts.labels);
        let (value, external_labels) = (Value::Number(facts.value), Value::labels(&facts.external_labels));
        let external_url = Value::text(facts.external_url);
        let start = Start {
            dot: Value::record(vec![
                ("Labels", "Labels", labels.clone()),
                ("ExternalLabels", "ExternalLabels", external_labels.clone()),
                ("ExternalURL", "ExternalURL", external_url.clone()),
                ("Value", "Value", value.clone()),
            ]),
            variables: vec![
                ("labels", labels),
                ("value", value),
                ("externalLabels", external_labels),
                ("externalURL", external_url),
            ],
            external_url: facts.external_url,
            // Nothing that rules may call asks for it.
            now_ms: 0,
        };
        match self.parsed.run(start, Form::Text, LIMITS) {
            Ok(text) => text,
            Err(failure) => format!("<error expanding template: {}>", failure.problem),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
