//! What operators did: each request that changes something on purpose becomes a row of the table `audit`, synced before it is answered.
//!
//! Telemetry that comes in is no such thing, nor is what the server does by itself.

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use store::table::Table;
use store::table::audit::AuditRecord;

use crate::access::ShownToken;
use crate::answer;
use crate::app::App;
use crate::params::{DEFAULT_TENANT, tenant_of};
use crate::problem::Problem;
use crate::work::blocking;

/// Bodies up to this are recorded as they are; of longer ones it is said that they are not.
const BODY_BYTES_MAX: usize = 16 << 10;

/// A route that changes something.
struct Action {
    path: &'static str,
    methods: &'static [Method],
    /// What it is called in the table.
    name: &'static str,
    /// Whether parameters and body are written down; not where they hold what lets somebody in.
    is_open: bool,
}

const POST: &[Method] = &[Method::POST];
const POST_PUT: &[Method] = &[Method::POST, Method::PUT];
const PATCH: &[Method] = &[Method::PATCH];
const DELETE: &[Method] = &[Method::DELETE];

const fn open(path: &'static str, methods: &'static [Method], name: &'static str) -> Action {
    Action {
        path,
        methods,
        name,
        is_open: true,
    }
}

/// What is recorded.
static ACTIONS: [Action; 23] = [
    open("/api/v1/incidents", POST, "incident.declare"),
    open("/api/v1/incidents/{id}", PATCH, "incident.change"),
    open("/api/v1/incidents/{id}", DELETE, "incident.delete"),
    open("/api/v1/models/{id}/promote", POST, "model.promote"),
    open("/api/v1/models/rollback", POST, "model.rollback"),
    open("/api/v1/alerts/{fingerprint}/acknowledge", POST, "alert.acknowledge"),
    open("/api/v1/alerts/{fingerprint}/acknowledge", DELETE, "alert.release"),
    Action {
        path: answer::PATH,
        methods: POST,
        name: "alert.answer",
        // The link lets in.
        is_open: false,
    },
    open("/api/v1/deliveries/dead/{id}/retry", POST, "delivery.retry"),
    open("/api/v1/receivers/{id}/test", POST, "receiver.test"),
    open("/api/v1/silences", POST, "silence.create"),
    open("/api/v1/silences/{id}", DELETE, "silence.end"),
    open("/api/v2/silences", POST, "silence.create"),
    open("/api/v2/silence/{id}", DELETE, "silence.end"),
    open("/config/v1/rules/{namespace}", POST, "rules.put"),
    open("/config/v1/rules/{namespace}", DELETE, "rules.delete"),
    open("/config/v1/rules/{namespace}/{group}", DELETE, "rules.delete"),
    open("/api/v1/agents/revoke", POST, "agent.revoke"),
    open("/api/v1/tenants/{name}", DELETE, "tenant.delete"),
    open("/api/v1/admin/store/backup", POST, "store.backup"),
    open("/api/v1/admin/tsdb/snapshot", POST_PUT, "store.backup"),
    open("/api/v1/admin/tsdb/delete_series", POST_PUT, "samples.delete"),
    open("/api/v1/admin/tsdb/clean_tombstones", POST_PUT, "samples.clean"),
];

/// What a handler says of what was done, where the request does not show it: an extension of its answer.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) tenant: String,
    pub(crate) actor: String,
    /// In words.
    pub(crate) said: String,
}

/// Whose data a request is about, as its handler reads it, who alone knows what a form says: an extension of the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whose(Arc<OnceLock<String>>);

impl Whose {
    /// Where a row is made of `request`.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        request.extensions().get().cloned()
    }

    /// Says it; what is said first holds.
    pub(crate) fn tell(&self, tenant: &str) {
        self.0.get_or_init(|| tenant.to_owned());
    }
}

/// Lets a request through and records what it came to, where it is one of [`ACTIONS`].
pub(crate) async fn record(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some((action, object)) = action(&request) else {
        return next.run(request).await;
    };
    let at_ms = app.now();
    let mut tenant = tenant_of(request.headers(), request.uri()).unwrap_or_else(|_| DEFAULT_TENANT.to_owned());
    let shown = request.extensions().get::<ShownToken>();
    let mut actor = shown.map(|ShownToken(token)| format!("{} ({})", token.name, token.id));
    let mut detail: Vec<(&'static str, String)> = Vec::new();
    let mut request = request;
    if action.is_open {
        if let Some(query) = request.uri().query() {
            detail.push(("query", query.to_owned()));
        }
        request = match with_body(request, &mut detail).await {
            Ok(request) => request,
            Err(problem) => return problem.into_response(),
        };
    }
    let whose = Whose::default();
    request.extensions_mut().insert(whose.clone());
    let mut response = next.run(request).await;
    if let Some(said) = whose.0.get() {
        said.clone_into(&mut tenant);
    }
    let status = response.status();
    if let Some(done) = response.extensions_mut().remove::<Done>() {
        (tenant, actor) = (done.tenant, Some(done.actor));
        detail.push(("said", done.said));
    }
    let action = action.name;
    let written = blocking(move || {
        let record = AuditRecord {
            timestamp_ns: at_ms.saturating_mul(1_000_000),
            actor: actor.as_deref(),
            action,
            object: object.as_deref(),
            outcome: outcome(status),
            status: status.as_u16(),
            detail: &detail,
        };
        let tenants = app.tenants();
        // What was done to a tenant that is no more, or never was, is told to the operator of all.
        let store = match tenants.get(&tenant) {
            Some(store) => store,
            None => tenants.get_or_create(DEFAULT_TENANT)?,
        };
        Ok(store.append_rows(Table::Audit, None, record.row()?)?)
    });
    if let Err(problem) = written.await {
        // It is done, and cannot be undone for want of a row.
        tracing::error!(action, %status, error = problem.detail(), "what an operator did could not be recorded");
    }
    response
}

/// What a request asks for, and which one it is about.
fn action(request: &Request) -> Option<(&'static Action, Option<String>)> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    let found = ACTIONS
        .iter()
        .find(|action| action.path == route && action.methods.contains(request.method()))?;
    let segments = route.split('/').zip(request.uri().path().split('/'));
    let object = segments
        .filter(|(name, _)| name.starts_with('{'))
        .map(|(_, value)| value);
    let object: Vec<&str> = object.collect();
    Some((found, (!object.is_empty()).then(|| object.join("/"))))
}

/// The request again, with its body written down.
async fn with_body(request: Request, detail: &mut Vec<(&'static str, String)>) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    // Where the length is not known before it has come, or it is too long, the handler alone reads it.
    let length = body.size_hint().exact();
    if length.is_none_or(|length| length > BODY_BYTES_MAX as u64) {
        detail.push(("body", "too long to be recorded, or of no known length".to_owned()));
        return Ok(Request::from_parts(parts, body));
    }
    let bytes: Bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        Problem::invalid("the body is cut off, or longer than the length that was announced")
            .hint("send Content-Length, and a body of that length")
    })?;
    if !bytes.is_empty() {
        detail.push(("body", String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn outcome(status: StatusCode) -> &'static str {
    if status.is_server_error() {
        "failed"
    } else if status.is_client_error() {
        "refused"
    } else {
        "done"
    }
}
