//! Which batches of rows came already, so that one that is sent again changes nothing.

use std::collections::{HashSet, VecDeque};

use xxhash_rust::xxh3::xxh3_128;

use super::Table;
use crate::error::StoreError;
use crate::state::State;

/// Ids that are remembered, the newest ones: 1,000 hosts that send each 10 s fill them in three quarters of an hour.
pub(crate) const IDS_MAX: usize = 1 << 18;

/// The id of a batch, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchId(pub(super) [u8; 16]);

impl BatchId {
    pub(super) fn of(table: Table, id: &str) -> Self {
        Self(xxh3_128(format!("{}\0{id}", table.name()).as_bytes()).to_be_bytes())
    }
}

/// The newest ids.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<BatchId>,
    order: VecDeque<BatchId>,
}

impl Seen {
    /// Remembers an id; answers whether it is new.
    pub(super) fn insert(&mut self, id: BatchId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.ids.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    /// Forgets an id.
    pub(super) fn remove(&mut self, id: &BatchId) {
        self.ids.remove(id);
        // It was among the last to come.
        if let Some(at) = self.order.iter().rposition(|other| other == id) {
            self.order.remove(at);
        }
    }

    /// The ids of batches whose rows are in files.
    pub(super) fn load(state: &State) -> Result<Self, StoreError> {
        state.migrate(
            "tables",
            &["CREATE TABLE row_batches (n INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE) STRICT"],
        )?;
        let ids = state.with(|connection| {
            let mut query = connection.prepare("SELECT id FROM row_batches ORDER BY n")?;
            let rows = query.query_map([], |row| row.get::<_, [u8; 16]>(0))?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let mut seen = Self::default();
        for id in ids {
            seen.insert(BatchId(id));
        }
        Ok(seen)
    }

    /// Remembers `ids` for good, as far as there is room.
    pub(super) fn save(state: &State, ids: &[BatchId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        state.with(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare("INSERT OR IGNORE INTO row_batches (id) VALUES (?1)")?;
                for id in ids {
                    insert.execute([&id.0[..]])?;
                }
            }
            transaction.execute(
                "DELETE FROM row_batches WHERE n <= (SELECT max(n) FROM row_batches) - ?1",
                [IDS_MAX as i64],
            )?;
            transaction.commit()
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ids_are_known_and_one_taken_back_is_new_again() {
        let id = |n: usize| BatchId::of(Table::Logs, &n.to_string());
        let mut seen = Seen::default();
        assert!(seen.insert(id(0)) && !seen.insert(id(0)));
        seen.remove(&id(0));
        assert!(seen.insert(id(0)));
        for n in 1..=IDS_MAX {
            assert!(seen.insert(id(n)));
        }
        assert!(!seen.insert(id(IDS_MAX)) && !seen.insert(id(1)));
        assert!(seen.insert(id(0)), "the oldest is forgotten");
        assert_eq!((seen.ids.len(), seen.order.len()), (IDS_MAX, IDS_MAX));
    }
}
