//! Which parts are too old to keep.

use crate::manifest::Manifest;
use crate::part::PartId;

#[cfg(test)]
mod tests;

/// Parts whose newest sample is older than `keep_ms` at `now`: take them out of the manifest, commit, then remove their files.
/// A part is dropped whole, so that samples live up to its length longer than they must.
pub(crate) fn expired(manifest: &Manifest, now: i64, keep_ms: i64) -> Vec<PartId> {
    let horizon = now.saturating_sub(keep_ms);
    manifest
        .parts
        .iter()
        .filter(|part| part.t_max < horizon)
        .map(|part| part.id)
        .collect()
}
