//! Telemetry of this host, over OpenTelemetry, to Foreshock or any OTLP receiver
