//! Telling people: alerts routed, grouped, kept back where they should be, written to an outbox on disk, and sent until they
//! are received.
//!
//! ```text
//! Transition, POST /api/v2/alerts ─► Notification ─► enqueue: route, group ══ SQLite ══► flush
//!                                        silences, inhibition, times of quiet, what was sent last ┘
//!                                                        ▼
//!                     Message ══ outbox row in SQLite ══► Courier, a loop a receiver ─► Channel ─► send
//!                                  │                        └─► delivered | again later | dead letter, and a line in the log
//!                                  └─ receiver broken ─► a copy for its fallback
//! ```
//!
//! Invariants:
//! - What was enqueued survives kill -9. A message is struck out only after its receiver said yes, so that a crash between the
//!   two sends it again, with the same `Idempotency-Key`.
//! - A receiver's `Retry-After` holds for all messages to it and is never cut short; 429, 408, 5xx and no answer at all are
//!   tried again with growing, jittered pauses; other refusals become dead letters after a few tries.
//! - No receiver waits for another one.
//! - What nobody acknowledges climbs, step by step, and each step is taken once; what somebody has in hand is neither repeated nor
//!   climbs, until it ends.
//! - A message is kept as what is to be said, and takes its platform's form when it is sent: signatures are fresh, and any
//!   receiver can stand in for any other.
//! - A link in a message allows to answer that message's alerts, or shows the chart that it holds, for three days, and nothing else.
//! - A receiver's own texts are made when a message is sent. Where they fail, or are refused for what they say, the message goes out
//!   in our words, and that is counted and said in the delivery log: no template costs an alert.
//! - Addresses and tokens are secrets: they are in no log, no error and no `Debug` output.
//! - There is no clock here: the caller says what time it is, or hands one over.

mod acknowledgement;
mod backoff;
mod channel;
mod chart;
mod climb;
mod configuration;
mod courier;
mod delivery;
mod episode;
mod error;
mod escalation;
mod group;
mod held;
mod inhibit;
mod interval;
mod ledger;
mod link;
mod mail;
pub(crate) mod matcher;
mod message;
mod notification;
mod outbox;
mod payload;
mod receiver;
mod route;
mod send;
mod settings;
#[cfg(test)]
mod tests;
mod wording;

pub use acknowledgement::Acknowledgement;
pub use backoff::Backoff;
pub use channel::{Auth, Channel, Hook};
pub use configuration::{
    Configuration, ConfigurationError, load as load_configuration, load_file as load_configuration_file,
};
pub use courier::{Courier, Notifier};
pub use delivery::Tested;
pub use episode::{Episode, Measure};
pub use error::NotifyError;
pub use escalation::{Escalation, EscalationError, Escalations, Schedule, ShiftDraft};
pub use group::Grouping;
pub use held::{HeldAlert, HeldGroup, ReceiverStatus};
pub use inhibit::Inhibition;
pub use interval::TimeInterval;
pub use ledger::{DeadLetter, Delivery, Outcome};
pub use link::Grant;
pub use mail::{Mail, MailDraft, MailError};
pub use notification::{Notification, Outlook, Signal};
pub use outbox::Outbox;
pub use receiver::{Pace, Receiver, ReceiverError, Secret};
pub use route::{Route, Routing};
pub use send::client;
pub(crate) use settings::NOBODY;
pub use settings::Settings;
