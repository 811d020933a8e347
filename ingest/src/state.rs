//! What the endpoints share: tenants, limits, permits, caches.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::http::HeaderMap;
use parking_lot::Mutex;
use store::{Store, Tenants, is_tenant_name};
use tokio::sync::{Semaphore, TryAcquireError};

use crate::body::{self, Budget, Coding, Reservation};
use crate::cache::SeriesCache;
use crate::intake::{Intake, Outcome, Stop};
use crate::limits::Limits;
use crate::normalize::OtlpOptions;
use crate::problem::Problem;
use crate::telemetry::{self, Protocol};

/// The header that names the tenant; without it the tenant is `default`.
pub const TENANT_HEADER: &str = "x-scope-orgid";
/// The header that binds a request to one host; whoever checks tokens in front of these endpoints sets it, and takes away
/// what a client sends under this name.
pub const BOUND_HOST_HEADER: &str = "x-foreshock-bound-host";
/// The tenant of requests that name none.
const DEFAULT_TENANT: &str = "default";

/// A store and what is remembered of its series.
type OneTenant = (Weak<Store>, Arc<SeriesCache>);

/// Who writes.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Whose samples they become.
    pub(crate) tenant: String,
    /// The only host that they may be about.
    pub(crate) host: Option<String>,
}

impl Writer {
    /// This server itself.
    pub(crate) fn own() -> Self {
        Self {
            tenant: DEFAULT_TENANT.to_owned(),
            host: None,
        }
    }
}

/// What the write endpoints share.
#[derive(Debug)]
pub struct IngestState {
    tenants: Arc<Tenants>,
    limits: Arc<Limits>,
    otlp: Arc<OtlpOptions>,
    budget: Arc<Budget>,
    requests: Semaphore,
    appends: Arc<Semaphore>,
    seed: u64,
    caches: Mutex<HashMap<String, OneTenant>>,
}

impl IngestState {
    /// Endpoints that write into `tenants` within `limits`.
    #[must_use]
    pub fn new(tenants: Arc<Tenants>, limits: Limits) -> Self {
        Self {
            tenants,
            budget: Budget::new(limits.buffer_bytes_max),
            requests: Semaphore::new(limits.requests_max),
            appends: Arc::new(Semaphore::new(limits.appends_max)),
            limits: Arc::new(limits),
            otlp: Arc::default(),
            // Seeds the keys of the caches, so that nobody can send points whose keys meet.
            seed: RandomState::new().hash_one("foreshock"),
            caches: Mutex::default(),
        }
    }

    /// The same with OTLP translated as `options` say.
    #[must_use]
    pub fn with_otlp(mut self, options: OtlpOptions) -> Self {
        self.otlp = Arc::new(options);
        self
    }

    pub(crate) fn otlp(&self) -> &Arc<OtlpOptions> {
        &self.otlp
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads, decompresses, decodes and appends one request. `decode` sees the whole body, on a thread that may block.
    pub(crate) async fn take(
        self: Arc<Self>,
        protocol: Protocol,
        headers: &HeaderMap,
        coding: Coding,
        body: Body,
        decode: impl FnOnce(&[u8], &mut Intake<'_>) -> Result<(), Stop> + Send + 'static,
    ) -> Result<Outcome, Problem> {
        let writer = Writer {
            tenant: tenant(headers)?,
            host: headers
                .get(BOUND_HOST_HEADER)
                .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()),
        };
        let _request = match self.requests.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                return Err(Problem::busy("too many write requests at once"));
            }
        };
        let mut reservation = self.budget.reservation();
        let raw = body::read(headers, body, &self.limits, &mut reservation).await?;
        let append = Arc::clone(&self.appends)
            .acquire_owned()
            .await
            .map_err(|_| Problem::busy("the server is stopping"))?;
        let state = Arc::clone(&self);
        tokio::task::spawn_blocking(move || {
            // Given back by this thread, also when the sender has gone away meanwhile.
            let _append = append;
            state.append(protocol, writer, coding, raw, reservation, decode)
        })
        .await
        // The panic has been reported by its hook; it ends this request alone.
        .unwrap_or_else(|_| Err(Problem::panicked()))
    }

    fn append(
        &self,
        protocol: Protocol,
        writer: Writer,
        coding: Coding,
        raw: Vec<u8>,
        mut reservation: Reservation,
        decode: impl FnOnce(&[u8], &mut Intake<'_>) -> Result<(), Stop>,
    ) -> Result<Outcome, Problem> {
        let arrived = raw.len();
        let body = body::decode(coding, raw, &mut reservation)?;
        telemetry::arrived(protocol, arrived, body.len());
        self.intake(protocol, writer, |_, intake| decode(&body, intake))
            .map(|((), outcome)| outcome)
    }

    /// Appends what `fill` puts into an intake, on the caller's thread, which may block.
    pub(crate) fn intake<T>(
        &self,
        protocol: Protocol,
        writer: Writer,
        fill: impl FnOnce(&Arc<Store>, &mut Intake<'_>) -> Result<T, Stop>,
    ) -> Result<(T, Outcome), Problem> {
        let store = self.store(&writer.tenant)?;
        let cache = self.cache(&store);
        let mut intake = Intake::new(&store, &self.limits, &cache, self.seed, writer.host);
        let filled = fill(&store, &mut intake)?;
        let outcome = intake.finish()?;
        telemetry::stored(protocol, &outcome);
        Ok((filled, outcome))
    }

    /// A share of the memory for bodies.
    pub(crate) fn reservation(&self) -> Reservation {
        self.budget.reservation()
    }

    fn store(&self, tenant: &str) -> Result<Arc<Store>, Problem> {
        if let Some(store) = self.tenants.get(tenant) {
            return Ok(store);
        }
        let max = self.limits.tenants_max;
        if self.tenants.names().len() >= max {
            let hint = "send to an existing tenant, or delete one";
            return Err(Problem::limit(
                format!("there are {max} tenants already, as many as may be"),
                hint,
            ));
        }
        Ok(self.tenants.get_or_create(tenant)?)
    }

    /// The cache that belongs to this very store: a tenant deleted and made anew numbers its series anew.
    fn cache(&self, store: &Arc<Store>) -> Arc<SeriesCache> {
        let mut caches = self.caches.lock();
        if let Some((of, cache)) = caches.get(store.tenant())
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(store))
        {
            return Arc::clone(cache);
        }
        caches.retain(|_, (of, _)| of.strong_count() > 0);
        let cache = Arc::new(SeriesCache::default());
        caches.insert(store.tenant().to_owned(), (Arc::downgrade(store), Arc::clone(&cache)));
        cache
    }
}

/// The tenant that a request names.
fn tenant(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(DEFAULT_TENANT.to_owned());
    };
    let name = value.to_str().unwrap_or("");
    if values.next().is_some() || !is_tenant_name(name) {
        let shown: String = String::from_utf8_lossy(value.as_bytes()).chars().take(80).collect();
        let hint = "send one X-Scope-OrgID of 1 to 64 of the characters a-z, 0-9, '_' and '-', or none at all";
        return Err(Problem::invalid(
            format!("{shown:?} in X-Scope-OrgID is no tenant's name"),
            hint,
        ));
    }
    Ok(name.to_owned())
}
