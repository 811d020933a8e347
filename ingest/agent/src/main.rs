//! Telemetry agent.
fn main() {}
