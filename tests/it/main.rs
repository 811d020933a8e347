//! The built `foreshock`, from outside; and the crates together, where the inside has to be seen.

mod architecture;
mod backtest;
mod bad_input;
mod crash_recovery;
mod docs;
mod server;
mod store_tools;
