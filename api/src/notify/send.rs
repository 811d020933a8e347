//! One attempt, and what its end means.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};

use super::channel::{Auth, Body, Outgoing, Post, place_of};
use super::chart;
use super::message::Message;
use super::receiver::Receiver;
use super::wording::{Words, count_failure};
use crate::rule::Trend;

/// Bytes of an answer that are read; the rest is nobody's business.
const ANSWER_MAX: usize = 4096;
/// Characters of an answer that are shown.
const EXCERPT_MAX: usize = 200;
/// A pause that a receiver may ask for, at most: a week.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    pub(super) text: String,
    pub(super) elapsed: Duration,
    /// The receiver's own texts, where they are what was sent.
    pub(super) words: Option<Words>,
}

impl Ended {
    /// The same, with a sentence before what there is to say.
    fn noting(mut self, sentence: String) -> Self {
        self.text = [sentence, self.text].join(" ").trim_end().to_owned();
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// The receiver is away, busy or broken: leave it alone for a while, at least so long.
    Later(Option<Duration>),
    /// The receiver does not want this message.
    Refused,
}

/// What an answer means, and what to do about it; the advice is empty or begins with a comma or colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) advice: String,
}

impl Judgement {
    pub(super) fn new(verdict: Verdict, advice: impl Into<String>) -> Self {
        Self {
            verdict,
            advice: advice.into(),
        }
    }
}

/// A client for notifications: it follows no redirect and reads no settings from the environment.
///
/// # Errors
/// When there is no TLS to be had.
pub fn client() -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may be first, with the same provider.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("foreshock/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Says `message` once, in the receiver's own words where it has some; `now_ms` goes into signatures.
pub(super) async fn send(client: &Client, receiver: &Receiver, key: &str, message: &Message, now_ms: i64) -> Ended {
    let picture = match message.trend().filter(|_| receiver.channel.takes_pictures()) {
        Some(trend) => drawn(trend.clone()).await,
        None => None,
    };
    let attempt = Attempt {
        client,
        receiver,
        key,
        message,
        picture: picture.as_deref(),
        now_ms,
    };
    let words = match own_words(receiver, message, now_ms).await {
        Ok(words) => words.filter(|words| !words.is_empty()),
        Err(problem) => {
            count_failure(receiver.id(), "failed");
            tracing::warn!(receiver = receiver.id(), problem, "a receiver's own text failed");
            let ended = attempt.send(None).await;
            return ended.noting(format!("Sent in Foreshock's words, for its own failed: {problem}."));
        }
    };
    let mut ended = attempt.send(words.as_ref()).await;
    if words.is_some() && ended.verdict == Verdict::Refused && ended.is_about_content() {
        // What a template made of this alert may be what the platform does not take.
        count_failure(receiver.id(), "refused");
        let said = std::mem::take(&mut ended.text);
        tracing::warn!(receiver = receiver.id(), said, "a receiver's own text was refused");
        let ended = attempt.send(None).await;
        return ended.noting(format!("Sent in Foreshock's words, for its own were refused: {said}."));
    }
    ended.words = words;
    ended
}

/// What the receiver's configuration makes of the message, off the threads that serve sockets.
async fn own_words(receiver: &Receiver, message: &Message, now_ms: i64) -> Result<Option<Words>, String> {
    let Some(wording) = receiver.wording.clone() else {
        return Ok(None);
    };
    let message = message.clone();
    let said = tokio::task::spawn_blocking(move || wording.say(&message, now_ms)).await;
    match said {
        Ok(Ok(words)) => Ok(Some(words)),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A message on its way to a receiver.
struct Attempt<'a> {
    client: &'a Client,
    receiver: &'a Receiver,
    key: &'a str,
    message: &'a Message,
    picture: Option<&'a [u8]>,
    now_ms: i64,
}

impl Attempt<'_> {
    async fn send(&self, words: Option<&Words>) -> Ended {
        let channel = &self.receiver.channel;
        match channel.outgoing(self.message, words, self.picture, self.now_ms) {
            Outgoing::Post(post) => {
                let is_illustrated = matches!(post.body, Body::Form { .. });
                let ended = self.post(post).await;
                if !is_illustrated || ended.verdict != Verdict::Refused {
                    return ended;
                }
                // Not everybody who may write somewhere may send pictures there, and the words matter more.
                match channel.outgoing(self.message, words, None, self.now_ms) {
                    Outgoing::Post(post) => self.post(post).await,
                    Outgoing::Mail(_) => ended,
                }
            }
            Outgoing::Mail(mail) => {
                let timeout = self.receiver.timeout;
                mail.send(self.message, words, self.key, self.now_ms, timeout).await
            }
        }
    }

    async fn post(&self, post: Post) -> Ended {
        send_post(self.client, self.receiver, self.key, post).await
    }
}

impl Ended {
    /// Whether what was said was refused, rather than who said it or where.
    fn is_about_content(&self) -> bool {
        // Platforms that answer 200 say in the body that they did not take it; mail servers say 552 or 554.
        matches!(self.status, Some(200..=299 | 400 | 413 | 422 | 552 | 554) | None)
    }
}

/// The picture, off the threads that serve sockets. A message goes out without one rather than not at all.
async fn drawn(trend: Trend) -> Option<Vec<u8>> {
    let drawing = tokio::task::spawn_blocking(move || chart::picture(&trend));
    drawing.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a chart was not drawn");
        None
    })
}

async fn send_post(client: &Client, receiver: &Receiver, key: &str, post: Post) -> Ended {
    let started = Instant::now();
    let (kind, body) = match post.body {
        Body::Json(text) => ("application/json".to_owned(), text.into_bytes()),
        Body::Form { boundary, bytes } => (format!("multipart/form-data; boundary={boundary}"), bytes),
    };
    let mut request = client
        .post(post.url.reveal())
        .timeout(receiver.timeout)
        .header(CONTENT_TYPE, kind)
        .header("Idempotency-Key", key)
        .body(body);
    request = match &post.auth {
        Some(Auth::Bearer(token)) => request.bearer_auth(token.reveal()),
        Some(Auth::Basic { user, password }) => request.basic_auth(user, Some(password.reveal())),
        None => request,
    };
    let (status, headers, answer) = match request.send().await {
        Ok(answer) => (answer.status(), answer.headers().clone(), answer),
        Err(error) => {
            return Ended {
                verdict: Verdict::Later(None),
                status: None,
                text: failure(&error, receiver),
                elapsed: started.elapsed(),
                words: None,
            };
        }
    };
    // Where the status is the answer, whatever becomes of the rest of the body changes nothing.
    let body = if status.is_success() && !receiver.channel.answers_in_body() {
        String::new()
    } else {
        beginning(answer).await
    };
    let judgement = receiver.channel.judge(status, &headers, &body);
    let text = if judgement.verdict == Verdict::Delivered {
        String::new()
    } else {
        [
            format!("{} answered {status}", receiver.place()),
            judgement.advice,
            excerpt(&body),
        ]
        .join("")
        .trim_end()
        .to_owned()
    };
    Ended {
        verdict: judgement.verdict,
        status: Some(status.as_u16()),
        text,
        elapsed: started.elapsed(),
        words: None,
    }
}

/// What a status means by itself, and what to do about it.
pub(super) fn by_status(status: StatusCode, headers: &HeaderMap) -> Judgement {
    let refused = |advice: &str| Judgement::new(Verdict::Refused, advice);
    match status.as_u16() {
        200..=299 => Judgement::new(Verdict::Delivered, ""),
        408 | 425 | 429 | 500..=599 => Judgement::new(Verdict::Later(retry_after(headers)), ""),
        300..=399 => {
            let target = headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.parse().ok());
            let target = target.map_or_else(String::new, |url: reqwest::Url| format!(" to {}", place_of(&url)));
            refused(&format!(
                ", a redirect{target}, which is not followed: give the receiver's final address"
            ))
        }
        401 | 403 => refused(": check the receiver's address and token"),
        404 | 410 => refused(": there is nothing at this address, or no longer"),
        413 => refused(": the message is too long for it, lower the number of alerts in a message"),
        _ => refused(""),
    }
}

/// Seconds, or a date that is compared with the answer's own clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return pause(seconds);
    }
    let moment = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wanted = moment(text)?;
    let now = headers
        .get("date")
        .and_then(|value| value.to_str().ok())
        .and_then(moment)?;
    let pause = Duration::try_from(wanted.duration_since(now)).unwrap_or_default();
    Some(pause.min(RETRY_AFTER_MAX))
}

/// A pause that was asked for in seconds.
pub(super) fn pause(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// What went wrong on the way, without the address, which may hold a key.
fn failure(error: &reqwest::Error, receiver: &Receiver) -> String {
    let place = receiver.place();
    if error.is_timeout() {
        return format!("{place} did not answer within {} s", receiver.timeout.as_secs_f64());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // The outermost text names the address; the innermost says what happened.
    let said = cause.to_string();
    let said = if said.contains("://") {
        "the request failed".to_owned()
    } else {
        said
    };
    if error.is_connect() {
        format!("cannot connect to {place}: {said}")
    } else {
        format!("{place} gave no answer: {said}")
    }
}

async fn beginning(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX - bytes.len())]),
            // What was read until then is judged; a platform that says yes in its body has not said it then.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn excerpt(body: &str) -> String {
    let words: String = body
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT_MAX)
        .collect();
    let words = words.trim();
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({words})")
    }
}
