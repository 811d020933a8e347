//! Batches of samples: gathered, judged, made durable, and only then visible.

use crate::error::StoreError;
use crate::series::{LabelsBuf, SeriesId};

/// Samples on their way in.
#[derive(Debug)]
pub struct Batch {}

impl Batch {
    /// The series with these labels; it is registered where it is new.
    ///
    /// # Errors
    /// [`StoreError::Label`] and [`StoreError::TooManySeries`].
    pub fn series(&mut self, labels: &mut LabelsBuf) -> Result<SeriesId, StoreError> {
        let _ = labels;
        todo!()
    }

    /// Adds a sample of a series that [`Batch::series`] gave out.
    pub fn push(&mut self, id: SeriesId, t_ms: i64, value: f64) {
        let _ = (id, t_ms, value);
        todo!()
    }

    /// How many samples were pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether no sample was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples that are durable now.
    pub accepted: u64,
    /// Samples that were not taken, by reason.
    pub refused: Vec<Refused>,
}

/// Samples that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: RefuseReason,
    /// How many.
    pub count: u64,
    /// The first of them in words.
    pub example: String,
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefuseReason {
    /// Further ahead of the server's clock than `StoreOptions::max_future_ms`.
    TooFarAhead,
    /// Older than the newest sample of its series by more than `StoreOptions::out_of_order_window_ms`.
    TooOld,
}

impl RefuseReason {
    /// The reason as a label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooFarAhead => "too_far_ahead",
            Self::TooOld => "too_old",
        }
    }
}
