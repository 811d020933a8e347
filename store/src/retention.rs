//! Which parts are too old to keep.
use crate::manifest::Manifest;
use crate::part::PartId;

/// Parts whose newest sample is older than `now - keep_ms`; drop them from the manifest, commit, then remove their files.
pub(crate) fn expired(manifest: &Manifest, now: i64, keep_ms: i64) -> Vec<PartId> {
    let horizon = now.saturating_sub(keep_ms);
    manifest.parts.iter().filter(|p| p.t_max < horizon).map(|p| p.id).collect()
}
