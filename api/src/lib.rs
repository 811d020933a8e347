//! What people and programs call: queries, scores, alerts, pages.
//!
//! ```text
//! socket ► serve (tls) ► access ► guard ► router ┬► prometheus  PromQL, series, rules      (Prometheus' envelope)
//!                                 ├► hosts, scores, incidents, models, sql  (JSON; errors as problem+json)
//!                                 ├► alertmanager  alerts, silences, receivers   (Alertmanager's API v2)
//!                                 └► page                                   (HTML; charts ask the routes above)
//! rule ► alerts ► notify ► receivers
//! ```
//! Handlers wait on sockets only: whatever reads samples or state runs on a blocking thread, in one of a bounded number of
//! slots, until its deadline or until its caller goes away (`work`). Everything answers from one snapshot. Each error
//! becomes a status in one place ([`problem`]) and says what its reader can do.
//!
//! ```
//! use foreshock_api::problem::{Kind, Problem};
//! let problem = Problem::not_found("there is no host \"a\"").hint("GET /api/v1/hosts lists them");
//! assert_eq!(problem.kind().status().as_u16(), 404);
//! assert_eq!(problem.kind(), Kind::NotFound);
//! ```

pub mod access;
mod acknowledge;
mod admin;
mod agents;
mod alertmanager;
mod answer;
pub mod app;
mod audit;
pub mod board;
mod chart;
pub mod closer;
mod compress;
mod deliveries;
mod guard;
mod hosts;
mod incidents;
pub mod install;
mod models;
pub mod notify;
mod number;
pub mod outcome;
mod page;
mod params;
pub mod problem;
mod prometheus;
mod router;
pub mod rule;
mod rules;
mod scores;
pub mod serve;
pub mod silences;
pub mod sink;
mod sql;
mod stream;
pub mod tables;
mod template;
pub mod tls;
mod work;

pub use app::{App, AppParts, Build, Limits, Scraped, ScrapedTarget};
pub use board::Board;
pub use params::{DEFAULT_TENANT, TENANT_HEADER};
pub use router::{flight_router, router};
pub use rules::report_json as replay_json;

#[cfg(test)]
mod tests;
