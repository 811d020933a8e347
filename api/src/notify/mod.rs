//! Telling people: alerts grouped, silenced, written to an outbox on disk, and sent until they are received.
//!
//! ```text
//! Transition ─► Notification ─► enqueue ══ SQLite ══► flush: group, silence, compare with what was sent last
//!                                                        ▼
//!                                        outbox row ══ SQLite ══► send ─► delivered | again later | dead letter
//!                                                                   └─► log
//! ```
//!
//! Invariants:
//! - What was enqueued survives kill -9. A message is struck out only after its receiver said yes, so that a crash between the
//!   two sends it again, with the same `Idempotency-Key`.
//! - A receiver's `Retry-After` holds for all messages to it and is never cut short; 429, 408, 5xx and silence are tried again
//!   with growing, jittered pauses; other refusals become dead letters after a few tries.
//! - Addresses and tokens are secrets: they are in no log, no error and no `Debug` output.
//! - There is no clock here: the caller says what time it is.

mod backoff;
mod group;
mod ledger;
mod notification;
mod outbox;
mod payload;
mod receiver;
mod send;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use group::Grouping;
pub use ledger::{DeadLetter, Delivery, Outcome};
pub use notification::{Notification, Outlook, Signal};
pub use outbox::{HeldAlert, NotifyError, Outbox, Settings};
pub use receiver::{Receiver, ReceiverError, Secret};
pub use send::client;
