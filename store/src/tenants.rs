//! The stores of one data directory, a tenant each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::Store;
use crate::disk;
use crate::error::StoreError;
use crate::lock::DirLock;
use crate::options::StoreOptions;

#[cfg(test)]
mod tests;

/// Prefix of a directory that is being deleted; no tenant can have such a name.
const DELETED: &str = ".deleted-";

/// All tenants below a data directory: `<root>/tenants/<name>`, each with a store of its own.
#[derive(Debug)]
pub struct Tenants {
    dir: PathBuf,
    options: StoreOptions,
    open: Mutex<Open>,
    // Held as long as this lives: a second server on the same directory would break both.
    _lock: DirLock,
}

#[derive(Debug, Default)]
struct Open {
    stores: BTreeMap<String, Arc<Store>>,
    /// Tenants that are being deleted: until their directories are gone from their places, no other may have these names.
    going: BTreeSet<String>,
}

impl Tenants {
    /// Opens every tenant that lies below `root`, which is created where it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds the directory, and whatever keeps one of the stores from opening.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let dir = root.join("tenants");
        disk::create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        let lock = DirLock::acquire(root)?;
        crate::backup::sweep(root)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| StoreError::io("list", &dir, e))? {
            let entry = entry.map_err(|e| StoreError::io("list", &dir, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(DELETED) {
                // A deletion that a crash cut short is finished here.
                remove(&entry.path())?;
            } else if is_tenant_name(&name) && entry.path().is_dir() {
                found.push((name, entry.path()));
            } else {
                tracing::warn!(path = %entry.path().display(), "not a tenant, left alone");
            }
        }
        // Side by side: a start waits for the longest replay and not for all of them.
        let open = |(name, path): (String, PathBuf)| Ok((name, Store::open(&path, options.clone())?));
        let stores: BTreeMap<_, _> = found.into_par_iter().map(open).collect::<Result<_, StoreError>>()?;
        Ok(Self {
            dir,
            options,
            open: Mutex::new(Open {
                stores,
                going: BTreeSet::new(),
            }),
            _lock: lock,
        })
    }

    /// Opens one tenant below `root` and no other: for tools that run while no server does. Without `create` it must be there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds the directory, [`StoreError::NoTenant`], [`StoreError::TenantName`], and
    /// whatever keeps the store from opening.
    pub fn open_one(root: &Path, name: &str, create: bool, options: StoreOptions) -> Result<Self, StoreError> {
        if !is_tenant_name(name) {
            return Err(StoreError::TenantName {
                name: name.chars().take(80).collect(),
            });
        }
        let dir = root.join("tenants");
        let path = dir.join(name);
        if !create && !path.is_dir() {
            return Err(StoreError::NoTenant {
                name: name.to_owned(),
                root: root.to_owned(),
            });
        }
        fs::create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        let lock = DirLock::acquire(root)?;
        let store = Store::open(&path, options.clone())?;
        Ok(Self {
            dir,
            options,
            open: Mutex::new(Open {
                stores: [(name.to_owned(), store)].into(),
                going: BTreeSet::new(),
            }),
            _lock: lock,
        })
    }

    /// The data directory.
    pub(crate) fn root(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The store of tenant `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Store>> {
        self.open.lock().stores.get(name).map(Arc::clone)
    }

    /// The store of tenant `name`, made where there is none.
    ///
    /// # Errors
    /// [`StoreError::TenantName`] for a name that is not 1 to 64 of `a-z`, `0-9`, `_`, `-`; [`StoreError::Closed`] while a tenant of
    /// this name is being deleted; and whatever keeps the store from opening.
    pub fn get_or_create(&self, name: &str) -> Result<Arc<Store>, StoreError> {
        let mut open = self.open.lock();
        if let Some(store) = open.stores.get(name) {
            return Ok(Arc::clone(store));
        }
        if open.going.contains(name) {
            return Err(StoreError::Closed);
        }
        if !is_tenant_name(name) {
            return Err(StoreError::TenantName {
                name: name.chars().take(80).collect(),
            });
        }
        let store = Store::open(&self.dir.join(name), self.options.clone())?;
        open.stores.insert(name.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    /// Names of all tenants, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.open.lock().stores.keys().cloned().collect()
    }

    /// All stores, by name.
    #[must_use]
    pub fn stores(&self) -> Vec<Arc<Store>> {
        self.open.lock().stores.values().map(Arc::clone).collect()
    }

    /// Deletes a tenant with all that it holds; answers whether there was one. Snapshots taken before still read. Waits until what
    /// the tenant's threads are at is done; other tenants do not.
    ///
    /// # Errors
    /// [`StoreError::Io`] when files cannot be removed; the tenant is gone all the same, and the next start removes the rest. Where
    /// even its directory cannot be renamed the tenant is still there, and closed until the next start.
    pub fn delete(&self, name: &str) -> Result<bool, StoreError> {
        let store = {
            let mut open = self.open.lock();
            let Some(store) = open.stores.remove(name) else {
                return Ok(false);
            };
            open.going.insert(name.to_owned());
            store
        };
        let aside = self.put_aside(name, &store);
        {
            let mut open = self.open.lock();
            open.going.remove(name);
            if aside.is_err() {
                open.stores.insert(name.to_owned(), store);
            }
        }
        remove(&aside?)?;
        Ok(true)
    }

    /// Closes the store of a tenant and renames its directory, to one that a start removes; answers its new name.
    fn put_aside(&self, name: &str, store: &Store) -> Result<PathBuf, StoreError> {
        if let Err(error) = store.close() {
            tracing::warn!(
                tenant = name,
                error = &error as &dyn std::error::Error,
                "a tenant that is deleted did not close cleanly"
            );
        }
        let path = self.dir.join(name);
        let aside = (0_u32..)
            .map(|n| self.dir.join(format!("{DELETED}{name}-{n}")))
            .find(|p| !p.exists())
            .unwrap_or_else(|| self.dir.join(DELETED));
        // Renamed first, so that a crash halfway leaves no tenant with half of its parts.
        store.while_idle(|| {
            disk::rename(&path, &aside).map_err(|e| StoreError::io("rename", &path, e))?;
            disk::sync_dir(&self.dir).map_err(|e| StoreError::io("sync", &self.dir, e))
        })?;
        Ok(aside)
    }

    /// Closes all stores; appends are refused from then on, snapshots still read.
    ///
    /// # Errors
    /// The first error of a store; all of them are closed nevertheless.
    pub fn close(&self) -> Result<(), StoreError> {
        let stores = self.stores();
        let results: Vec<_> = stores.iter().map(|store| store.close()).collect();
        results.into_iter().collect()
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_dir_all(path).map_err(|e| StoreError::io("remove", path, e))
}

/// Whether `name` may name a tenant: 1 to 64 of `a-z`, `0-9`, `_`, `-`. It becomes a directory's name as it is.
#[must_use]
pub fn is_tenant_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}
