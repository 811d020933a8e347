//! What reporting itself tells: gaps, columns that fell silent, devices that vanished.
//!
//! GPUs that fall off the bus gave no numeric warning in the field; what changed was the reporting (facts: prediction,
//! 3.1, GWDG 2026).

use super::baseline::View;

/// Names, in the order of [`features`].
pub(crate) const NAMES: [&str; 4] = ["missing_short", "missing_middle", "columns_gone", "devices_gone"];

/// Shares of 0 to 1: blocks without any sample in the short and middle window, columns silent now that had a baseline,
/// devices gone compared with the most that reported within the long window.
pub(crate) fn features(
    reported: &[bool],
    at: usize,
    columns_gone: f64,
    devices: Option<View<'_>>,
    windows: crate::window::Windows,
) -> [f64; 4] {
    let missing = |n: usize| {
        let blocks = &reported[(at + 1).saturating_sub(n)..=at];
        blocks.iter().filter(|r| !**r).count() as f64 / blocks.len() as f64
    };
    let devices_gone = devices.map_or(f64::NAN, |view| {
        let most = view.blocks(windows.long, 0).iter().copied().fold(f32::NAN, f32::max);
        view.last().map_or(f64::NAN, |now| 1.0 - now / f64::from(most))
    });
    [
        missing(windows.short),
        missing(windows.middle),
        columns_gone,
        devices_gone,
    ]
}
