//! What holds for rules, from the life of an alert to files and evaluation.

mod evaluation;
mod files;
mod states;
mod templates;
