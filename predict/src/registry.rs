//! Models that were trained, and which one is in charge.

use rusqlite::{OptionalExtension, TransactionBehavior, params};
use store::{State, StateError};

use crate::model::{Model, ModelError};
use crate::window::Horizon;

const STEPS: [&str; 1] = ["create table models (
    id integer primary key autoincrement,
    name text not null,
    family text not null,
    horizon_ms integer not null,
    saved_ms integer not null,
    trained_from_ms integer not null,
    trained_to_ms integer not null,
    body text not null
) strict;
create table promotions (
    seq integer primary key autoincrement,
    horizon_ms integer not null,
    model_id integer not null references models (id),
    at_ms integer not null
) strict;
create index promotions_by_horizon on promotions (horizon_ms, seq);"];

/// So many models of a horizon are kept besides those to go back to and those in the shadow: the newest ones.
pub const MODELS_KEPT: usize = 20;

/// So many promotions of a horizon are remembered, and the models that they put in charge kept to go back to.
pub const PROMOTIONS_KEPT: usize = 10;

/// The number of a saved model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub i64);

/// What a model is to the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Its scores alert.
    Champion,
    /// The newest of its family behind the champion: scored in shadow.
    Challenger,
    /// Kept to go back to.
    Retired,
}

/// One line of the list of models.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// Its family: `logistic`, `extra-trees`.
    pub family: String,
    /// How far ahead it looks.
    pub horizon: Horizon,
    /// When it was saved.
    pub saved_ms: i64,
    /// First instant of the data that it was trained on.
    pub trained_from_ms: i64,
    /// First instant after it.
    pub trained_to_ms: i64,
    /// What it is to the tenant.
    pub role: Role,
}

/// The registry could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The state failed.
    #[error("cannot read or write the models")]
    State(#[from] StateError),
    /// A model cannot be written as JSON.
    #[error("cannot write the model {name:?}")]
    Write {
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A saved model cannot be used.
    #[error("model {} cannot be used", id.0)]
    Model {
        /// Its number.
        id: ModelId,
        /// Why.
        source: ModelError,
    },
    /// There is no such model.
    #[error("there is no model {}", id.0)]
    Missing {
        /// The number asked for.
        id: ModelId,
    },
    /// There is nothing to go back to.
    #[error("there is no earlier champion for {horizon} to go back to")]
    NoEarlier {
        /// The horizon.
        horizon: Horizon,
    },
}

impl RegistryError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(_) | Self::Write { .. } => None,
            Self::Model { source, .. } => Some(source.hint()),
            Self::Missing { .. } => Some("list the models to see their numbers"),
            Self::NoEarlier { .. } => Some("promote a model by its number instead"),
        }
    }

    /// `missing`, `conflict`, `corrupt` or `internal`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::State(_) | Self::Write { .. } => "internal",
            Self::Model { source, .. } => source.kind(),
            Self::Missing { .. } => "missing",
            Self::NoEarlier { .. } => "conflict",
        }
    }
}

/// The models of a tenant, in its state.
#[derive(Clone, Copy, Debug)]
pub struct Registry<'a> {
    state: &'a State,
}

impl<'a> Registry<'a> {
    /// Opens the registry in the state of a tenant; makes its tables on first use.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be written.
    pub fn open(state: &'a State) -> Result<Self, RegistryError> {
        state.migrate("models", &STEPS)?;
        Ok(Self { state })
    }

    /// Keeps a model; it is a challenger until it is promoted.
    ///
    /// # Errors
    /// [`RegistryError::State`] when it cannot be written.
    pub fn save(&self, model: &Model, now_ms: i64) -> Result<ModelId, RegistryError> {
        let body = model.to_json().map_err(|source| RegistryError::Write {
            name: model.name.clone(),
            source,
        })?;
        let id = self.state.with(|conn| {
            conn.execute(
                "insert into models (name, family, horizon_ms, saved_ms, trained_from_ms, trained_to_ms, body)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    model.name,
                    model.family().name(),
                    model.horizon.millis(),
                    now_ms,
                    model.trained_from,
                    model.trained_to,
                    body
                ],
            )?;
            Ok(conn.last_insert_rowid())
        })?;
        Ok(ModelId(id))
    }

    /// One model.
    ///
    /// # Errors
    /// [`RegistryError::Missing`], or [`RegistryError::Model`] when it is damaged or from a newer program.
    pub fn load(&self, id: ModelId) -> Result<Model, RegistryError> {
        let body: Option<String> = self.state.with(|conn| {
            conn.query_row("select body from models where id = ?1", [id.0], |r| r.get(0))
                .optional()
        })?;
        let body = body.ok_or(RegistryError::Missing { id })?;
        Model::from_json(&body).map_err(|source| RegistryError::Model { id, source })
    }

    /// Puts a model in charge of its horizon.
    ///
    /// # Errors
    /// [`RegistryError::Missing`], or [`RegistryError::Model`]: a model that cannot be read never takes charge.
    pub fn promote(&self, id: ModelId, now_ms: i64) -> Result<(), RegistryError> {
        let model = self.load(id)?;
        // Whoever tidied up at the same time may have deleted it.
        let promoted = self.state.with(|conn| {
            conn.execute(
                "insert into promotions (horizon_ms, model_id, at_ms) select ?1, id, ?3 from models where id = ?2",
                params![model.horizon.millis(), id.0, now_ms],
            )
        })?;
        if promoted == 0 {
            return Err(RegistryError::Missing { id });
        }
        Ok(())
    }

    /// Deletes the models of a horizon but those that the last [`PROMOTIONS_KEPT`] promotions put in charge, the challengers, and the
    /// newest [`MODELS_KEPT`] of the others; answers how many. Older promotions are forgotten.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be written.
    pub fn prune(&self, horizon: Horizon) -> Result<usize, RegistryError> {
        let shadows = self.challenger_ids(horizon)?;
        let kept = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(self.state.with(|conn| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "delete from promotions where horizon_ms = ?1 and seq not in
                 (select seq from promotions where horizon_ms = ?1 order by seq desc limit ?2)",
                [horizon.millis(), kept(PROMOTIONS_KEPT)],
            )?;
            let old: Vec<i64> = transaction
                .prepare(
                    "select id from models where horizon_ms = ?1 and id not in (select model_id from promotions)
                     order by id desc limit -1 offset ?2",
                )?
                .query_map([horizon.millis(), kept(MODELS_KEPT)], |r| r.get(0))?
                .collect::<Result<_, _>>()?;
            let mut deleted = 0;
            for id in old.into_iter().filter(|id| !shadows.contains(&ModelId(*id))) {
                deleted += transaction.execute("delete from models where id = ?1", [id])?;
            }
            transaction.commit()?;
            Ok(deleted)
        })?)
    }

    /// Puts the champion before the present one in charge again; answers its number.
    ///
    /// # Errors
    /// [`RegistryError::NoEarlier`] when there was none; [`RegistryError::Model`] when it cannot be read, and the present one stays.
    pub fn rollback(&self, horizon: Horizon) -> Result<ModelId, RegistryError> {
        let newest: Vec<(i64, i64)> = self.state.with(|conn| {
            conn.prepare("select seq, model_id from promotions where horizon_ms = ?1 order by seq desc limit 2")?
                .query_map([horizon.millis()], |r| Ok((r.get(0)?, r.get(1)?)))?
                .collect()
        })?;
        let [(seq, _), (_, before)] = newest[..] else {
            return Err(RegistryError::NoEarlier { horizon });
        };
        self.load(ModelId(before))?;
        // Whoever rolled back at the same time has done it.
        self.state
            .with(|conn| conn.execute("delete from promotions where seq = ?1", [seq]))?;
        Ok(ModelId(before))
    }

    /// The model in charge of a horizon.
    ///
    /// # Errors
    /// [`RegistryError::Model`] when it cannot be read.
    pub fn champion(&self, horizon: Horizon) -> Result<Option<(ModelId, Model)>, RegistryError> {
        let Some(id) = self.champion_id(horizon)? else {
            return Ok(None);
        };
        Ok(Some((id, self.load(id)?)))
    }

    /// As [`Registry::champion`]; a model that cannot be read, which is told in the log, is in charge of nothing.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be read.
    pub fn usable_champion(&self, horizon: Horizon) -> Result<Option<(ModelId, Model)>, RegistryError> {
        match self.champion(horizon) {
            Err(RegistryError::Model { id, source }) => {
                tracing::warn!(model = id.0, error = %source, "the model in charge cannot be used");
                Ok(None)
            }
            found => found,
        }
    }

    /// The number of the model in charge of a horizon.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be read.
    pub fn champion_id(&self, horizon: Horizon) -> Result<Option<ModelId>, RegistryError> {
        Ok(self
            .state
            .with(|conn| {
                conn.query_row(
                    "select model_id from promotions where horizon_ms = ?1 order by seq desc limit 1",
                    [horizon.millis()],
                    |r| r.get(0),
                )
                .optional()
            })?
            .map(ModelId))
    }

    /// The newest model of each family that is not in charge, for scoring in shadow. Those that cannot be read are left out.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be read.
    pub fn challengers(&self, horizon: Horizon) -> Result<Vec<(ModelId, Model)>, RegistryError> {
        let mut found = Vec::new();
        for id in self.challenger_ids(horizon)? {
            match self.load(id) {
                Ok(model) => found.push((id, model)),
                Err(RegistryError::Model { id, source }) => {
                    tracing::warn!(model = id.0, error = %source, "a challenger cannot be used");
                }
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }

    /// The numbers of [`Registry::challengers`], and of those that cannot be read.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be read.
    pub fn challenger_ids(&self, horizon: Horizon) -> Result<Vec<ModelId>, RegistryError> {
        let is_challenger = |entry: &Entry| entry.horizon == horizon && entry.role == Role::Challenger;
        let entries = self.list()?.into_iter();
        Ok(entries.filter(is_challenger).map(|entry| entry.id).collect())
    }

    /// All models, the newest first.
    ///
    /// # Errors
    /// [`RegistryError::State`] when the state cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        let mut entries: Vec<Entry> = self.state.with(|conn| {
            let mut statement = conn.prepare(
                "select id, name, family, horizon_ms, saved_ms, trained_from_ms, trained_to_ms from models order by id desc",
            )?;
            statement
                .query_map([], |r| {
                    Ok(Entry {
                        id: ModelId(r.get(0)?),
                        name: r.get(1)?,
                        family: r.get(2)?,
                        horizon: Horizon::from_millis(r.get(3)?).unwrap_or(Horizon::HOUR),
                        saved_ms: r.get(4)?,
                        trained_from_ms: r.get(5)?,
                        trained_to_ms: r.get(6)?,
                        role: Role::Retired,
                    })
                })?
                .collect()
        })?;
        let champions: Vec<Option<ModelId>> = entries
            .iter()
            .map(|e| self.champion_id(e.horizon))
            .collect::<Result<_, _>>()?;
        let families: std::collections::HashMap<ModelId, String> =
            entries.iter().map(|e| (e.id, e.family.clone())).collect();
        let mut shadowed: Vec<(Horizon, String)> = Vec::new();
        for (entry, champion) in entries.iter_mut().zip(champions) {
            if Some(entry.id) == champion {
                entry.role = Role::Champion;
                continue;
            }
            let key = (entry.horizon, entry.family.clone());
            // A model older than a champion of its own family lost its place to it and is no challenger any more.
            if !shadowed.contains(&key)
                && champion.is_none_or(|c| entry.id > c || families.get(&c) != Some(&entry.family))
            {
                entry.role = Role::Challenger;
                shadowed.push(key);
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests;
