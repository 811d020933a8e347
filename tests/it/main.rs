//! The built `foreshock`, from outside; and the crates together, where the inside has to be seen.

mod alert_delivery;
mod architecture;
mod backlog;
mod backtest;
mod bad_input;
mod crash_recovery;
mod dashboards;
mod docs;
mod events;
mod fuzz;
mod join;
mod packaging;
mod rules;
mod scrape;
mod security;
mod server;
mod store_tools;
mod templates;
