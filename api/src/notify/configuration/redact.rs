//! A configuration without its secrets, in a form that Alertmanager's own tools still read.

use serde_yaml_ng::Value;

/// What Alertmanager itself shows in place of a secret.
const HIDDEN: &str = "<secret>";

/// Keys whose values are secrets wherever they stand.
const SECRETS: [&str; 21] = [
    "api_key",
    "api_secret",
    "api_url",
    "app_secret",
    "app_token",
    "auth_password",
    "auth_secret",
    "bearer_token",
    "bot_token",
    "client_secret",
    "credentials",
    "password",
    "routing_key",
    "secret",
    "service_key",
    "slack_api_url",
    "smtp_auth_password",
    "smtp_auth_secret",
    "token",
    "user_key",
    "webhook_url",
];

pub(super) fn redacted(value: Value) -> Value {
    match value {
        Value::Mapping(mapping) => Value::Mapping(
            mapping
                .into_iter()
                .map(|(key, value)| {
                    let name = key.as_str().unwrap_or_default();
                    let value = match value {
                        Value::String(text) if SECRETS.contains(&name) && !text.is_empty() => HIDDEN.into(),
                        // Older versions of amtool want an address where the address itself is the secret.
                        Value::String(text) if name == "url" => origin(&text).into(),
                        other => redacted(other),
                    };
                    (key, value)
                })
                .collect(),
        ),
        Value::Sequence(values) => Value::Sequence(values.into_iter().map(redacted).collect()),
        other => other,
    }
}

/// Scheme, host and port; what follows may be a key.
fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(
        |_| HIDDEN.to_owned(),
        |url| format!("{}/", crate::notify::channel::place_of(&url)),
    )
}
