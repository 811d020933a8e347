//! The built `foreshock`, from outside.

mod architecture;
mod bad_input;
mod crash_recovery;
mod server;
