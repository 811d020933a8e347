//! Blocking HTTP to a running server, with its problem answers turned into errors that say what to do.

use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::WithBody;

/// A server, and the tenant that is meant.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    tenant: String,
    /// The value of `Authorization`.
    credential: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// What became of a body.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The answer.
    Taken(serde_json::Value),
    /// The server wants it again after this time, and says why.
    Later(Duration, String),
}

/// Where commands find the server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerArguments {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:9750", value_name = "URL")]
    pub(crate) server: String,
    /// The tenant that is meant.
    #[arg(long, default_value = "default")]
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) access: AccessArguments,
}

/// As whom commands speak to a server, and whom they believe to be it.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct AccessArguments {
    /// A token, for a server that wants one; in the environment `ps` does not show it.
    #[arg(long, env = "FORESHOCK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// File of certificates (PEM) that alone may vouch for the server, such as `tls/ca.pem` in its data directory.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl fmt::Debug for AccessArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_struct("AccessArguments")
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl ServerArguments {
    pub(crate) fn client(&self) -> Result<Client> {
        Client::with(&self.server, &self.tenant, &self.access)
    }
}

impl Client {
    /// A client of a server that asks nobody for a token, without TLS.
    pub(crate) fn new(base: &str, tenant: &str) -> Self {
        Self::over(base, tenant, None, TlsConfig::default())
    }

    /// A client with a token, and certificates to believe.
    pub(crate) fn with(base: &str, tenant: &str, access: &AccessArguments) -> Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &access.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let roots: Vec<_> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if roots.is_empty() {
                bail!("{} holds no certificate in PEM", path.display());
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let credential = access.token.as_ref().map(|token| format!("Bearer {}", token.trim()));
        Ok(Self::over(base, tenant, credential, tls.build()))
    }

    fn over(base: &str, tenant: &str, credential: Option<String>, tls: TlsConfig) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(300)))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Self {
            agent: config.into(),
            base: base.trim_end_matches('/').to_owned(),
            tenant: tenant.to_owned(),
            credential,
        }
    }

    /// The request with the tenant's name and, where there is one, the token.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.header("X-Scope-OrgID", &self.tenant);
        match &self.credential {
            Some(credential) => request.header("Authorization", credential),
            None => request,
        }
    }

    /// The JSON answer to a GET.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<serde_json::Value> {
        let mut request = self.signed(self.agent.get(self.url(path)));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let answer = request.call().with_context(|| self.unreachable(path))?;
        json(path, answer)
    }

    /// The JSON answer to a POST of JSON; `null` where the answer has no body.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        self.tell(self.agent.post(self.url(path)), path, body)
    }

    /// The JSON answer to a PATCH of JSON.
    pub(crate) fn patch(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        self.tell(self.agent.patch(self.url(path)), path, body)
    }

    fn tell(
        &self,
        request: ureq::RequestBuilder<WithBody>,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value> {
        let answer = self
            .signed(request)
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .with_context(|| self.unreachable(path))?;
        json(path, answer)
    }

    /// The JSON answer to a POST of a form.
    pub(crate) fn form<V: AsRef<str>>(&self, path: &str, form: &[(&str, V)]) -> Result<serde_json::Value> {
        json(path, self.send_form(path, form)?)
    }

    /// Copies the answer to a POST of a form as it comes. An answer that breaks off is an error.
    pub(crate) fn download(&self, path: &str, form: &[(&str, &str)], out: &mut impl io::Write) -> Result<()> {
        let answer = self.send_form(path, form)?;
        if !answer.status().is_success() {
            return json(path, answer).map(drop);
        }
        let mut body = answer.into_body().into_reader();
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = body
                .read(&mut piece)
                .with_context(|| format!("the answer of {path} broke off; the server's log says why"))?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&piece[..read])?;
        }
    }

    fn send_form<V: AsRef<str>>(&self, path: &str, form: &[(&str, V)]) -> Result<ureq::http::Response<ureq::Body>> {
        self.signed(self.agent.post(self.url(path)))
            .send_form(form.iter().map(|(name, value)| (*name, value.as_ref())))
            .with_context(|| self.unreachable(path))
    }

    /// Asks for something to be deleted.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let answer = self
            .signed(self.agent.delete(self.url(path)))
            .call()
            .with_context(|| self.unreachable(path))?;
        json(path, answer).map(drop)
    }

    /// Sends one OTLP metrics request and waits for its acknowledgement.
    pub(crate) fn export(&self, request: &[u8]) -> Result<()> {
        let path = "/v1/metrics";
        let answer = self
            .signed(self.agent.post(self.url(path)))
            .header("Content-Type", "application/x-protobuf")
            .header("Accept", "application/x-protobuf, application/json")
            .send(request)
            .with_context(|| self.unreachable(path))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            json(path, answer).map(drop)
        }
    }

    /// Sends a body that the server may be too busy for.
    pub(crate) fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Sent> {
        let answer = self
            .signed(self.agent.post(self.url(path)))
            .header("Content-Type", content_type)
            .send(body)
            .with_context(|| self.unreachable(path))?;
        let retry_after = answer.headers().get("retry-after");
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        if let (429 | 503, Some(seconds)) = (answer.status().as_u16(), seconds) {
            let why = match json(path, answer) {
                Ok(_) => String::new(),
                Err(problem) => problem.to_string(),
            };
            // However long it asks for, somebody sits in front of this.
            return Ok(Sent::Later(Duration::from_secs(u64::min(seconds, 30)), why));
        }
        json(path, answer).map(Sent::Taken)
    }

    /// A body of any length, as it comes.
    pub(crate) fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<impl std::io::Read + use<>> {
        let mut request = self.signed(self.agent.get(self.url(path)));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let answer = request
            .config()
            .timeout_global(None)
            .build()
            .call()
            .with_context(|| self.unreachable(path))?;
        if !answer.status().is_success() {
            json(path, answer)?;
            bail!("{path} did not answer with samples");
        }
        Ok(answer.into_body().into_reader())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn unreachable(&self, path: &str) -> String {
        format!(
            "no answer from {}{path}; is `foreshock serve` running there (--server URL)?",
            self.base
        )
    }
}

fn json(path: &str, mut answer: ureq::http::Response<ureq::Body>) -> Result<serde_json::Value> {
    let status = answer.status();
    let text = answer
        .body_mut()
        .read_to_string()
        .with_context(|| format!("the answer of {path} broke off"))?;
    if status.is_success() {
        if text.trim().is_empty() {
            return Ok(serde_json::Value::Null);
        }
        return serde_json::from_str(&text).with_context(|| format!("the answer of {path} is not JSON"));
    }
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said = ["detail", "error", "title"]
        .iter()
        .find_map(|key| problem[*key].as_str())
        .unwrap_or(text.trim());
    match problem["hint"].as_str() {
        Some(hint) => bail!("{path} answered {status}: {said} ({hint})"),
        None => bail!("{path} answered {status}: {said}"),
    }
}
