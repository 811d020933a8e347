//! What was dropped, told once the server is there again: unknown is not the same as zero.

/// A stretch of time whose batches were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Time of the first dropped batch, nanoseconds since 1970 UTC.
    pub(crate) from: u64,
    /// Time of the last one.
    pub(crate) to: u64,
}

/// The present gap, until a batch that tells of it has been acknowledged.
///
/// The oldest go first, so that what is dropped during one outage is one stretch that grows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps {
    open: Option<Gap>,
    /// Asked for, and not grown since.
    told: bool,
    /// The batch that tells of the gap as it is.
    carrier: Option<u64>,
}

impl Gaps {
    /// A batch of this time was dropped.
    pub(super) fn lose(&mut self, unix_nanos: u64) {
        let gap = self.open.get_or_insert(Gap {
            from: unix_nanos,
            to: unix_nanos,
        });
        gap.from = gap.from.min(unix_nanos);
        gap.to = gap.to.max(unix_nanos);
        self.told = false;
        self.carrier = None;
    }

    /// The gap, for the batch that is being made.
    pub(super) fn tell(&mut self) -> Option<Gap> {
        self.told = self.open.is_some();
        self.open
    }

    /// This batch was made since [`Gaps::tell`] was asked.
    pub(super) fn carried_by(&mut self, id: u64) {
        if self.told && self.carrier.is_none() {
            self.carrier = Some(id);
        }
    }

    /// The server has this batch.
    pub(super) fn acknowledged(&mut self, id: u64) {
        if self.carrier.is_some_and(|carrier| id >= carrier) {
            *self = Self::default();
        }
    }
}
