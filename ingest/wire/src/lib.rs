//! OTLP and remote-write messages, metric names with kind and unit
