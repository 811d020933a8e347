//! Exporters asked for their samples, for hosts whose exporters are there already and whose agent is not.
//!
//! ```text
//! scrape_configs (Prometheus' YAML) ► static targets, files of targets ► relabel ► a task per target
//! task: GET /metrics ► text ► series of this target ► intake ► store;  up, scrape_*, staleness markers
//! ```
//! What is read is a subset of Prometheus' configuration; a key that is not known is refused by name.

mod config;
mod discovery;
mod relabel;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use config::{ScrapeConfig, ScrapeConfigError};
use discovery::{Discovered, Found};
pub use target::{Health, TargetStatus};

use crate::state::IngestState;
use target::Target;

/// Between two looks at the files of targets.
const DISCOVERY: Duration = Duration::from_secs(5);
/// Targets scraped at once; the others wait their turn.
const AT_ONCE: usize = 64;
/// Targets in all; those beyond are left out, with an error in the log.
pub(crate) const TARGETS_MAX: usize = 10_000;

/// Scrapes what its configuration names, until it is stopped.
#[derive(Debug)]
pub struct Scraper {
    state: Arc<IngestState>,
    config: ScrapeConfig,
    client: reqwest::Client,
    slots: Arc<Semaphore>,
    board: Mutex<Board>,
}

/// What is scraped now.
#[derive(Debug, Default)]
struct Board {
    targets: BTreeMap<String, Arc<Target>>,
    dropped: BTreeMap<String, u64>,
}

impl Scraper {
    /// Scrapes into the default tenant of `state`, by `client`.
    #[must_use]
    pub fn new(state: Arc<IngestState>, config: ScrapeConfig, client: reqwest::Client) -> Self {
        Self {
            state,
            config,
            client,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            board: Mutex::default(),
        }
    }

    /// The names of the jobs, sorted.
    #[must_use]
    pub fn jobs(&self) -> Vec<String> {
        let mut jobs: Vec<String> = self.config.jobs().map(str::to_owned).collect();
        jobs.sort();
        jobs
    }

    /// How each target does, by job and URL.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        self.board
            .lock()
            .targets
            .values()
            .map(|target| target.status())
            .collect()
    }

    /// How many targets relabelling has dropped, by job.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.board.lock().dropped.clone()
    }

    /// Scrapes until `stopping` turns true. Targets that vanish from their files get staleness markers; at the stop none do, as
    /// the next start goes on with them.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut running: HashMap<String, (watch::Sender<bool>, JoinHandle<()>)> = HashMap::new();
        let mut discovered = Discovered::default();
        while !*stopping.borrow() {
            let scraper = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                let found = discovered.look(&scraper.config);
                (discovered, found)
            });
            let Ok((kept, found)) = looked.await else {
                tracing::error!("the discovery of targets panicked; nothing is scraped any more");
                break;
            };
            discovered = kept;
            self.take_on(found, &mut running);
            tokio::select! {
                () = tokio::time::sleep(DISCOVERY) => {}
                _ = stopping.changed() => {}
            }
        }
        for (_, task) in running.into_values() {
            task.abort();
        }
    }

    fn take_on(&self, found: Found, running: &mut HashMap<String, (watch::Sender<bool>, JoinHandle<()>)>) {
        let Found { targets, dropped } = found;
        running.retain(|key, (gone, task)| {
            let stays = targets.contains_key(key) && !task.is_finished();
            if !stays {
                gone.send_replace(true);
            }
            stays
        });
        let mut board = self.board.lock();
        board.dropped = dropped;
        board.targets.retain(|key, _| running.contains_key(key));
        for (key, made) in targets {
            if running.contains_key(&key) {
                continue;
            }
            let target = Arc::new(Target::new(made));
            board.targets.insert(key.clone(), Arc::clone(&target));
            let (gone, is_gone) = watch::channel(false);
            let (state, client) = (Arc::clone(&self.state), self.client.clone());
            let task = tokio::spawn(target.run(state, client, Arc::clone(&self.slots), is_gone));
            running.insert(key, (gone, task));
        }
    }
}
