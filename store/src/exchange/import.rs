//! Samples into a store.

use std::sync::Arc;

use super::{ExchangeError, Sink};
use crate::series::{LabelsBuf, METRIC_NAME};
use crate::{Batch, ErrorKind, Metadata, Refused, Store};

/// Samples that are made durable together.
const BATCH_SAMPLES: usize = 100_000;

/// What became of imported samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Samples that are durable.
    pub accepted: u64,
    /// Samples that the store did not take, by reason.
    pub refused: Vec<Refused>,
    /// Samples of series whose labels cannot name one.
    pub unnamed: u64,
    /// The first of those series, and what is wrong with it.
    pub unnamed_example: Option<String>,
}

/// Takes samples of any age into a store and keeps its memory within bounds.
#[derive(Debug)]
pub struct Importer {
    store: Arc<Store>,
    batch: Batch,
    taken: Taken,
}

impl Importer {
    /// Imports into `store`.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::clone(store),
            batch: old_as_well(store),
            taken: Taken::default(),
        }
    }

    /// Makes the last samples durable.
    ///
    /// # Errors
    /// When the store cannot.
    pub fn finish(mut self) -> Result<Taken, ExchangeError> {
        self.append()?;
        Ok(self.taken)
    }

    fn append(&mut self) -> Result<(), ExchangeError> {
        let batch = std::mem::replace(&mut self.batch, old_as_well(&self.store));
        let appended = self.store.append(batch)?;
        self.taken.accepted += appended.accepted;
        for refused in appended.refused {
            match self.taken.refused.iter_mut().find(|r| r.reason == refused.reason) {
                Some(known) => known.count += refused.count,
                None => self.taken.refused.push(refused),
            }
        }
        // Waiting for the store's own thread would run into the limit of the head.
        self.store.flush_if_large()?;
        Ok(())
    }

    fn unnamed(&mut self, samples: usize, what: &str, labels: &LabelsBuf) {
        self.taken.unnamed += samples as u64;
        self.taken.unnamed_example.get_or_insert_with(|| {
            let pairs: Vec<String> = labels
                .iter()
                .take(8)
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let shown: String = pairs.join(",").chars().take(240).collect();
            format!("{{{shown}}}: {what}")
        });
    }
}

fn old_as_well(store: &Arc<Store>) -> Batch {
    let mut batch = store.batch();
    batch.take_any_age();
    batch
}

impl Sink for Importer {
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
        if !labels
            .iter()
            .any(|(name, value)| name == METRIC_NAME && !value.is_empty())
        {
            self.unnamed(values.len(), "it has no name (__name__)", labels);
            return Ok(());
        }
        let id = match self.batch.series(labels) {
            Ok(id) => id,
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let what = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                self.unnamed(values.len(), &what, labels);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for (timestamps, values) in timestamps.chunks(BATCH_SAMPLES).zip(values.chunks(BATCH_SAMPLES)) {
            for (&at, &value) in timestamps.iter().zip(values) {
                self.batch.push(id, at, value);
            }
            if self.batch.len() >= BATCH_SAMPLES {
                self.append()?;
            }
        }
        Ok(())
    }

    fn metadata(&mut self, metric: &str, metadata: Metadata) -> Result<(), ExchangeError> {
        self.store.set_metadata(metric, metadata);
        Ok(())
    }
}
