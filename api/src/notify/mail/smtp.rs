//! One conversation with a mail server.

use std::fmt;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use crate::notify::receiver::Secret;

/// A server that takes mail.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// What this machine calls itself.
    pub(super) hello: String,
    pub(super) security: Security,
    pub(super) login: Option<Login>,
}

#[derive(Debug, Clone)]
pub(super) enum Security {
    /// None at all.
    None,
    /// TLS once both have greeted; nothing is said without.
    StartTls {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    },
    /// TLS from the first byte.
    Implicit {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) identity: String,
    pub(super) user: String,
    pub(super) password: Secret,
}

/// What a server answered: a code, and its lines in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.lines.join(" ");
        let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(out, "{} {}", self.code, words.trim())
    }
}

/// A letter that the server answers for now.
#[derive(Debug)]
pub(super) struct Taken {
    /// Those for whom it does not take mail at all.
    pub(super) refused: Vec<(String, Reply)>,
}

/// Why a letter was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    Connect(io::Error),
    /// The connection broke.
    Broken {
        step: &'static str,
        error: io::Error,
    },
    /// What came is no answer of SMTP.
    NoSmtp {
        step: &'static str,
    },
    NoTls,
    NoLogin,
    /// The login was not accepted.
    Login {
        code: u16,
    },
    /// The server said no.
    Said {
        step: &'static str,
        reply: Reply,
    },
}

/// RFC 5321, section 4.5.3.1.5, asks for 512 bytes a line; some send more.
const LINE_MAX: usize = 4096;
const LINES_MAX: usize = 100;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Talk {
    stream: Box<dyn Stream>,
    /// Read, and not looked at yet.
    unread: Vec<u8>,
}

/// Hands `letter` over. Those whom the server takes no mail for at all are left out, as long as somebody remains; one who may
/// be tried later makes the whole letter wait, so that nobody gets it twice.
pub(super) async fn deliver(server: &Server, from: &Address, to: &[Address], letter: &str) -> Result<Taken, Failure> {
    let mut talk = greeted(server).await?;
    talk.expect("the sender", &format!("MAIL FROM:<{from}>"), 2).await?;
    let mut refused: Vec<(String, Reply)> = Vec::new();
    for address in to {
        let reply = talk.ask("a recipient", &format!("RCPT TO:<{address}>")).await?;
        match reply.code / 100 {
            2 => {}
            5 => refused.push((address.to_string(), reply)),
            _ => {
                return Err(Failure::Said {
                    step: "a recipient",
                    reply,
                });
            }
        }
    }
    if refused.len() == to.len()
        && let Some((_, reply)) = refused.pop()
    {
        return Err(Failure::Said {
            step: "every recipient",
            reply,
        });
    }
    talk.expect("DATA", "DATA", 3).await?;
    talk.write("the letter", &stuffed(letter)).await?;
    let reply = talk.reply("the letter").await?;
    if reply.code / 100 != 2 {
        return Err(Failure::Said {
            step: "the letter",
            reply,
        });
    }
    // It answers for the letter now, whatever becomes of the goodbye.
    talk.write("QUIT", "QUIT\r\n").await.ok();
    Ok(Taken { refused })
}

/// A conversation in which greetings are exchanged, TLS stands and the login is done, as far as they are wanted.
async fn greeted(server: &Server) -> Result<Talk, Failure> {
    let stream = TcpStream::connect((server.host.as_str(), server.port))
        .await
        .map_err(Failure::Connect)?;
    let mut talk = Talk::over(Box::new(stream));
    if let Security::Implicit { config, name } = &server.security {
        talk = talk.encrypted(config, name).await?;
    }
    let greeting = talk.reply("connecting").await?;
    if greeting.code / 100 != 2 {
        return Err(Failure::Said {
            step: "connecting",
            reply: greeting,
        });
    }
    let hello = format!("EHLO {}", server.hello);
    let mut offers = talk.expect("EHLO", &hello, 2).await?;
    if let Security::StartTls { config, name } = &server.security {
        if !offers
            .lines
            .iter()
            .any(|line| line.trim().eq_ignore_ascii_case("STARTTLS"))
        {
            return Err(Failure::NoTls);
        }
        talk.expect("STARTTLS", "STARTTLS", 2).await?;
        // Answers that came before TLS would be taken for the server's own.
        if !talk.unread.is_empty() {
            return Err(Failure::NoSmtp { step: "STARTTLS" });
        }
        talk = talk.encrypted(config, name).await?;
        offers = talk.expect("EHLO", &hello, 2).await?;
    }
    if let Some(login) = &server.login {
        talk.log_in(login, &offers).await?;
    }
    Ok(talk)
}

impl Talk {
    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    async fn encrypted(self, config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Self, Failure> {
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), self.stream).await;
        Ok(Self::over(Box::new(stream.map_err(|error| Failure::Broken {
            step: "the beginning of TLS",
            error,
        })?)))
    }

    async fn log_in(&mut self, login: &Login, offers: &Reply) -> Result<(), Failure> {
        let offered = |wanted: &str| {
            let ways = offers.lines.iter().filter_map(|line| {
                let (keyword, ways) = line.trim().split_at_checked(4)?;
                // Old servers put an equals sign there.
                (keyword.eq_ignore_ascii_case("AUTH") && ways.starts_with([' ', '='])).then(|| &ways[1..])
            });
            ways.flat_map(str::split_whitespace)
                .any(|way| way.eq_ignore_ascii_case(wanted))
        };
        let password = login.password.reveal();
        let code = if offered("PLAIN") {
            let plain = format!("{}\0{}\0{password}", login.identity, login.user);
            let said = format!("AUTH PLAIN {}", BASE64.encode(plain));
            self.ask("the login", &said).await?.code
        } else if offered("LOGIN") {
            let mut code = self.ask("the login", "AUTH LOGIN").await?.code;
            for part in [login.user.as_str(), password] {
                if code == 334 {
                    code = self.ask("the login", &BASE64.encode(part)).await?.code;
                }
            }
            code
        } else {
            return Err(Failure::NoLogin);
        };
        if code / 100 == 2 {
            Ok(())
        } else {
            Err(Failure::Login { code })
        }
    }

    /// Says a line that is to be answered by a code of this hundred.
    async fn expect(&mut self, step: &'static str, line: &str, hundred: u16) -> Result<Reply, Failure> {
        let reply = self.ask(step, line).await?;
        if reply.code / 100 == hundred {
            Ok(reply)
        } else {
            Err(Failure::Said { step, reply })
        }
    }

    async fn ask(&mut self, step: &'static str, line: &str) -> Result<Reply, Failure> {
        self.write(step, &format!("{line}\r\n")).await?;
        self.reply(step).await
    }

    async fn write(&mut self, step: &'static str, text: &str) -> Result<(), Failure> {
        let broken = |error| Failure::Broken { step, error };
        self.stream.write_all(text.as_bytes()).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    async fn reply(&mut self, step: &'static str) -> Result<Reply, Failure> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(step).await?;
            let (code, rest) = line.split_at_checked(3).ok_or(Failure::NoSmtp { step })?;
            let code: u16 = code
                .parse()
                .ok()
                .filter(|code| (200..600).contains(code))
                .ok_or(Failure::NoSmtp { step })?;
            let goes_on = rest.starts_with('-');
            if !(goes_on || rest.is_empty() || rest.starts_with(' ')) || lines.len() >= LINES_MAX {
                return Err(Failure::NoSmtp { step });
            }
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            if !goes_on {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn line(&mut self, step: &'static str) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.unread.len() > LINE_MAX {
                return Err(Failure::NoSmtp { step });
            }
            let mut some = [0; 1024];
            let count = self.stream.read(&mut some).await;
            match count.map_err(|error| Failure::Broken { step, error })? {
                0 => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(Failure::Broken { step, error });
                }
                count => self.unread.extend_from_slice(&some[..count]),
            }
        }
    }
}

/// The letter as it goes over the line: a dot before each line that begins with one, and one alone at the end.
fn stuffed(letter: &str) -> String {
    let mut stuffed = String::with_capacity(letter.len() + 16);
    for line in letter.split_inclusive("\r\n") {
        if line.starts_with('.') {
            stuffed.push('.');
        }
        stuffed.push_str(line);
    }
    if !stuffed.ends_with("\r\n") {
        stuffed.push_str("\r\n");
    }
    stuffed + ".\r\n"
}
