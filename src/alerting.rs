//! Who is told about alerts, from the configuration.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use api::notify::{
    Auth, Channel, Escalation, Escalations, Hook, Mail, MailDraft, Receiver, Routing, Schedule, Secret, Settings,
    ShiftDraft, load_configuration_file,
};

use crate::config::{Config, EscalationConfig, ReceiverConfig, ScheduleConfig, ShiftConfig, StepConfig};

/// What the configuration says about notifications; what is not used of it is logged.
pub(crate) fn settings(config: &Config) -> Result<Settings> {
    let (settings, warnings) = settings_and_warnings(config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// What the configuration says about notifications, and what is not used of it, a sentence each.
pub(crate) fn settings_and_warnings(config: &Config) -> Result<(Settings, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut settings = Settings {
        external_url: external_url(config),
        ..Settings::default()
    };
    if let Some(file) = &config.alertmanager_config {
        let read = load_configuration_file(file).context("cannot use --alertmanager-config")?;
        let said = |warning: &String| format!("{}: {warning}", file.display());
        warnings.extend(read.warnings.iter().map(said));
        settings.receivers = read.receivers;
        settings.silent = read.silent;
        settings.routing = read.routing;
        settings.configuration = Some(read.shown);
    } else {
        settings.routing = Routing::default();
        settings
            .routing
            .set_wait_ms(i64::from(config.notify.group_wait_seconds) * 1_000);
    }
    for named in &config.receiver {
        settings.receivers.push(receiver(named)?);
    }
    for receiver in &mut settings.receivers {
        let general = config.notify.fallback.as_ref().filter(|name| *name != receiver.id());
        if receiver.fallback().is_none() && general.is_some() {
            *receiver = receiver.clone().with_fallback(general.cloned());
        }
    }
    settings.chart_links = config.notify.chart_links;
    check(&settings)?;
    let policies = config.escalation.iter().map(escalation).collect::<Result<_>>()?;
    let schedules = config.schedule.iter().map(schedule).collect::<Result<_>>()?;
    // Those that send nothing anywhere are nobody to pass an alert on to.
    let names: Vec<&str> = settings.receivers.iter().map(Receiver::name).collect();
    settings.escalations = Escalations::new(policies, schedules, &names)?;
    Ok((settings, warnings))
}

fn escalation(config: &EscalationConfig) -> Result<Escalation> {
    let step = |step: &StepConfig| ((step.after_minutes * 60_000.0).round() as i64, step.to.clone());
    let steps = config.steps.iter().map(step).collect();
    Ok(Escalation::new(&config.name, &config.matchers, steps)?)
}

fn schedule(config: &ScheduleConfig) -> Result<Schedule> {
    let shift = |shift: &ShiftConfig| ShiftDraft {
        days: shift.days.clone(),
        from: shift.from.clone(),
        to: shift.to.clone(),
        receiver: shift.receiver.clone(),
    };
    let shifts = config.shifts.iter().map(shift).collect();
    let zone = config.time_zone.as_deref();
    Ok(Schedule::new(&config.name, zone, shifts, config.otherwise.clone())?)
}

fn check(settings: &Settings) -> Result<()> {
    let receivers = &settings.receivers;
    for (at, receiver) in receivers.iter().enumerate() {
        let id = receiver.id();
        if receivers[..at].iter().any(|other| other.id() == id) || settings.silent.iter().any(|name| name == id) {
            bail!("two receivers are named {id:?}; give each a name of its own");
        }
        if let Some(fallback) = receiver.fallback()
            && (fallback == id || settings.receiver(fallback).is_none())
        {
            bail!("receiver {id:?}: its fallback {fallback:?} must be another receiver");
        }
    }
    Ok(())
}

fn receiver(config: &ReceiverConfig) -> Result<Receiver> {
    let name = &config.name;
    let (kind, channel) = {
        let mut named = channels(config)?;
        match (named.pop(), named.is_empty()) {
            (Some(only), true) => only,
            (None, _) => {
                bail!("receiver {name:?} says nowhere to send to: give webhook, slack, telegram or another kind")
            }
            (Some(_), false) => bail!("receiver {name:?} names more than one place: make it several receivers"),
        }
    };
    // A key without its kind would silently do nothing.
    for (key, is_given, kinds) in [
        ("chat", config.chat.is_some(), ["telegram", ""]),
        ("channel", config.channel.is_some(), ["slack", "mattermost"]),
        ("secret", config.secret.is_some(), ["dingtalk", "feishu"]),
        ("from", config.from.is_some(), ["email", ""]),
        ("smarthost", config.smarthost.is_some(), ["email", ""]),
        ("user", config.user.is_some(), ["email", ""]),
        ("password", config.password.is_some(), ["email", ""]),
        ("password_file", config.password_file.is_some(), ["email", ""]),
        ("require_tls", config.require_tls.is_some(), ["email", ""]),
        ("ca_file", config.ca_file.is_some(), ["email", ""]),
    ] {
        if is_given && !kinds.contains(&kind) {
            bail!("receiver {name:?}: {key} belongs to {}", kinds.join(" ").trim());
        }
    }
    let receiver = Receiver::new(name, channel)?
        .with_fallback(config.fallback.clone())
        .with_only_escalated(config.only_escalated);
    Ok(match config.send_resolved {
        Some(send_resolved) => receiver.with_resolved(send_resolved),
        None => receiver,
    })
}

/// Every place that a receiver names, with the key that names it.
fn channels(config: &ReceiverConfig) -> Result<Vec<(&'static str, Channel)>> {
    let name = &config.name;
    let auth = || config.token.clone().map(|token| Auth::Bearer(Secret::new(token)));
    // The address is not repeated: it may hold a key.
    let hook = |key: &str, url: &str| {
        Hook::at(url).map(|hook| hook.with_auth(auth())).with_context(|| {
            format!("receiver {name:?}: {key} must be an address that begins with http:// or https://")
        })
    };
    let secret = || config.secret.clone().map(Secret::new);
    let channel = || config.channel.clone();
    let mut found = Vec::new();
    let mut add = |key: &'static str, url: Option<&String>, of: &dyn Fn(Hook) -> Channel| -> Result<()> {
        if let Some(url) = url {
            found.push((key, of(hook(key, url)?)));
        }
        Ok(())
    };
    add("webhook", config.webhook.as_ref(), &Channel::Webhook)?;
    let upstream = config
        .alertmanager
        .as_ref()
        .map(|url| format!("{}/api/v2/alerts", url.trim_end_matches('/')));
    add("alertmanager", upstream.as_ref(), &Channel::Alertmanager)?;
    add("slack", config.slack.as_ref(), &|hook| Channel::Slack {
        hook,
        channel: channel(),
    })?;
    add("mattermost", config.mattermost.as_ref(), &|hook| Channel::Mattermost {
        hook,
        channel: channel(),
    })?;
    add("discord", config.discord.as_ref(), &Channel::Discord)?;
    add("teams", config.teams.as_ref(), &Channel::Teams)?;
    add("google_chat", config.google_chat.as_ref(), &Channel::GoogleChat)?;
    add("dingtalk", config.dingtalk.as_ref(), &|hook| Channel::DingTalk {
        hook,
        secret: secret(),
    })?;
    add("feishu", config.feishu.as_ref(), &|hook| Channel::Feishu {
        hook,
        secret: secret(),
    })?;
    add("wecom", config.wecom.as_ref(), &Channel::WeCom)?;
    if let Some(token) = &config.telegram {
        let chat = config.chat.as_deref();
        let chat =
            chat.with_context(|| format!("receiver {name:?}: telegram needs chat, the chat's number or name"))?;
        let channel = Channel::telegram(token, chat);
        found.push((
            "telegram",
            channel.with_context(|| format!("receiver {name:?}: telegram is no bot's token"))?,
        ));
    }
    if let Some(routing_key) = &config.pagerduty {
        found.push(("pagerduty", Channel::pagerduty(routing_key)));
    }
    if let Some(to) = &config.email {
        let mail = mail(config, to).with_context(|| format!("receiver {name:?}"))?;
        found.push(("email", Channel::Email(Box::new(mail))));
    }
    Ok(found)
}

fn mail(config: &ReceiverConfig, to: &str) -> Result<Mail> {
    let needed = |key: &str, value: &Option<String>| value.clone().with_context(|| format!("email needs {key}"));
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let password = match (&config.password, &config.password_file) {
        (Some(_), Some(_)) => bail!("give password or password_file, not both"),
        (None, Some(path)) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
        (password, None) => password.clone(),
    };
    Ok(Mail::new(MailDraft {
        to: to.to_owned(),
        from: needed("from, the sender's address", &config.from)?,
        smarthost: needed("smarthost, the mail server's HOST:PORT", &config.smarthost)?,
        auth_username: config.user.clone(),
        auth_password: password.map(Secret::new),
        require_tls: config.require_tls.unwrap_or(true),
        authorities: config.ca_file.as_ref().map(read).transpose()?,
        ..MailDraft::default()
    })?)
}

fn external_url(config: &Config) -> String {
    let chosen = config.external_url.as_deref();
    chosen.map_or_else(
        || format!("{}://{}", config.scheme(), config.listen),
        |url| url.trim_end_matches('/').to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The kinds of receivers that a configuration names, or why it cannot be used.
    fn check(text: &str, expected: &str) {
        let told = match toml::from_str::<Config>(text) {
            Ok(config) => match super::settings(&config) {
                Ok(settings) => {
                    let kinds: Vec<&str> = settings.receivers.iter().map(api::notify::Receiver::kind).collect();
                    kinds.join(" ")
                }
                Err(error) => format!("{error:#}"),
            },
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(told, expected, "{text}");
    }

    const MAIL: &str = "[[receiver]]\nname = 'mail'\nemail = 'ops@example.net'\nfrom = 'a@example.net'\n";

    #[test]
    fn mail_is_checked_when_it_is_configured() {
        let local = format!("{MAIL}smarthost = 'localhost:25'\nrequire_tls = false\n");
        check(&local, "email");
        check(
            MAIL,
            "receiver \"mail\": email needs smarthost, the mail server's HOST:PORT",
        );
        check(
            &format!("{MAIL}smarthost = 'mail.example.net:25'\nrequire_tls = false\n"),
            "receiver \"mail\": require_tls: false is for a mail server on this machine; \"mail.example.net\" is not (localhost, 127.0.0.0/8, ::1)",
        );
        check(
            &format!("{local}user = 'a'\n"),
            "receiver \"mail\": auth_username and auth_password must both be given, or neither",
        );
        check(
            &format!("{local}user = 'a'\npassword = 'b'\npassword_file = '/c'\n"),
            "receiver \"mail\": give password or password_file, not both",
        );
        check(
            "[[receiver]]\nname = 'hook'\nwebhook = 'http://127.0.0.1:9'\nsmarthost = 'localhost:25'\n",
            "receiver \"hook\": smarthost belongs to email",
        );
    }

    #[test]
    fn escalations_lead_to_receivers_and_schedules_that_there_are() {
        let hook = "[[receiver]]\nname = 'hook'\nwebhook = 'http://127.0.0.1:9'\n";
        let step = |to: &str| {
            format!(
                "{hook}[[escalation]]\nname = 'pages'\nmatchers = ['severity=\"page\"']\nsteps = [{{ after_minutes = 0.5, to = '{to}' }}]\n"
            )
        };
        let duty = "[[schedule]]\nname = 'duty'\ntime_zone = 'UTC'\notherwise = 'hook'\nshifts = [{ days = ['monday:friday'], from = '22:00', to = '06:00', receiver = 'hook' }]\n";
        check(&step("hook"), "webhook");
        check(&format!("{}{duty}", step("duty")), "webhook");
        check(
            &step("duty"),
            "escalation \"pages\": there is neither a receiver nor a schedule \"duty\"",
        );
        check(
            &format!("{}{}", step("duty"), duty.replace("22:00", "26:00")),
            "schedule \"duty\": shifts[0]: \"26:00\" is no time of day between 00:00 and 24:00",
        );
        check(
            &format!("{hook}[[escalation]]\nname = 'pages'\nsteps = []\n"),
            "escalation \"pages\": it needs 1 to 20 steps",
        );
    }
}
