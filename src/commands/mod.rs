//! A file per command.

pub(crate) mod admin;
pub(crate) mod agent;
pub(crate) mod alert;
pub(crate) mod backtest;
pub(crate) mod client;
pub(crate) mod demo;
pub(crate) mod fault;
mod history;
pub(crate) mod query;
pub(crate) mod rules;
pub(crate) mod simulate;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod train;
