//! Which files of tables are worth being one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::{DAY_NS, TableFile};

/// Files of like size that become one while their day lasts.
const TOGETHER: usize = 4;
/// Most files of one merge: each holds a file and a batch.
const FILES_MAX: usize = 32;
/// Files that are half as large are left alone: they would be copied for little.
const BYTES_MAX: u64 = 256 << 20;

/// Files of one table and day to merge: four of like size, or all small ones of a day that has been over for a day. Those that
/// reach over several days are a group of their own.
pub(super) fn plan(files: &[Arc<TableFile>], now_ns: i64) -> Option<Vec<Arc<TableFile>>> {
    let size = |file: &TableFile| 1 + (file.bytes() / 4096).max(1).ilog(4);
    let mut groups: BTreeMap<_, Vec<&Arc<TableFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.bytes() <= BYTES_MAX / 2) {
        let day = file.meta().day();
        let settled = day.is_some_and(|day| (day + 2).saturating_mul(DAY_NS) <= now_ns);
        let key = (file.table(), day, if settled { 0 } else { size(file) });
        groups.entry(key).or_default().push(file);
    }
    groups.into_iter().find_map(|((_, _, size), group)| {
        let (mut bytes, mut inputs) = (0, Vec::new());
        for file in group.into_iter().take(FILES_MAX) {
            bytes += file.bytes();
            if bytes > BYTES_MAX {
                break;
            }
            inputs.push(Arc::clone(file));
        }
        (inputs.len() >= if size == 0 { 2 } else { TOGETHER }).then_some(inputs)
    })
}
