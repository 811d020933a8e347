//! `global` and `receivers`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_yaml_ng::Value;

use super::fields::Fields;
use super::mail::MailDefaults;
use super::wording::{self, Key};
use crate::notify::channel::{Auth, Channel, Hook, PAGERDUTY, TELEGRAM, telegram_chat, telegram_url};
use crate::notify::mail::Mail;
use crate::notify::receiver::{Receiver, Secret};
use crate::notify::wording::{Draft, Shape, Wording};
use crate::template::{Form, Templates};

/// What `global` says.
#[derive(Debug, Default)]
pub(super) struct Global {
    pub(super) resolve_after_ms: Option<i64>,
    slack_url: Option<Secret>,
    mattermost_url: Option<Secret>,
    telegram_url: Option<String>,
    telegram_token: Option<Secret>,
    pagerduty_url: Option<String>,
    mail: MailDefaults,
}

/// What Alertmanager's `global` knows besides, with why it is not used.
const GLOBAL_UNUSED: &[(&str, &str)] = &[
    ("http_config", "give it with each receiver"),
    ("jira_api_url", "there is no receiver for Jira"),
    ("opsgenie_api_key", "there is no receiver for Opsgenie"),
    ("opsgenie_api_key_file", "there is no receiver for Opsgenie"),
    ("opsgenie_api_url", "there is no receiver for Opsgenie"),
    ("rocketchat_api_url", "there is no receiver for Rocket.Chat"),
    ("rocketchat_token", "there is no receiver for Rocket.Chat"),
    ("rocketchat_token_id", "there is no receiver for Rocket.Chat"),
    (
        "slack_app_token",
        "give it as http_config.authorization of the receiver",
    ),
    (
        "slack_app_token_file",
        "give it as http_config.authorization of the receiver",
    ),
    ("slack_app_url", "give api_url with the receiver"),
    ("smtp_auth_secret", "CRAM-MD5 is not spoken"),
    ("smtp_auth_secret_file", "CRAM-MD5 is not spoken"),
    ("victorops_api_key", "there is no receiver for VictorOps"),
    ("victorops_api_key_file", "there is no receiver for VictorOps"),
    ("victorops_api_url", "there is no receiver for VictorOps"),
    ("webex_api_url", "there is no receiver for Webex"),
    ("wechat_api_corp_id", "the app API of WeChat Work is not spoken"),
    ("wechat_api_secret", "the app API of WeChat Work is not spoken"),
    ("wechat_api_url", "the app API of WeChat Work is not spoken"),
];

impl Global {
    pub(super) fn read(mut fields: Fields, dir: &Path, warnings: &mut Vec<String>) -> Result<Self, String> {
        let read = Self {
            resolve_after_ms: fields.duration("resolve_timeout")?,
            slack_url: fields.text_or_file("slack_api_url", dir)?.map(Secret::new),
            mattermost_url: fields.text_or_file("mattermost_webhook_url", dir)?.map(Secret::new),
            telegram_url: fields.text("telegram_api_url")?,
            telegram_token: fields.text_or_file("telegram_bot_token", dir)?.map(Secret::new),
            pagerduty_url: fields.text("pagerduty_url")?,
            mail: MailDefaults::read(&mut fields, "smtp_", dir, warnings)?,
        };
        fields.finish(GLOBAL_UNUSED, warnings)?;
        Ok(read)
    }
}

/// Kinds that Alertmanager has and that are not spoken here.
const UNSPOKEN: [&str; 9] = [
    "incidentio_configs",
    "jira_configs",
    "opsgenie_configs",
    "pushover_configs",
    "rocketchat_configs",
    "sns_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];

/// Every place of all receivers, and the names of those that have none.
pub(super) fn read(
    values: Vec<Value>,
    context: &Context<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Receiver>, Vec<String>), String> {
    let mut found: Vec<Receiver> = Vec::new();
    let mut silent: Vec<String> = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        let place = format!("receivers[{at}]");
        let mut fields = Fields::of(value, &place)?;
        let name = fields
            .text("name")?
            .filter(|name| !name.is_empty())
            .ok_or_else(|| format!("{place}: a receiver needs a name"))?;
        if silent.contains(&name) || found.iter().any(|receiver| receiver.name() == name) {
            return Err(format!("{place}: the name {name:?} is taken by another receiver"));
        }
        for kind in UNSPOKEN {
            if fields.take(kind).is_some() {
                return Err(format!(
                    "{place}: {kind} is not spoken here; use webhook_configs with a bridge, or another receiver"
                ));
            }
        }
        let mut channels = Vec::new();
        for (key, read) in KINDS {
            for (at, value) in fields.list(key)?.into_iter().enumerate() {
                let fields = Fields::of(value, &format!("{place}.{key}[{at}]"))?;
                let context = Context {
                    name: &name,
                    ..*context
                };
                let receiver = read(fields, &context, warnings)?;
                warnings.extend(receiver.tried());
                channels.push(receiver);
            }
        }
        fields.finish(&[("labels", "")], warnings)?;
        let single = channels.len() == 1;
        if channels.is_empty() {
            silent.push(name.clone());
        }
        let mut kinds: Vec<&str> = Vec::new();
        for receiver in channels {
            let kind = receiver.kind();
            kinds.push(kind);
            let id = match kinds.iter().filter(|known| **known == kind).count() {
                _ if single => name.clone(),
                1 => format!("{name}/{kind}"),
                count => format!("{name}/{kind}-{count}"),
            };
            if found.iter().any(|other| other.id() == id) {
                return Err(format!(
                    "{place}: {id:?} is what another receiver is called in the outbox; rename it"
                ));
            }
            found.push(receiver.with_id(id));
        }
    }
    Ok((found, silent))
}

/// What the parts of a receiver are read with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The receiver's name.
    pub(super) name: &'a str,
    pub(super) global: &'a Global,
    pub(super) dir: &'a Path,
    pub(super) templates: &'a Arc<Templates>,
}

type Read = fn(Fields, &Context<'_>, &mut Vec<String>) -> Result<Receiver, String>;

const KINDS: &[(&str, Read)] = &[
    ("webhook_configs", webhook),
    ("slack_configs", slack),
    ("mattermost_configs", mattermost),
    ("discord_configs", discord),
    ("msteams_configs", teams),
    ("msteamsv2_configs", teams),
    ("telegram_configs", telegram),
    ("pagerduty_configs", pagerduty),
    ("email_configs", email),
];

fn email(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let place = fields.here().to_owned();
    let to = needed(&mut fields, "to", context)?;
    let own = MailDefaults::read(&mut fields, "", context.dir, warnings)?;
    let mut drafts = Vec::new();
    // Alertmanager's own way to say that a letter is a text only.
    let mut has_page = true;
    for (key, form) in [("text", Form::Text), ("html", Form::Page)] {
        match fields.text(key)? {
            Some(text) if text.is_empty() => has_page &= key != "html",
            Some(text) => drafts.push((
                key,
                wording::text(text.into(), form, &fields.place(key), context.templates)?,
            )),
            None => {}
        }
    }
    let (mut headers, mut made) = (Vec::new(), Vec::new());
    for (name, value) in fields.pairs("headers")? {
        if !value.contains("{{") {
            headers.push((name, value));
            continue;
        }
        Mail::check_header(&name).map_err(|error| format!("{place}: {error}"))?;
        let place = format!("{place}.headers.{name}");
        made.push((
            name,
            wording::text(value.into(), Form::Text, &place, context.templates)?,
        ));
    }
    if !made.is_empty() {
        drafts.push(("headers", Draft::Keys(made)));
    }
    let draft = own.over(&context.global.mail).draft(to, headers, has_page, &place)?;
    let mail = Mail::new(draft).map_err(|error| format!("{place}: {error}"))?;
    let receiver = built(&mut fields, context, Channel::Email(Box::new(mail)), false)?;
    let receiver = receiver.with_wording(Wording::new(drafts));
    fields.finish(
        &[
            ("auth_secret", "CRAM-MD5 is not spoken"),
            ("auth_secret_file", "CRAM-MD5 is not spoken"),
            ("threading", "letters about one group of alerts stand in one thread"),
        ],
        warnings,
    )?;
    Ok(receiver)
}

/// What Alertmanager knows of Slack besides.
const SLACK_UNUSED: &[(&str, &str)] = &[
    ("app_token", "give it as http_config.authorization"),
    ("app_token_file", "give it as http_config.authorization"),
    ("app_url", "give api_url"),
    ("timeout", "an attempt may take 10 s"),
    ("update_message", "what is new is a new message"),
];

/// Where to, which may be a template as well, and the texts.
fn channel_and_wording(
    fields: &mut Fields,
    keys: &[Key],
    context: &Context<'_>,
) -> Result<(Option<String>, Option<Wording>), String> {
    let channel = fields.text("channel")?.filter(|channel| !channel.is_empty());
    if channel.as_ref().is_some_and(|channel| channel.contains("{{")) {
        let mut drafts = wording::drafts(fields, keys, context.templates)?;
        let place = fields.place("channel");
        let channel = Value::String(channel.unwrap_or_default());
        drafts.push((
            "channel",
            wording::draft(channel, Shape::Text, &place, context.templates)?,
        ));
        return Ok((None, Wording::new(drafts)));
    }
    Ok((channel, wording::read(fields, keys, context.templates)?))
}

fn slack(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let url = with_default(&mut fields, "api_url", context.global.slack_url.as_ref(), context)?;
    let hook = hook(&mut fields, "api_url", &url, context, warnings)?;
    let (channel, wording) = channel_and_wording(&mut fields, wording::SLACK, context)?;
    let receiver = built(&mut fields, context, Channel::Slack { hook, channel }, false)?;
    fields.finish(SLACK_UNUSED, warnings)?;
    Ok(receiver.with_wording(wording))
}

fn mattermost(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let url = with_default(
        &mut fields,
        "webhook_url",
        context.global.mattermost_url.as_ref(),
        context,
    )?;
    let hook = hook(&mut fields, "webhook_url", &url, context, warnings)?;
    let (channel, wording) = channel_and_wording(&mut fields, wording::MATTERMOST, context)?;
    let receiver = built(&mut fields, context, Channel::Mattermost { hook, channel }, true)?;
    fields.finish(&[], warnings)?;
    Ok(receiver.with_wording(wording))
}

fn discord(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let url = needed(&mut fields, "webhook_url", context)?;
    let hook = hook(&mut fields, "webhook_url", &url, context, warnings)?;
    let wording = wording::read(&mut fields, wording::DISCORD, context.templates)?;
    let receiver = built(&mut fields, context, Channel::Discord(hook), true)?;
    fields.finish(&[], warnings)?;
    Ok(receiver.with_wording(wording))
}

fn teams(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let url = needed(&mut fields, "webhook_url", context)?;
    let hook = hook(&mut fields, "webhook_url", &url, context, warnings)?;
    let wording = wording::read(&mut fields, wording::TEAMS, context.templates)?;
    let receiver = built(&mut fields, context, Channel::Teams(hook), true)?;
    fields.finish(&[], warnings)?;
    Ok(receiver.with_wording(wording))
}

fn telegram(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let global = context.global;
    let base = fields.text("api_url")?.or_else(|| global.telegram_url.clone());
    let base = base.unwrap_or_else(|| TELEGRAM.to_owned());
    let token = with_default(&mut fields, "bot_token", global.telegram_token.as_ref(), context)?;
    let url = telegram_url(&base, &token);
    let hook = hook(&mut fields, "api_url", &url, context, warnings)?;
    let place = fields.place("chat_id");
    let chat = fields
        .text_or_file("chat_id", context.dir)?
        .filter(|chat| !chat.is_empty() && chat != "0");
    let channel = Channel::Telegram {
        hook,
        chat: telegram_chat(&chat.ok_or_else(|| format!("{place} is missing"))?),
        thread: fields.number("message_thread_id")?.filter(|thread| *thread != 0),
        silently: fields.flag("disable_notifications")?.unwrap_or(false),
    };
    let mode = fields.text("parse_mode")?.unwrap_or_else(|| "HTML".to_owned());
    if !["", "HTML", "Markdown", "MarkdownV2"].contains(&mode.as_str()) {
        return Err(format!(
            "{} must be HTML, Markdown, MarkdownV2 or empty, not {mode:?}",
            fields.place("parse_mode")
        ));
    }
    // Only in HTML there is a way for what labels hold to be no markup.
    let form = if mode == "HTML" { Form::Page } else { Form::Text };
    let mut drafts = Vec::new();
    if let Some(text) = fields.text("message")?.filter(|text| !text.is_empty()) {
        let place = fields.place("message");
        drafts.push(("message", wording::text(text.into(), form, &place, context.templates)?));
        drafts.push(("parse_mode", Draft::Plain(mode.into())));
    }
    let wording = Wording::new(drafts);
    let receiver = built(&mut fields, context, channel, true)?;
    fields.finish(&[], warnings)?;
    Ok(receiver.with_wording(wording))
}

fn pagerduty(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    if fields.text_or_file("service_key", context.dir)?.is_some() {
        return Err(format!(
            "{} belongs to the Events API v1; make an integration of type Events API v2 and give its routing_key",
            fields.place("service_key")
        ));
    }
    let routing_key = Secret::new(needed(&mut fields, "routing_key", context)?);
    if routing_key.reveal().contains("{{") {
        return Err(format!(
            "{} is no template here: make a receiver of each integration",
            fields.place("routing_key")
        ));
    }
    let url = fields.text("url")?.or_else(|| context.global.pagerduty_url.clone());
    let url = url.unwrap_or_else(|| PAGERDUTY.to_owned());
    let hook = hook(&mut fields, "url", &url, context, warnings)?;
    let wording = wording::read(&mut fields, wording::PAGERDUTY, context.templates)?;
    let receiver = built(&mut fields, context, Channel::PagerDuty { hook, routing_key }, true)?;
    fields.finish(&[("timeout", "an attempt may take 10 s")], warnings)?;
    Ok(receiver.with_wording(wording))
}

fn with_default(
    fields: &mut Fields,
    key: &str,
    default: Option<&Secret>,
    context: &Context<'_>,
) -> Result<String, String> {
    let place = fields.place(key);
    fields
        .text_or_file(key, context.dir)?
        .filter(|text| !text.is_empty())
        .or_else(|| default.map(|secret| secret.reveal().to_owned()))
        .ok_or_else(|| format!("{place} is missing"))
}

fn webhook(mut fields: Fields, context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Receiver, String> {
    let url = needed(&mut fields, "url", context)?;
    let hook = hook(&mut fields, "url", &url, context, warnings)?;
    let mut receiver = built(&mut fields, context, Channel::Webhook(hook), true)?;
    match fields.number("max_alerts")? {
        None | Some(0) => {}
        Some(most) => receiver = receiver.with_alerts_max(usize::try_from(most).unwrap_or(1)),
    }
    if let Some(timeout) = fields.duration("timeout")?.filter(|ms| *ms > 0) {
        receiver = receiver.with_timeout(Duration::from_millis(timeout.unsigned_abs()));
    }
    fields.finish(&[], warnings)?;
    Ok(receiver)
}

/// The receiver with what all kinds have in common.
fn built(
    fields: &mut Fields,
    context: &Context<'_>,
    channel: Channel,
    send_resolved: bool,
) -> Result<Receiver, String> {
    let send_resolved = fields.flag("send_resolved")?.unwrap_or(send_resolved);
    let receiver = Receiver::new(context.name, channel).map_err(|error| error.to_string())?;
    Ok(receiver.with_resolved(send_resolved))
}

fn needed(fields: &mut Fields, key: &str, context: &Context<'_>) -> Result<String, String> {
    let place = fields.place(key);
    fields
        .text_or_file(key, context.dir)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("{place} is missing"))
}

/// The hook at `url`, let in by what `http_config` says.
fn hook(
    fields: &mut Fields,
    key: &str,
    url: &str,
    context: &Context<'_>,
    warnings: &mut Vec<String>,
) -> Result<Hook, String> {
    // The address is not repeated: it may hold a key.
    if url.contains("{{") {
        return Err(format!("{}: addresses are no templates here", fields.place(key)));
    }
    let hook = Hook::at(url).ok_or_else(|| format!("{} must begin with http:// or https://", fields.place(key)))?;
    let auth = http_config(fields.section("http_config")?, context.dir, warnings)?;
    Ok(hook.with_auth(auth))
}

fn http_config(mut fields: Fields, dir: &Path, warnings: &mut Vec<String>) -> Result<Option<Auth>, String> {
    let bearer = fields.text_or_file("bearer_token", dir)?;
    let mut authorization = fields.section("authorization")?;
    let scheme = authorization.text("type")?.unwrap_or_else(|| "Bearer".to_owned());
    let credentials = authorization.text_or_file("credentials", dir)?;
    if credentials.is_some() && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(format!("{}: only Bearer is understood", authorization.place("type")));
    }
    authorization.finish(&[], warnings)?;
    let mut basic = fields.section("basic_auth")?;
    let (user, password) = (
        basic.text_or_file("username", dir)?,
        basic.text_or_file("password", dir)?,
    );
    basic.finish(&[], warnings)?;
    fields.finish(
        &[
            (
                "follow_redirects",
                "redirects are not followed, and a receiver that answers with one is told so",
            ),
            ("enable_http2", ""),
            ("proxy_url", "receivers are called directly"),
            ("no_proxy", ""),
            ("proxy_from_environment", "receivers are called directly"),
            ("proxy_connect_header", ""),
            ("tls_config", "the system's certificates are trusted"),
            ("http_headers", ""),
        ],
        warnings,
    )?;
    Ok(match (bearer.or(credentials), user) {
        (Some(token), _) => Some(Auth::Bearer(Secret::new(token))),
        (None, Some(user)) => Some(Auth::Basic {
            user,
            password: Secret::new(password.unwrap_or_default()),
        }),
        (None, None) => None,
    })
}
