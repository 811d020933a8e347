//! What reporting itself tells: gaps, columns that fell silent, devices that vanished.
//!
//! GPUs that fall off the bus gave no numeric warning in the field; what changed was the reporting (facts: prediction,
//! 3.1, GWDG 2026).

use super::baseline::View;

/// Names, in the order of [`features`].
pub(crate) const NAMES: [&str; 4] = ["missing_short", "missing_middle", "columns_gone", "devices_gone"];

/// Shares of 0 to 1, `reported` up to the newest block: blocks without any sample in the short and middle window, columns silent now that had a baseline,
/// devices gone compared with the most that reported within the long window.
pub(crate) fn features(
    reported: &[bool],
    columns_gone: f64,
    devices: Option<View<'_>>,
    windows: crate::window::Windows,
) -> [f64; 4] {
    let missing = |n: usize| {
        let blocks = &reported[reported.len().saturating_sub(n)..];
        blocks.iter().filter(|r| !**r).count() as f64 / blocks.len() as f64
    };
    let devices_gone = devices.map_or(f64::NAN, |view| {
        view.last().map_or(f64::NAN, |now| (1.0 - now / view.most()).max(0.0))
    });
    [
        missing(windows.short),
        missing(windows.middle),
        columns_gone,
        devices_gone,
    ]
}
