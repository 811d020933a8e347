//! Names of the series that a scoring round writes back into the store. They are about hosts, and not from them: whoever asks
//! what hosts sent leaves them out.

/// Probability of an incident within the horizon; labels host, device, horizon, model.
pub const PROBABILITY: &str = "foreshock_failure_probability";
/// The same by a challenger, which alerts nobody.
pub const SHADOW: &str = "foreshock_shadow_probability";
/// The probability from which on the false-alarm budget is kept; labels horizon, model.
pub const THRESHOLD: &str = "foreshock_alert_threshold";
/// How unusual a host is against its own past, in usual spreads; label host.
pub const ANOMALY: &str = "foreshock_anomaly_score";
/// Seconds until a resource is used up; labels host, resource, device.
pub const TIME_TO_LIMIT: &str = "foreshock_time_to_limit_seconds";
/// 1 while an incident is open; labels host, device, kind.
pub const INCIDENT: &str = "foreshock_incident_active";

/// All of them.
pub const WRITTEN: [&str; 6] = [PROBABILITY, SHADOW, THRESHOLD, ANOMALY, TIME_TO_LIMIT, INCIDENT];
