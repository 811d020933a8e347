//! The devices of a host reduced to the host: the worst one, its distance from its peers, their mean, how many report.

use super::FeatureSet;

fn reduce(devices: &[(usize, Vec<f32>)], blocks: usize, mut of: impl FnMut(&mut Vec<f32>) -> f32) -> Vec<f32> {
    let mut present = Vec::with_capacity(devices.len());
    (0..blocks)
        .map(|block| {
            present.clear();
            present.extend(devices.iter().map(|(_, values)| values[block]).filter(|v| !v.is_nan()));
            if present.is_empty() { f32::NAN } else { of(&mut present) }
        })
        .collect()
}

fn extreme(values: &[f32], low: bool) -> f32 {
    if low {
        values.iter().copied().fold(f32::INFINITY, f32::min)
    } else {
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

pub(crate) fn median(values: &mut [f32]) -> f32 {
    values.sort_by(f32::total_cmp);
    let n = values.len();
    if n % 2 == 1 {
        values[n / 2]
    } else {
        0.5 * (values[n / 2 - 1] + values[n / 2])
    }
}

/// The same for double precision; NaN for none.
pub(crate) fn median_f64(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

/// The worst device of each block.
pub(crate) fn worst(devices: &[(usize, Vec<f32>)], blocks: usize, low: bool) -> Vec<f32> {
    reduce(devices, blocks, |v| extreme(v, low))
}

/// How far the worst device stands from the median of all; nothing for a single device, which has no peers.
pub(crate) fn worst_minus_median(devices: &[(usize, Vec<f32>)], blocks: usize, low: bool) -> Vec<f32> {
    reduce(devices, blocks, |v| {
        if v.len() < 2 {
            f32::NAN
        } else {
            extreme(v, low) - median(v)
        }
    })
}

/// The mean over devices.
pub(crate) fn mean(devices: &[(usize, Vec<f32>)], blocks: usize) -> Vec<f32> {
    reduce(devices, blocks, |v| v.iter().sum::<f32>() / v.len() as f32)
}

/// How many devices have reported anything in each block; nothing while the host as a whole is silent.
pub(crate) fn devices_reporting(seen: &[Vec<bool>], blocks: usize) -> Vec<f32> {
    (0..blocks)
        .map(|block| match seen.iter().filter(|d| d[block]).count() {
            0 => f32::NAN,
            n => n as f32,
        })
        .collect()
}

/// Name of the signal that is made of temperature, power and inlet.
pub(crate) const THERMAL_RESISTANCE: &str = "gpu_thermal_resistance";

/// Degrees above the inlet per 100 W: rises when cooling fails, whatever the load.
///
/// Power below 250 W counts as 250 W, since an idle device says nothing about its cooling; a missing inlet as 25 °C.
pub(crate) fn thermal_resistance(
    set: &FeatureSet,
    of_host: &[Option<Vec<f32>>],
    of_devices: &mut [Vec<(usize, Vec<f32>)>],
    blocks: usize,
) {
    let find = |name: &str| set.signals.iter().position(|s| s.name == name);
    let (Some(out), Some(temperature), Some(power)) =
        (find(THERMAL_RESISTANCE), find("gpu_temperature"), find("gpu_power"))
    else {
        return;
    };
    let inlet = find("inlet").and_then(|i| of_host[i].as_ref());
    let mut made = Vec::new();
    for (device, degrees) in &of_devices[temperature] {
        let Some((_, watts)) = of_devices[power].iter().find(|(d, _)| d == device) else {
            continue;
        };
        let values = (0..blocks)
            .map(|b| {
                let air = inlet.map_or(25.0, |v| if v[b].is_nan() { 25.0 } else { v[b] });
                (degrees[b] - air) / watts[b].max(250.0) * 100.0
            })
            // f32::max ignores a NaN, so a missing power would pass for an idle device.
            .zip(watts)
            .map(|(v, w)| if w.is_nan() { f32::NAN } else { v })
            .collect();
        made.push((*device, values));
    }
    of_devices[out] = made;
}
