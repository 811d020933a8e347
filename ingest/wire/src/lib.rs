//! What crosses the wire: OTLP metrics, Prometheus remote write and remote read, the names that metrics have on both sides, and the
//! little of X.509 by which an agent and its server know each other.
//!
//! ```text
//! agent, simulate, own telemetry ── otlp::write ══ HTTP ══► otlp::read ──────┐
//!                                                                           ├─► ingest
//! Prometheus and friends ──────────────────── HTTP ══► remote_write::read ──┘
//! Prometheus, asking ──── remote_read::Request ══ HTTP ══► api ══► remote_read::write
//! ```
//!
//! Invariants:
//! - Readers borrow from the body. They allocate nothing per label, attribute or sample, they never trust a length that the
//!   body does not hold, and no body makes them panic.
//! - Writers are deterministic: the same calls give the same bytes.
//! - Names are translated as Prometheus' own OTLP endpoint does by default ([`prometheus`]).
//!
//! ```
//! use foreshock_wire::metric::{Kind, MetricDef};
//! use foreshock_wire::otlp::{read, write::RequestWriter};
//!
//! const LOAD: MetricDef = MetricDef { name: "system.cpu.load_average.1m", unit: "{thread}", kind: Kind::Gauge, help: "Load" };
//! let mut writer = RequestWriter::new(&[("host.name", "web-1")], "doc");
//! writer.metric(&LOAD).point(&[], 0, 1_700_000_000_000_000_000, 0.5);
//! let body = writer.finish();
//!
//! for resource in read::request(&body) {
//!     for scope in resource?.scopes() {
//!         for metric in scope?.metrics() {
//!             assert_eq!(metric?.name, LOAD.name);
//!         }
//!     }
//! }
//! # Ok::<(), foreshock_wire::DecodeError>(())
//! ```

pub mod base64;
pub mod exposition;
pub mod metric;
pub mod otlp;
pub mod prometheus;
pub mod protobuf;
pub mod remote_read;
pub mod remote_write;
pub mod x509;

pub use prometheus::prometheus_name;
pub use protobuf::DecodeError;
