//! Telemetry in: OTLP and remote write, decoded, checked, appended, acknowledged
