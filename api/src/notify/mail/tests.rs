//! Against a mail server of our own, which keeps to RFC 5321 and says what each test wants to hear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::notify::channel::Channel;
use crate::notify::notification::Notification;
use crate::notify::receiver::Receiver;

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

/// How the server behaves.
#[derive(Clone, Default)]
struct Manners {
    acceptor: Option<TlsAcceptor>,
    implicit: bool,
    /// What it offers after EHLO, besides STARTTLS.
    offers: Vec<&'static str>,
    /// Answers in place of the usual one to lines that begin so; an empty one closes the connection.
    answers: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Default)]
struct Heard {
    /// Every line; those under TLS begin with `tls `.
    lines: Arc<Mutex<Vec<String>>>,
    letters: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn letter(&self) -> String {
        self.letters.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

/// An authority's certificate, and what a server at 127.0.0.1 needs that it vouches for.
fn certificates() -> (String, TlsAcceptor) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn start(manners: Manners) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let their = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, manners.clone(), their.clone()));
        }
    });
    (port, heard)
}

async fn serve(stream: TcpStream, manners: Manners, heard: Heard) {
    let acceptor = manners.acceptor.clone();
    if manners.implicit {
        if let Ok(stream) = acceptor.unwrap().accept(stream).await {
            talk(stream, &manners, &heard, true, true).await;
        }
        return;
    }
    if let Some(stream) = talk(stream, &manners, &heard, false, true).await
        && let Ok(stream) = acceptor.unwrap().accept(stream).await
    {
        talk(stream, &manners, &heard, true, false).await;
    }
}

/// Talks until the other one leaves; answers the stream where TLS is to begin.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    manners: &Manners,
    heard: &Heard,
    is_tls: bool,
    greets: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut login_lines = 0;
    let mut first = greets;
    loop {
        let said = if first {
            "connect".to_owned()
        } else {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let said = line.trim_end().to_owned();
            let prefix = if is_tls { "tls " } else { "" };
            heard.lines.lock().unwrap().push(format!("{prefix}{said}"));
            said
        };
        first = false;
        let is_data = said == "DATA";
        let own = manners.answers.iter().find(|(start, _)| said.starts_with(start));
        let answer = match own {
            Some((_, "")) => return None,
            Some((_, answer)) => (*answer).to_owned(),
            None if said == "connect" => "220 mail.example.net ESMTP".to_owned(),
            None if said.starts_with("EHLO") => {
                let mut lines = vec!["mail.example.net".to_owned(), "8BITMIME".to_owned()];
                if manners.acceptor.is_some() && !is_tls {
                    lines.push("STARTTLS".to_owned());
                }
                lines.extend(manners.offers.iter().map(|offer| (*offer).to_owned()));
                let last = lines.pop().unwrap();
                let lines: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
                format!("{lines}250 {last}")
            }
            None if said == "STARTTLS" => "220 go on".to_owned(),
            None if said.starts_with("AUTH PLAIN") => "235 yes".to_owned(),
            None if said == "AUTH LOGIN" => {
                login_lines = 2;
                "334 VXNlcm5hbWU6".to_owned()
            }
            None if login_lines > 0 => {
                login_lines -= 1;
                if login_lines == 0 {
                    "235 yes"
                } else {
                    "334 UGFzc3dvcmQ6"
                }
                .to_owned()
            }
            None if is_data => "354 go on".to_owned(),
            None if said == "QUIT" => "221 bye".to_owned(),
            None => "250 yes".to_owned(),
        };
        stream
            .get_mut()
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
            .ok()?;
        if said == "STARTTLS" && answer.starts_with("220") {
            return Some(stream.into_inner());
        }
        if is_data && answer.starts_with("354") {
            let mut letter = String::new();
            loop {
                line.clear();
                if stream.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                if line == ".\r\n" {
                    break;
                }
                assert!(line.ends_with("\r\n") && line.len() <= 1000, "{line:?}");
                letter.push_str(line.strip_prefix('.').unwrap_or(&line));
            }
            heard.letters.lock().unwrap().push(letter);
            let answer = manners.answers.iter().find(|(start, _)| *start == "letter");
            match answer.map_or("250 queued as 42", |(_, answer)| answer) {
                "" => return None,
                answer => stream
                    .get_mut()
                    .write_all(format!("{answer}\r\n").as_bytes())
                    .await
                    .ok()?,
            }
        }
        stream.get_mut().flush().await.ok()?;
    }
}

fn draft(port: u16) -> MailDraft {
    MailDraft {
        to: "Ops Team <ops@example.net>, \"Müller, Eva\" <eva@example.net>".to_owned(),
        from: "Foreshock <alerts@example.org>".to_owned(),
        smarthost: format!("127.0.0.1:{port}"),
        require_tls: false,
        ..MailDraft::default()
    }
}

fn message() -> Message {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    };
    let labels = pairs(&[("alertname", "DiskFull"), ("host", "db-1"), ("severity", "critical")]);
    Message {
        receiver: "mail".to_owned(),
        group_key: "{}:{host=\"db-1\"}".to_owned(),
        group_labels: BTreeMap::new(),
        external_url: "https://foreshock.example".to_owned(),
        alerts: vec![Notification {
            fingerprint: crate::rule::fingerprint(&labels),
            labels,
            annotations: pairs(&[
                ("summary", "db-1: / is 97 % full – größer als <sonst>"),
                ("action", "look again \n.remove old snapshots"),
            ]),
            starts_ms: NOW - 60_000,
            ends_ms: None,
            value: Some(0.97),
            generator_url: "https://foreshock.example/hosts/db-1?tenant=a=b".to_owned(),
            outlook: None,
            expires_ms: None,
            updated_ms: NOW,
            since_ms: None,
            trend: None,
        }],
        left_out: 0,
        reason: "first_notification".to_owned(),
        instead_of: None,
        note: None,
        about: None,
        answer: None,
        chart_url: None,
    }
}

async fn send(draft: MailDraft) -> Ended {
    let mail = Mail::new(draft).unwrap();
    mail.send(&message(), None, "key-1", NOW, Duration::from_secs(10)).await
}

/// What quoted-printable stands for, the other way round than it is written.
fn decoded(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = if *first == b'=' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            &tail[2..]
        } else {
            bytes.push(*first);
            tail
        };
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_letter_arrives_with_a_text_and_a_page() {
    let (port, heard) = start(Manners::default()).await;
    let ended = send(draft(port)).await;
    assert_eq!((ended.verdict, ended.text.as_str()), (Verdict::Delivered, ""));
    assert_eq!(
        heard.lines()[..5],
        [
            "EHLO localhost",
            "MAIL FROM:<alerts@example.org>",
            "RCPT TO:<ops@example.net>",
            "RCPT TO:<eva@example.net>",
            "DATA",
        ]
    );
    let letter = heard.letter();
    insta::assert_snapshot!(letter.replace('\r', ""));
    let (_, parts) = letter.split_once("\r\n\r\n").unwrap();
    assert!(parts.lines().all(|line| line.len() <= 76), "{parts}");
    let bodies = parts.split("--=_").filter_map(|part| part.split_once("\r\n\r\n"));
    let parts: String = bodies.map(|(_, body)| decoded(body)).collect();
    for wanted in [
        "db-1: / is 97 % full – größer als <sonst>",
        "db-1: / is 97 % full – größer als &lt;sonst&gt;",
        "What to do: look again \r\n.remove old snapshots",
        "href=\"https://foreshock.example/hosts/db-1?tenant=a=b\"",
    ] {
        assert!(parts.contains(wanted), "{wanted} in {parts}");
    }
}

#[tokio::test]
async fn the_hours_before_an_alert_come_as_a_picture_and_as_text() {
    let (port, heard) = start(Manners::default()).await;
    let mut told = message();
    let trend = crate::rule::Trend {
        start_ms: NOW - 3_600_000,
        step_ms: 1_200_000,
        values: vec![Some(0.2), Some(0.3), Some(0.5), Some(0.97)],
        threshold: Some(0.95),
        unit: "1".to_owned(),
    };
    told.alerts[0].trend = Some(trend.clone());
    let mail = Mail::new(draft(port)).unwrap();
    for (html, pictures) in [(true, 1), (false, 0)] {
        let mail = Mail { html, ..mail.clone() };
        let ended = mail.send(&told, None, "key-1", NOW, Duration::from_secs(10)).await;
        assert_eq!(ended.verdict, Verdict::Delivered, "{}", ended.text);
        let letter = heard.letter();
        assert_eq!(letter.matches("Content-Type: image/png").count(), pictures);
        let text = decoded(
            letter
                .split_once("quoted-printable\r\n\r\n")
                .unwrap()
                .1
                .split("--=_")
                .next()
                .unwrap(),
        );
        assert!(text.contains("60\u{a0}min before: ▁▂▄█ (lowest 20"), "{text}");
    }
    mail.send(&told, None, "key-1", NOW, Duration::from_secs(10)).await;
    let letter = heard.letter();
    let (page, picture) = letter.split_once("Content-ID: <").unwrap();
    let (id, picture) = picture.split_once('>').unwrap();
    assert!(
        page.replace("=\r\n", "").contains(&format!("src=3D\"cid:{id}\"")),
        "{page}"
    );
    assert!(
        picture.starts_with("\r\nContent-Disposition: inline; filename=\"chart.png\""),
        "{picture}"
    );
    let (_, picture) = picture.split_once("base64\r\n\r\n").unwrap();
    let (picture, _) = picture.split_once("--=_").unwrap();
    use base64::Engine as _;
    let picture = base64::engine::general_purpose::STANDARD.decode(picture.replace("\r\n", ""));
    assert_eq!(picture.ok(), crate::notify::chart::picture(&trend));
}

#[tokio::test]
async fn the_same_news_has_the_same_message_id_and_a_group_one_thread() {
    let (port, heard) = start(Manners::default()).await;
    let mail = Mail::new(draft(port)).unwrap();
    let mut over = message();
    over.alerts[0].ends_ms = Some(NOW);
    for (message, key) in [(&message(), "key-1"), (&message(), "key-1"), (&over, "key-2")] {
        mail.send(message, None, key, NOW, Duration::from_secs(10)).await;
    }
    let letters = heard.letters.lock().unwrap().clone();
    let header = |letter: &str, name: &str| {
        let line = letter.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    let ids: Vec<String> = letters.iter().map(|letter| header(letter, "Message-ID: ")).collect();
    assert!(
        ids[0] == ids[1] && ids[1] != ids[2] && ids[0].ends_with("@example.org>"),
        "{ids:?}"
    );
    let threads: Vec<String> = letters.iter().map(|letter| header(letter, "References: ")).collect();
    assert!(threads[0] == threads[1] && threads[1] == threads[2], "{threads:?}");
}

#[tokio::test]
async fn a_login_is_sent_under_tls_only_and_shown_nowhere() {
    let (authorities, acceptor) = certificates();
    for (implicit, offers, identity, expected) in [
        (
            false,
            "AUTH LOGIN PLAIN",
            None,
            vec!["tls AUTH PLAIN AGFsZXJ0cwBwYXNzOnc0cmQ="],
        ),
        (
            true,
            "AUTH PLAIN",
            None,
            vec!["tls AUTH PLAIN AGFsZXJ0cwBwYXNzOnc0cmQ="],
        ),
        (
            true,
            "AUTH PLAIN",
            Some("boss"),
            vec!["tls AUTH PLAIN Ym9zcwBhbGVydHMAcGFzczp3NHJk"],
        ),
        (
            false,
            "AUTH LOGIN CRAM-MD5",
            None,
            vec!["tls AUTH LOGIN", "tls YWxlcnRz", "tls cGFzczp3NHJk"],
        ),
    ] {
        let (port, heard) = start(Manners {
            acceptor: Some(acceptor.clone()),
            implicit,
            offers: vec![offers],
            ..Manners::default()
        })
        .await;
        let wanted = MailDraft {
            require_tls: true,
            force_implicit_tls: Some(implicit),
            auth_username: Some("alerts".to_owned()),
            auth_password: Some(Secret::new("pass:w4rd")),
            auth_identity: identity.map(str::to_owned),
            authorities: Some(authorities.clone().into_bytes()),
            ..draft(port)
        };
        let shown = format!("{wanted:?} {:?}", Mail::new(wanted.clone()).unwrap());
        assert!(!shown.contains("w4rd"), "{shown}");
        let ended = send(wanted).await;
        assert_eq!(
            (ended.verdict, ended.text.as_str()),
            (Verdict::Delivered, ""),
            "{offers}"
        );
        let lines = heard.lines();
        let login: Vec<&String> = lines
            .iter()
            .skip_while(|line| !line.contains("AUTH"))
            .take(expected.len())
            .collect();
        assert_eq!(login, expected.iter().collect::<Vec<_>>());
        let plain: Vec<&String> = lines.iter().filter(|line| !line.starts_with("tls ")).collect();
        let before: &[&str] = if implicit { &[] } else { &["EHLO localhost", "STARTTLS"] };
        assert_eq!(plain, before, "nothing but this goes over the line as it is");
    }
}

#[tokio::test]
async fn tls_that_cannot_be_trusted_or_is_not_offered_keeps_the_letter_back() {
    let (_, acceptor) = certificates();
    let (other, _) = certificates();
    let (port, heard) = start(Manners {
        acceptor: Some(acceptor),
        ..Manners::default()
    })
    .await;
    let wanted = |port| MailDraft {
        require_tls: true,
        authorities: Some(other.clone().into_bytes()),
        ..draft(port)
    };
    let ended = send(wanted(port)).await;
    assert_eq!(ended.verdict, Verdict::Later(None));
    assert!(ended.text.contains("invalid peer certificate"), "{}", ended.text);
    let (port, plain) = start(Manners::default()).await;
    let ended = send(wanted(port)).await;
    assert_eq!(ended.verdict, Verdict::Later(None));
    assert!(ended.text.contains("does not offer STARTTLS"), "{}", ended.text);
    for heard in [heard, plain] {
        assert!(heard.letters.lock().unwrap().is_empty());
        assert!(
            heard.lines().iter().all(|line| !line.contains("MAIL")),
            "{:?}",
            heard.lines()
        );
    }
}

/// lettre by itself would take it for the server's answer to EHLO, and be one answer behind from then on.
#[tokio::test]
async fn a_word_that_was_slipped_in_before_tls_does_not_count_as_the_server_s_own() {
    let (authorities, acceptor) = certificates();
    let (port, heard) = start(Manners {
        acceptor: Some(acceptor),
        answers: vec![("STARTTLS", "220 go on\r\n250 slipped in")],
        ..Manners::default()
    })
    .await;
    let ended = send(MailDraft {
        require_tls: true,
        authorities: Some(authorities.into_bytes()),
        ..draft(port)
    })
    .await;
    assert_eq!(ended.verdict, Verdict::Later(None), "{}", ended.text);
    assert!(ended.text.contains("broke off after STARTTLS"), "{}", ended.text);
    assert_eq!(heard.lines(), ["EHLO localhost", "STARTTLS"]);
}

#[tokio::test]
async fn answers_mean_later_or_never_by_their_first_digit() {
    for (at, answer, verdict, text) in [
        (
            "connect",
            "421 too busy",
            Verdict::Later(None),
            "421 too busy to connecting",
        ),
        ("connect", "554 no", Verdict::Refused, "554 no to connecting"),
        (
            "connect",
            "SSH-2.0-OpenSSH_9.2",
            Verdict::Later(None),
            "does not speak SMTP",
        ),
        ("connect", "", Verdict::Later(None), "does not speak SMTP"),
        (
            "MAIL",
            "451 4.7.1 later",
            Verdict::Later(None),
            "451 4.7.1 later to the sender",
        ),
        (
            "MAIL",
            "550-not\r\n550 from you",
            Verdict::Refused,
            "550 not from you to the sender",
        ),
        ("RCPT", "450 grey", Verdict::Later(None), "450 grey to a recipient"),
        ("RCPT", "550 nobody", Verdict::Refused, "550 nobody to every recipient"),
        ("DATA", "", Verdict::Later(None), "gave no whole answer to DATA"),
        // A yes to something else is none to the letter.
        ("DATA", "250 what?", Verdict::Later(None), "250 is no answer to that"),
        ("letter", "354 go on", Verdict::Later(None), "354 is no answer to that"),
        ("letter", "552 too long", Verdict::Refused, "552 too long to the letter"),
        ("letter", "452 full", Verdict::Later(None), "452 full to the letter"),
        ("letter", "", Verdict::Later(None), "gave no whole answer to the letter"),
    ] {
        let (port, _) = start(Manners {
            answers: vec![(at, answer)],
            ..Manners::default()
        })
        .await;
        let ended = send(draft(port)).await;
        assert_eq!(ended.verdict, verdict, "{at} {answer}: {}", ended.text);
        assert!(ended.text.contains(text), "{at} {answer}: {}", ended.text);
        let code = answer.get(..3).and_then(|code| code.parse().ok());
        let refused = code.filter(|code| *code >= 400);
        assert_eq!(ended.status, refused, "{at} {answer}");
    }
}

#[tokio::test]
async fn a_refused_login_says_what_to_check_and_repeats_nothing() {
    let (port, _) = start(Manners {
        offers: vec!["AUTH PLAIN"],
        answers: vec![("AUTH", "535 5.7.8 pass:w4rd is wrong")],
        ..Manners::default()
    })
    .await;
    let wanted = |port| MailDraft {
        auth_username: Some("alerts".to_owned()),
        auth_password: Some(Secret::new("pass:w4rd")),
        ..draft(port)
    };
    let ended = send(wanted(port)).await;
    assert_eq!((ended.verdict, ended.status), (Verdict::Refused, Some(535)));
    assert!(
        ended
            .text
            .ends_with("answered 535 to the login: check auth_username and auth_password"),
        "{}",
        ended.text
    );
    let (port, _) = start(Manners::default()).await;
    let ended = send(wanted(port)).await;
    assert_eq!(ended.verdict, Verdict::Refused);
    assert!(ended.text.contains("no way to log in"), "{}", ended.text);
}

#[tokio::test]
async fn one_whom_the_server_does_not_know_keeps_nobody_else_waiting() {
    let (port, heard) = start(Manners {
        answers: vec![("RCPT TO:<eva", "550 nobody of that name")],
        ..Manners::default()
    })
    .await;
    let ended = send(draft(port)).await;
    assert_eq!(ended.verdict, Verdict::Delivered);
    assert!(
        ended
            .text
            .ends_with("does not take mail for eva@example.net (550 nobody of that name)"),
        "{}",
        ended.text
    );
    assert_eq!(heard.letters.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = Mail::new(draft(listener.local_addr().unwrap().port())).unwrap();
    let ended = mail
        .send(&message(), None, "key-1", NOW, Duration::from_millis(50))
        .await;
    assert_eq!(ended.verdict, Verdict::Later(None));
    assert!(ended.text.ends_with("was not done within 0.05 s"), "{}", ended.text);
    drop(listener);
}

#[test]
fn what_cannot_be_sent_is_refused_when_it_is_configured() {
    fn check(change: impl FnOnce(&mut MailDraft), problem: &str) {
        let mut wanted = draft(25);
        change(&mut wanted);
        assert_eq!(Mail::new(wanted).unwrap_err().to_string(), problem);
    }
    let address = |key: &str, text: &str| {
        format!("{key} must be an address like ops@example.net (a local part and a domain in ASCII), not {text:?}")
    };
    for to in [
        "",
        "ops",
        "ops@",
        "a@b@c",
        "ops@exa mple.net",
        "ops@example.net>\r\nRCPT TO:<x@y",
        "höst@example.net",
    ] {
        check(|draft| draft.to = to.to_owned(), &address("to", to));
    }
    check(|draft| draft.from = "a@b, c@d".to_owned(), &address("from", "a@b, c@d"));
    check(
        |draft| draft.smarthost = "mail.example.net".to_owned(),
        "smarthost must be HOST:PORT, like mail.example.net:587, not \"mail.example.net\"",
    );
    check(
        |draft| draft.smarthost = "mail.example.net:25".to_owned(),
        "require_tls: false is for a mail server on this machine; \"mail.example.net\" is not (localhost, 127.0.0.0/8, ::1)",
    );
    check(
        |draft| draft.auth_username = Some("u".to_owned()),
        "auth_username and auth_password must both be given, or neither",
    );
    check(
        |draft| draft.hello = Some("a b".to_owned()),
        "hello must be a host's name, not \"a b\"",
    );
    check(
        |draft| draft.headers = vec![("X-A".to_owned(), "a\r\nBcc: b".to_owned())],
        "header \"X-A\" cannot be set: its value holds a line break or another control character",
    );
    check(
        |draft| draft.headers = vec![("content-type".to_owned(), "text/html".to_owned())],
        "header \"content-type\" cannot be set: it is made for each letter",
    );
    check(
        |draft| {
            draft.require_tls = true;
            draft.authorities = Some(b"nothing".to_vec());
        },
        "TLS for mail: ca_file holds no certificate in PEM form",
    );
}

#[test]
fn a_receiver_shows_its_server_and_nothing_else() {
    let mail = Mail::new(MailDraft {
        headers: vec![("Subject".to_owned(), "ours".to_owned())],
        ..draft(2525)
    });
    let receiver = Receiver::new("mail", Channel::Email(Box::new(mail.unwrap()))).unwrap();
    assert_eq!((receiver.kind(), receiver.place()), ("email", "smtp://127.0.0.1:2525"));
}

#[test]
fn a_letter_in_words_of_its_own_keeps_its_links_and_its_thread() {
    let text = "
global: {smtp_from: a@example.net, smtp_smarthost: 'localhost:25', smtp_require_tls: false}
route: {receiver: team}
receivers:
- name: team
  email_configs:
  - to: b@example.net
    headers: {Subject: '{{ .Status | toUpper }}: {{ .CommonAnnotations.summary }}', X-Host: '{{ .CommonLabels.host }}', X-None: '{{ .CommonLabels.none }}', X-Fixed: ops}
    html: '<html><body class=\"x\"><p>{{ .CommonAnnotations.summary }}</p></body></html>'
    text: '{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}'
";
    let read = crate::notify::load_configuration(text, std::path::Path::new("a.yml")).unwrap();
    assert_eq!(read.warnings, Vec::<String>::new());
    let receiver = &read.receivers[0];
    let crate::notify::Channel::Email(mail) = &receiver.channel else {
        panic!("mail")
    };
    let mut told = message();
    told.instead_of = Some("pager".to_owned());
    told.answer = Some("https://foreshock.example/answer?t=x".to_owned());
    let letter = |words: Option<&crate::notify::wording::Words>| {
        let letter = letter::compose(mail, &told, words, "key-1", NOW).unwrap();
        String::from_utf8(letter).unwrap()
    };
    let words = receiver.wording.as_ref().unwrap().say(&told, NOW).unwrap();
    let (own, ours) = (letter(Some(&words)), letter(None));
    let header = |letter: &str, name: &str| -> Option<String> {
        let (head, _) = letter.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ");
        let found = unfolded
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.map(str::to_owned)
    };
    for name in ["Message-ID", "References", "X-Foreshock-Key"] {
        assert!(header(&own, name).is_some());
        assert_eq!(header(&own, name), header(&ours, name), "{name}");
    }
    assert!(header(&own, "Subject").unwrap().starts_with("FIRING: "), "{own}");
    assert_eq!(header(&own, "X-Host").as_deref(), Some("db-1"));
    assert_eq!(header(&own, "X-Fixed").as_deref(), Some("ops"));
    assert_eq!(header(&own, "X-None"), None, "a header without a value is none");
    let (_, parts) = own.split_once("\r\n\r\n").unwrap();
    let bodies = parts.split("--=_").filter_map(|part| part.split_once("\r\n\r\n"));
    let bodies: Vec<String> = bodies.map(|(_, body)| decoded(body)).collect();
    let why = "Sent here because receiver pager cannot be reached.";
    assert!(bodies[0].starts_with(&format!("{why}\r\n\r\n")), "{}", bodies[0]);
    assert!(bodies[0].contains("Acknowledge: https://foreshock.example/answer?t=x#acknowledge"));
    let page = &bodies[1];
    assert!(
        page.starts_with(&format!("<html><body class=\"x\"><p>{why}</p><p>")),
        "{page}"
    );
    assert!(page.contains("größer als &lt;sonst&gt;"), "{page}");
    let (_, doors) = page.split_once("</p><p><a href=").unwrap();
    assert!(doors.trim_end().ends_with("</a></p></body></html>"), "{page}");
}
