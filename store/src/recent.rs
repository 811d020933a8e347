//! What was made out of a text lately, kept because dashboards and rules ask the same again and again.

use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(test)]
mod tests;

/// The values made out of the last `max` different texts. A hit costs a look through the texts, which are few.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    // Latest first.
    kept: Mutex<Vec<(Box<str>, Arc<T>)>>,
    max: usize,
}

impl<T> Recent<T> {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            kept: Mutex::new(Vec::new()),
            max,
        }
    }

    /// The value of `text`: what is kept, else what `make` makes, kept from now on where `worth` says so.
    ///
    /// # Errors
    /// What `make` fails with.
    pub(crate) fn of<E>(
        &self,
        text: &str,
        make: impl FnOnce() -> Result<T, E>,
        worth: impl FnOnce(&T) -> bool,
    ) -> Result<Arc<T>, E> {
        if let Some(value) = self.find(text) {
            return Ok(value);
        }
        // Not under the lock: others need not wait for a long text.
        let value = Arc::new(make()?);
        if worth(&value) {
            let mut kept = self.kept.lock();
            if !kept.iter().any(|(known, _)| **known == *text) {
                kept.truncate(self.max.saturating_sub(1));
                kept.insert(0, (text.into(), Arc::clone(&value)));
            }
        }
        Ok(value)
    }

    fn find(&self, text: &str) -> Option<Arc<T>> {
        let mut kept = self.kept.lock();
        let place = kept.iter().position(|(known, _)| **known == *text)?;
        kept[..=place].rotate_right(1);
        kept.first().map(|(_, value)| Arc::clone(value))
    }
}
