//! Picks parts and merges them into larger ones.
use std::path::Path;
use std::sync::Arc;

use crate::manifest::Manifest;
use crate::part::{Level, Part, PartError, PartId, PartMeta};

/// Parts to merge into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Parts to merge, by ascending rank.
    pub(crate) inputs: Vec<PartId>,
    /// Level of the part to make.
    pub(crate) level: Level,
}

/// The next merge that is due at `now` (milliseconds); call again after each until there is none.
pub(crate) fn plan(manifest: &Manifest, now: i64) -> Option<Plan> {
    let _ = (manifest, now);
    None
}

/// As [`plan`], but also merges windows that are not over yet: for `store.compact()`.
pub(crate) fn plan_settled(manifest: &Manifest) -> Option<Plan> {
    let _ = manifest;
    None
}

/// Merges parts into a new one, series by series; where two hold one sample, the part of higher rank wins.
pub(crate) fn merge(dir: &Path, tenant: &str, level: Level, parts: &[Arc<Part>], id: PartId) -> Result<PartMeta, PartError> {
    let _ = (dir, tenant, level, parts, id);
    unimplemented!("coming within minutes")
}
