//! The kinds of places that messages go to: what each is sent, and what its answers mean.

mod alertmanager;
mod discord;
mod form;
mod google_chat;
mod hook;
mod pagerduty;
mod robots;
mod slack;
mod teams;
mod telegram;
#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::mail::{self, Mail};
use super::message::Message;
use super::receiver::{Pace, Secret};
use super::send::{Judgement, by_status};
use super::wording::Words;

pub(super) use hook::place_of;
pub use hook::{Auth, Hook};

/// A place to send messages to.
#[derive(Debug, Clone)]
pub enum Channel {
    /// Takes Alertmanager's webhook payload, version 4.
    Webhook(Hook),
    /// An Alertmanager, given the alerts themselves.
    Alertmanager(Hook),
    /// An incoming webhook of Slack, or `chat.postMessage`, which wants a channel.
    Slack {
        /// The address.
        hook: Hook,
        /// Where to, where the address does not say so.
        channel: Option<String>,
    },
    /// An incoming webhook of Mattermost.
    Mattermost {
        /// The address.
        hook: Hook,
        /// Another channel than the webhook's own.
        channel: Option<String>,
    },
    /// A webhook of Discord.
    Discord(Hook),
    /// A workflow of Microsoft Teams that is started by a webhook request.
    Teams(Hook),
    /// A webhook of a space in Google Chat.
    GoogleChat(Hook),
    /// A bot of Telegram; the hook is `.../bot<token>/sendMessage`.
    Telegram {
        /// The address, token included.
        hook: Hook,
        /// A number, or the name of a public channel with its @.
        chat: Value,
        /// The topic within a group.
        thread: Option<i64>,
        /// Without a sound.
        silently: bool,
    },
    /// A robot of a group in DingTalk.
    DingTalk {
        /// The address.
        hook: Hook,
        /// What requests are signed with, where the robot wants that.
        secret: Option<Secret>,
    },
    /// A robot of a group in Feishu or Lark.
    Feishu {
        /// The address.
        hook: Hook,
        /// What requests are signed with, where the robot wants that.
        secret: Option<Secret>,
    },
    /// A robot of a group in WeCom.
    WeCom(Hook),
    /// An integration of PagerDuty.
    PagerDuty {
        /// `https://events.pagerduty.com/v2/enqueue`.
        hook: Hook,
        /// The integration's key.
        routing_key: Secret,
    },
    /// Mail.
    Email(Box<Mail>),
}

/// How a message leaves.
#[derive(Debug)]
pub(super) enum Outgoing<'a> {
    Post(Post),
    Mail(&'a Mail),
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) url: Secret,
    pub(super) auth: Option<Auth>,
    pub(super) body: Body,
}

/// What a request says.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Json(String),
    /// With a picture beside the words.
    Form {
        boundary: String,
        bytes: Vec<u8>,
    },
}

/// Where Telegram's bots are.
pub(super) const TELEGRAM: &str = "https://api.telegram.org";
/// Where PagerDuty takes events.
pub(super) const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

impl Channel {
    /// The bot with this token, in the chat with this number or name; `None` where the token cannot be one.
    #[must_use]
    pub fn telegram(token: &str, chat: &str) -> Option<Self> {
        Some(Self::Telegram {
            hook: Hook::at(&telegram_url(TELEGRAM, token))?,
            chat: telegram_chat(chat),
            thread: None,
            silently: false,
        })
    }

    /// The integration with this key.
    #[must_use]
    pub fn pagerduty(routing_key: &str) -> Self {
        Self::PagerDuty {
            hook: Hook::at(PAGERDUTY).expect("the address is a constant"),
            routing_key: Secret::new(routing_key),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Alertmanager(_) => "alertmanager",
            Self::Slack { .. } => "slack",
            Self::Mattermost { .. } => "mattermost",
            Self::Discord(_) => "discord",
            Self::Teams(_) => "teams",
            Self::GoogleChat(_) => "google_chat",
            Self::Telegram { .. } => "telegram",
            Self::DingTalk { .. } => "dingtalk",
            Self::Feishu { .. } => "feishu",
            Self::WeCom(_) => "wecom",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Email(_) => "email",
        }
    }

    /// Scheme, host and port: what may be shown of the address.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Webhook(hook)
            | Self::Alertmanager(hook)
            | Self::Slack { hook, .. }
            | Self::Mattermost { hook, .. }
            | Self::Discord(hook)
            | Self::Teams(hook)
            | Self::GoogleChat(hook)
            | Self::Telegram { hook, .. }
            | Self::DingTalk { hook, .. }
            | Self::Feishu { hook, .. }
            | Self::WeCom(hook)
            | Self::PagerDuty { hook, .. } => hook.place(),
            Self::Email(mail) => mail.place(),
        }
    }

    /// How long an attempt may take, unless told otherwise.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Email(_) => mail::TIMEOUT,
            _ => Duration::from_secs(10),
        }
    }

    /// The most alerts in one message, unless told otherwise: as many as can be read, where people read them. A webhook's body of
    /// so many is to stay below the megabyte that proxies let pass.
    pub(super) fn alerts_max(&self) -> usize {
        match self {
            Self::Webhook(_) => 500,
            Self::Alertmanager(_) => 1000,
            Self::PagerDuty { .. } => 50,
            _ => 10,
        }
    }

    /// Whether alerts beyond those of one message go into further ones. Programs act on what they are told; people read that there
    /// are more.
    pub(super) fn wants_all(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Alertmanager(_))
    }

    /// What the platform takes, by its own word or, where it gives none, by what is known of it; 429 is obeyed besides.
    pub(super) fn pace(&self) -> Option<Pace> {
        let pace = |messages, within_ms| Some(Pace { messages, within_ms });
        match self {
            Self::Webhook(_) | Self::Alertmanager(_) | Self::Mattermost { .. } | Self::Email(_) => None,
            Self::Slack { .. } | Self::GoogleChat(_) => pace(1, 1000),
            Self::Teams(_) => pace(4, 1000),
            Self::Discord(_) => pace(30, 60_000),
            Self::Telegram { .. } | Self::DingTalk { .. } | Self::WeCom(_) => pace(20, 60_000),
            Self::Feishu { .. } => pace(100, 60_000),
            Self::PagerDuty { .. } => pace(120, 60_000),
        }
    }

    /// How often alerts that go on firing are said again at least, where this place forgets them otherwise.
    pub(super) fn repeat_ms(&self) -> Option<i64> {
        matches!(self, Self::Alertmanager(_)).then_some(alertmanager::REPEAT_MS)
    }

    /// Whether pictures are sent along with words.
    pub(super) fn takes_pictures(&self) -> bool {
        matches!(self, Self::Discord(_) | Self::Telegram { .. })
    }

    /// Whether pictures are fetched from where a message says, by the platform or by whoever reads it there.
    pub(super) fn fetches_pictures(&self) -> bool {
        matches!(
            self,
            Self::Slack { .. }
                | Self::Mattermost { .. }
                | Self::Teams(_)
                | Self::GoogleChat(_)
                | Self::PagerDuty { .. }
        )
    }

    /// What says `message`, made at `now_ms`, in the receiver's own words where there are some, with this picture where pictures are
    /// sent along.
    pub(super) fn outgoing(
        &self,
        message: &Message,
        words: Option<&Words>,
        picture: Option<&[u8]>,
        now_ms: i64,
    ) -> Outgoing<'_> {
        if let Some(post) = picture.and_then(|png| self.illustrated(message, words, png)) {
            return Outgoing::Post(post);
        }
        let (hook, body) = match self {
            Self::Email(mail) => return Outgoing::Mail(mail),
            Self::Webhook(hook) => (hook, super::payload::json(message)),
            Self::Alertmanager(hook) => (hook, alertmanager::body(message, now_ms)),
            Self::Slack { hook, channel } => (hook, slack::slack(message, words, channel.as_deref())),
            Self::Mattermost { hook, channel } => (hook, slack::mattermost(message, words, channel.as_deref())),
            Self::Discord(hook) => (hook, discord::body(message, words)),
            Self::Teams(hook) => (hook, teams::body(message, words)),
            Self::GoogleChat(hook) => (hook, google_chat::body(message)),
            Self::Telegram {
                hook,
                chat,
                thread,
                silently,
            } => (hook, telegram::body(message, words, chat, *thread, *silently)),
            Self::DingTalk { hook, .. } => (hook, robots::dingtalk(message)),
            Self::Feishu { hook, secret } => {
                let secret = secret.as_ref().map(Secret::reveal);
                (hook, robots::feishu(message, secret, now_ms))
            }
            Self::WeCom(hook) => (hook, robots::wecom(message)),
            Self::PagerDuty { hook, routing_key } => (hook, pagerduty::body(message, words, routing_key.reveal())),
        };
        let mut post = hook.post(Body::Json(body.to_string()));
        if let Self::DingTalk {
            secret: Some(secret), ..
        } = self
        {
            let url = post.url.reveal();
            let sign = if url.contains('?') { '&' } else { '?' };
            let query = robots::dingtalk_query(secret.reveal(), now_ms);
            post.url = Secret::new(format!("{url}{sign}{query}"));
        }
        Outgoing::Post(post)
    }

    /// `None` where the words have no room beside a picture.
    fn illustrated(&self, message: &Message, words: Option<&Words>, png: &[u8]) -> Option<Post> {
        match self {
            Self::Discord(hook) => Some(hook.post(discord::illustrated(message, words, png))),
            Self::Telegram {
                hook,
                chat,
                thread,
                silently,
            } => {
                let body = telegram::illustrated(message, words, chat, *thread, *silently, png)?;
                let mut post = hook.post(body);
                let base = post.url.reveal().strip_suffix("sendMessage")?;
                post.url = Secret::new(format!("{base}sendPhoto"));
                Some(post)
            }
            _ => None,
        }
    }

    /// Whether an answer with a status of success has to be read before it is known to be one.
    pub(super) fn answers_in_body(&self) -> bool {
        matches!(
            self,
            Self::Slack { .. }
                | Self::Teams(_)
                | Self::Telegram { .. }
                | Self::DingTalk { .. }
                | Self::Feishu { .. }
                | Self::WeCom(_)
        )
    }

    /// What an answer means. `body` is its beginning; empty where it was not read.
    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &str) -> Judgement {
        match self {
            Self::Webhook(_)
            | Self::Alertmanager(_)
            | Self::Mattermost { .. }
            | Self::GoogleChat(_)
            | Self::PagerDuty { .. }
            // Which says its noes in its own way.
            | Self::Email(_) => by_status(status, headers),
            Self::Slack { .. } => slack::judge(status, headers, body),
            Self::Discord(_) => discord::judge(status, headers, body),
            Self::Teams(_) => teams::judge(status, headers, body),
            Self::Telegram { .. } => telegram::judge(status, headers, body),
            Self::DingTalk { .. } => robots::judge_dingtalk(status, headers, body),
            Self::Feishu { .. } => robots::judge_feishu(status, headers, body),
            Self::WeCom(_) => robots::judge_wecom(status, headers, body),
        }
    }
}

pub(super) fn telegram_url(base: &str, token: &str) -> String {
    format!("{}/bot{token}/sendMessage", base.trim_end_matches('/'))
}

/// A number where it is one, else the name of a public channel.
pub(super) fn telegram_chat(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Into::into)
}
