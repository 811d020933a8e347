//! What people and programs call: queries, scores, alerts, pages.

pub mod notify;
pub mod rule;
