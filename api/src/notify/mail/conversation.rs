//! One conversation with a mail server, led by lettre. What lettre leaves open is decided here: how TLS begins, that one recipient
//! who is refused keeps nobody else waiting, and which answers count as a yes.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Tls};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::notify::receiver::Secret;

/// A server that takes mail.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// What this machine calls itself.
    pub(super) hello: ClientId,
    pub(super) tls: Tls,
    pub(super) login: Option<Login>,
}

#[derive(Debug, Clone)]
pub(super) struct Login {
    /// Whom to act for; the user where it is empty.
    pub(super) identity: String,
    pub(super) user: String,
    pub(super) password: Secret,
}

/// A letter that the server answers for now.
pub(super) struct Taken {
    /// Those for whom it does not take mail at all, with what it said.
    pub(super) refused: Vec<(String, String)>,
    /// Still open; it can be told goodbye, whatever becomes of that.
    pub(super) connection: AsyncSmtpConnection,
}

/// Why a letter was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection, or no longer.
    Broken { step: &'static str, text: String },
    /// What came is no answer of SMTP, or not a whole one.
    NoSmtp { step: &'static str, text: String },
    /// TLS is wanted and not offered.
    NoTls,
    /// There is no common way to log in.
    NoLogin,
    /// The login was not accepted.
    Login { code: u16 },
    /// The server said no.
    Said {
        step: &'static str,
        code: u16,
        text: String,
    },
}

/// The first step, at which an address that is wrong shows.
pub(super) const CONNECTING: &str = "connecting";

/// Hands `letter` over. Those whom the server takes no mail for at all are left out, as long as somebody remains; one who may
/// be tried later makes the whole letter wait, so that nobody gets it twice.
pub(super) async fn deliver(server: &Server, from: &Address, to: &[Address], letter: &[u8]) -> Result<Taken, Failure> {
    let mut connection = greeted(server).await?;
    say(
        &mut connection,
        "the sender",
        Mail::new(Some(from.clone()), Vec::new()),
        2,
    )
    .await?;
    let mut refused = Vec::new();
    for address in to {
        let asked = say(
            &mut connection,
            "a recipient",
            Rcpt::new(address.clone(), Vec::new()),
            2,
        )
        .await;
        match asked {
            Err(Failure::Said {
                code: code @ 500..600,
                text,
                ..
            }) => refused.push((address.to_string(), code, text)),
            asked => drop(asked?),
        }
    }
    if refused.len() == to.len()
        && let Some((_, code, text)) = refused.pop()
    {
        return Err(Failure::Said {
            step: "every recipient",
            code,
            text,
        });
    }
    say(&mut connection, "DATA", Data, 3).await?;
    expect("the letter", connection.message(letter).await, 2)?;
    let refused = refused
        .into_iter()
        .map(|(address, code, text)| (address, format!("{code} {text}")))
        .collect();
    Ok(Taken { refused, connection })
}

/// A conversation in which greetings are exchanged, TLS stands and the login is done, as far as they are wanted.
async fn greeted(server: &Server) -> Result<AsyncSmtpConnection, Failure> {
    let (place, hello) = ((server.host.as_str(), server.port), &server.hello);
    let mut connection = match &server.tls {
        Tls::Required(parameters) => {
            let stream = TcpStream::connect(place).await.map_err(|error| Failure::Broken {
                step: CONNECTING,
                text: error.to_string(),
            })?;
            let connected = AsyncSmtpConnection::connect_with_transport(Box::new(LineByLine(stream)), hello);
            let mut connection = connected.await.map_err(|error| failure(CONNECTING, &error))?;
            if !connection.can_starttls() {
                return Err(Failure::NoTls);
            }
            connection
                .starttls(parameters.clone(), hello)
                .await
                .map_err(|error| failure("STARTTLS", &error))?;
            connection
        }
        tls => {
            let parameters = match tls {
                Tls::Wrapper(parameters) => Some(parameters.clone()),
                _ => None,
            };
            AsyncSmtpConnection::connect_tokio1(place, None, hello, parameters, None)
                .await
                .map_err(|error| failure(CONNECTING, &error))?
        }
    };
    if let Some(login) = &server.login {
        log_in(&mut connection, login).await?;
    }
    Ok(connection)
}

async fn log_in(connection: &mut AsyncSmtpConnection, login: &Login) -> Result<(), Failure> {
    const WAYS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
    const STEP: &str = "the login";
    let Some(way) = connection.server_info().get_auth_mechanism(&WAYS) else {
        return Err(Failure::NoLogin);
    };
    let password = login.password.reveal();
    let answered = match way {
        Mechanism::Plain if !login.identity.is_empty() => {
            let said = format!("{}\0{}\0{password}", login.identity, login.user);
            let line = format!("AUTH PLAIN {}\r\n", BASE64.encode(said));
            connection.command(line).await
        }
        way => {
            let credentials = Credentials::new(login.user.clone(), password.to_owned());
            connection.auth(&[way], &credentials).await
        }
    };
    if answered.as_ref().is_err_and(Error::is_client) {
        // It asks for something else than user and password.
        return Err(Failure::NoLogin);
    }
    match expect(STEP, answered, 2) {
        Ok(_) => Ok(()),
        // What is said to a login may repeat it.
        Err(Failure::Said { code, .. }) => Err(Failure::Login { code }),
        Err(failure) => Err(failure),
    }
}

/// Says a command that is to be answered by a code of this hundred.
async fn say(
    connection: &mut AsyncSmtpConnection,
    step: &'static str,
    command: impl fmt::Display,
    hundred: u16,
) -> Result<Response, Failure> {
    expect(step, connection.command(command).await, hundred)
}

/// lettre takes 2xx and 3xx for a yes alike; a letter must not count as taken because somebody answers out of turn.
fn expect(step: &'static str, answered: Result<Response, Error>, hundred: u16) -> Result<Response, Failure> {
    let response = answered.map_err(|error| failure(step, &error))?;
    let code = u16::from(response.code());
    if code / 100 == hundred {
        return Ok(response);
    }
    Err(Failure::NoSmtp {
        step,
        text: format!("{code} is no answer to that"),
    })
}

fn failure(step: &'static str, error: &Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = match error.source() {
        Some(_) => cause.to_string(),
        None => String::new(),
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match error.status() {
        Some(code) => Failure::Said {
            step,
            code: code.into(),
            text,
        },
        None if error.is_response() => Failure::NoSmtp { step, text },
        None => Failure::Broken { step, text },
    }
}

/// A connection of which no more than a line is read at once. lettre goes on reading from the buffer that it had before TLS began:
/// what somebody on the way slipped in behind the answer to STARTTLS would be taken for the server's own answer under TLS. Here it
/// stays on the line, where TLS finds it and fails.
#[derive(Debug)]
struct LineByLine(TcpStream);

impl AsyncTokioStream for LineByLine {
    fn peer_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.0.peer_addr()
    }
}

impl AsyncRead for LineByLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let most = bytes.len().min(buffer.remaining());
        let mut ahead = ReadBuf::new(&mut bytes[..most]);
        ready!(self.0.poll_peek(context, &mut ahead))?;
        let ahead = ahead.filled();
        let count = ahead
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(ahead.len(), |at| at + 1);
        let mut line = ReadBuf::new(&mut bytes[..count]);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut line))?;
        buffer.put_slice(line.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineByLine {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
