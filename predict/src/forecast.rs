//! When something runs out: a robust line through the recent past, with an interval, and the honesty to see no line.
//!
//! The slope is Theil and Sen's: the median of the slopes between all pairs, unmoved by a third of wild values; its interval
//! is Sen's (1968), from the variance of Kendall's statistic. A forecast is made only where the interval is above zero,
//! where the rise stands out of the noise, where it is no single step, and where earlier teeth of a saw did not turn at the
//! same height.

use std::collections::HashMap;

use store::{Samples, SeriesId, TimeRange, host_of};

use crate::features::median_f64;
use crate::telemetry::{SeriesRef, Telemetry, TelemetryError, is_usable};
use crate::window::spoken_duration;

/// Points that a line is drawn through: pairs grow with the square.
const POINTS_MAX: usize = 60;
/// Fewer samples than this are no line.
const POINTS_MIN: usize = 8;
/// A limit farther away than this is not worth a forecast: 30 days.
const FAR_SECONDS: f64 = 30.0 * 86_400.0;
/// How far back a line looks, in milliseconds.
const HISTORY_MS: i64 = 6 * 3_600_000;
/// A newest sample older than this says nothing about now.
const STALE_MS: i64 = 5 * 60_000;

/// How long until a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeToLimit {
    /// Seconds at the present slope.
    pub seconds: f64,
    /// The earliest that the slope's 95 % interval allows.
    pub low: f64,
    /// The latest.
    pub high: f64,
    /// Growth per second.
    pub slope: f64,
}

/// Slope and interval of a line, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    low: f64,
    high: f64,
    intercept: f64,
    noise: f64,
}

/// When samples that ascend in time reach `limit`, if they are on their way there.
///
/// Looks at the newest stretch first and, where that shows nothing, at the whole.
///
/// ```
/// use foreshock_predict::forecast::time_to_limit;
/// let leak: Vec<(i64, f64)> = (0..12).map(|i| (i * 1_000, 100.0 + 5.0 * i as f64)).collect();
/// let forecast = time_to_limit(&leak, 255.0).expect("it grows");
/// assert!((forecast.seconds - 20.0).abs() < 0.1);
/// ```
#[must_use]
pub fn time_to_limit(samples: &[(i64, f64)], limit: f64) -> Option<TimeToLimit> {
    let last = samples.last()?.1;
    if last >= limit {
        let slope = 0.0;
        return Some(TimeToLimit {
            seconds: 0.0,
            low: 0.0,
            high: 0.0,
            slope,
        });
    }
    let since_turn = after_last_turn(samples, limit)?;
    let recent = &since_turn[since_turn.len().saturating_sub(POINTS_MAX / 2)..];
    let line = rising_line(recent, limit).or_else(|| rising_line(&thin(since_turn), limit))?;
    let room = limit - last;
    let seconds = room / line.slope;
    (seconds <= FAR_SECONDS).then(|| TimeToLimit {
        seconds,
        low: room / line.high,
        high: room / line.low.max(1e-300),
        slope: line.slope,
    })
}

/// What came after the last large fall, unless earlier teeth turned at or above the present height.
fn after_last_turn(samples: &[(i64, f64)], limit: f64) -> Option<&[(i64, f64)]> {
    let (lowest, highest) = samples
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (_, v)| {
            (l.min(*v), h.max(*v))
        });
    // A fall counts when it undoes a third of the whole range, and that range is worth speaking of.
    let large = (highest - lowest) / 3.0;
    let noise = step_noise(samples);
    let (mut turn, mut peak, mut trough, mut turned_at) = (0, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY);
    if large > 6.0 * noise && large > 1e-3 * limit.abs() {
        for (i, (_, v)) in samples.iter().enumerate() {
            peak = peak.max(*v);
            if peak - v > large {
                turned_at = f64::max(turned_at, peak);
                trough = trough.min(*v);
                // The new tooth begins at the lowest point of the fall.
                (turn, peak) = (i, *v);
            } else if *v < trough && i == turn + 1 {
                (turn, trough) = (i, *v);
            }
        }
    }
    let rest = &samples[turn..];
    let last = rest.last()?.1;
    // A saw that has turned at this height before is expected to turn again, until it rises above its highest turn.
    (last > turned_at + 0.05 * (highest - lowest) || turned_at == f64::NEG_INFINITY).then_some(rest)
}

/// Half the median of the changes from sample to sample against their own median: noise, not slope.
fn step_noise(samples: &[(i64, f64)]) -> f64 {
    let mut steps: Vec<f64> = samples.windows(2).map(|w| w[1].1 - w[0].1).collect();
    if steps.is_empty() {
        return 0.0;
    }
    let middle = median_f64(&mut steps);
    let mut off: Vec<f64> = steps.iter().map(|s| (s - middle).abs()).collect();
    median_f64(&mut off)
}

/// At most [`POINTS_MAX`] points: medians of equal runs.
fn thin(samples: &[(i64, f64)]) -> Vec<(i64, f64)> {
    if samples.len() <= POINTS_MAX {
        return samples.to_vec();
    }
    let run = samples.len().div_ceil(POINTS_MAX);
    // Counted from the newest, so that the newest run is whole.
    samples
        .rchunks(run)
        .map(|chunk| {
            let mut values: Vec<f64> = chunk.iter().map(|(_, v)| *v).collect();
            (chunk[chunk.len() / 2].0, median_f64(&mut values))
        })
        .rev()
        .collect()
}

/// A line through `points` that surely rises, or nothing.
fn rising_line(points: &[(i64, f64)], limit: f64) -> Option<Line> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let line = theil_sen(points)?;
    let span = (points.last()?.0 - points.first()?.0) as f64 / 1e3;
    let rise = line.slope * span;
    let largest_step = points.windows(2).map(|w| w[1].1 - w[0].1).fold(0.0, f64::max);
    let (t, now) = points.last()?;
    let fitted = line.intercept + line.slope * (*t - points[0].0) as f64 / 1e3;
    // The newest third has to rise as well, or the growth is over.
    let tail = theil_sen(&points[points.len() - (points.len() / 3).max(4)..])?;
    let rises = line.low > 0.0
        && rise > 4.0 * line.noise
        && rise > 1e-3 * limit.abs()
        && largest_step < 0.5 * rise
        && (now - fitted).abs() <= 4.0 * line.noise + 0.25 * rise
        && tail.slope > 0.25 * line.slope;
    rises.then_some(line)
}

/// The line of Theil and Sen with Sen's 95 % interval; noise is the median distance from it, scaled to a deviation.
fn theil_sen(points: &[(i64, f64)]) -> Option<Line> {
    let n = points.len();
    let origin = points.first()?.0;
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for (i, (t0, v0)) in points.iter().enumerate() {
        for (t1, v1) in &points[i + 1..] {
            if t1 > t0 {
                slopes.push((v1 - v0) / ((t1 - t0) as f64 / 1e3));
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    let slope = median_f64(&mut slopes);
    let pairs = slopes.len() as f64;
    let deviation = ((n * (n - 1) * (2 * n + 5)) as f64 / 18.0).sqrt();
    let half = 1.96 * deviation;
    let at = |rank: f64| slopes[rank.clamp(0.0, pairs - 1.0) as usize];
    let (low, high) = (at(((pairs - half) / 2.0).floor()), at(((pairs + half) / 2.0).ceil()));
    let mut rest: Vec<f64> = points
        .iter()
        .map(|(t, v)| v - slope * (t - origin) as f64 / 1e3)
        .collect();
    let intercept = median_f64(&mut rest);
    let mut off: Vec<f64> = rest.iter().map(|r| (r - intercept).abs()).collect();
    Some(Line {
        slope,
        low,
        high,
        intercept,
        noise: 1.4826 * median_f64(&mut off),
    })
}

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Main memory of the host.
    Memory,
    /// A file system.
    Disk,
    /// A memory cgroup with a limit.
    CgroupMemory,
    /// The patience of whoever waits for an answer.
    Latency,
}

impl Resource {
    /// The word in series and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::CgroupMemory => "cgroup_memory",
            Self::Latency => "latency",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        use crate::features::catalogue::Area;
        match self {
            Self::Memory | Self::CgroupMemory => Area::Memory.advice(),
            Self::Disk => Area::DiskSpace.advice(),
            Self::Latency => Area::Latency.advice(),
        }
    }
}

/// A forecast for one resource of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The host.
    pub host: String,
    /// What runs out.
    pub resource: Resource,
    /// Which one: mount point, cgroup, probe target; empty for memory.
    pub device: String,
    /// The newest value.
    pub now_value: f64,
    /// The limit.
    pub limit: f64,
    /// Seconds until the limit; nothing where it is not on its way there.
    pub seconds_to_limit: Option<f64>,
    /// The earliest.
    pub low: f64,
    /// The latest.
    pub high: f64,
    /// A sentence.
    pub text: String,
}

/// Limits that no series carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastOptions {
    /// Seconds after which an answer counts as none: the agent's probe timeout, or an objective.
    pub latency_limit_seconds: f64,
}

impl Default for ForecastOptions {
    fn default() -> Self {
        Self {
            latency_limit_seconds: 1.0,
        }
    }
}

/// Forecasts for every host that reports memory, file systems, limited cgroups or probe latencies, as of `now_ms`.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn forecasts(
    telemetry: &dyn Telemetry,
    options: ForecastOptions,
    now_ms: i64,
) -> Result<Vec<Forecast>, TelemetryError> {
    let range = TimeRange::millis(now_ms - HISTORY_MS, now_ms);
    let series = telemetry.series(range)?;
    let limits = cgroup_limits(&series);
    let mut samples = Samples::default();
    let mut newest = |id, from: i64| -> Result<Vec<(i64, f64)>, TelemetryError> {
        samples.clear();
        telemetry.read(id, TimeRange::millis(from, now_ms), &mut samples)?;
        Ok(samples.iter().filter(|(_, v)| is_usable(*v)).collect())
    };
    let mut out = Vec::new();
    for s in &series {
        let Some(host) = host_of(&s.labels) else { continue };
        let label = |name: &str| s.labels.get(name).unwrap_or("").to_owned();
        let (resource, device, limit) = match s.labels.metric() {
            "system_memory_utilization_ratio" => (Resource::Memory, String::new(), 1.0),
            "system_filesystem_utilization_ratio" => (Resource::Disk, label("system_filesystem_mountpoint"), 1.0),
            "cgroup_memory_usage_bytes" => {
                let cgroup = label("cgroup");
                let Some(of_limit) = limits.get(&(host, cgroup.as_str())) else {
                    continue;
                };
                let Some((_, limit)) = newest(*of_limit, now_ms - STALE_MS)?.last().copied() else {
                    continue;
                };
                (Resource::CgroupMemory, cgroup, limit)
            }
            "probe_duration_seconds" => (Resource::Latency, label("probe_target"), options.latency_limit_seconds),
            _ => continue,
        };
        let values = newest(s.id, range.start.0)?;
        let Some((at, now_value)) = values.last().copied() else {
            continue;
        };
        if now_ms - at > STALE_MS || limit.is_nan() || limit <= 0.0 {
            continue;
        }
        let found = time_to_limit(&values, limit);
        out.push(Forecast {
            text: say(resource, &device, now_value, limit, found),
            host: host.to_owned(),
            resource,
            device,
            now_value,
            limit,
            seconds_to_limit: found.map(|f| f.seconds),
            low: found.map_or(f64::INFINITY, |f| f.low),
            high: found.map_or(f64::INFINITY, |f| f.high),
        });
    }
    Ok(out)
}

/// The series of the memory limit of each host's cgroups, the first where there are several.
fn cgroup_limits(series: &[SeriesRef]) -> HashMap<(&str, &str), SeriesId> {
    let of_limits = series
        .iter()
        .filter(|s| s.labels.metric() == "cgroup_memory_limit_bytes");
    let mut limits = HashMap::new();
    for s in of_limits {
        if let Some(host) = host_of(&s.labels) {
            limits
                .entry((host, s.labels.get("cgroup").unwrap_or("")))
                .or_insert(s.id);
        }
    }
    limits
}

fn say(resource: Resource, device: &str, now: f64, limit: f64, found: Option<TimeToLimit>) -> String {
    let what = match resource {
        Resource::Memory => "memory".to_owned(),
        Resource::Disk => format!("file system {device}"),
        Resource::CgroupMemory => format!("memory of cgroup {device}"),
        Resource::Latency => format!("latency of {device}"),
    };
    let state = match resource {
        Resource::Latency => format!("{:.0} ms of {:.0} ms", now * 1e3, limit * 1e3),
        _ => format!("{:.0} % used", now / limit * 100.0),
    };
    let span = |seconds: f64| spoken_duration((seconds.min(FAR_SECONDS) * 1e3) as i64);
    match found {
        None => format!("{what}: {state}, not on its way to the limit"),
        Some(f) if f.seconds <= 0.0 => format!("{what}: {state}, at its limit"),
        Some(f) if span(f.low) == span(f.high) => format!("{what}: {state}, at its limit in {}", span(f.seconds)),
        Some(f) => {
            format!(
                "{what}: {state}, at its limit in {} ({} to {})",
                span(f.seconds),
                span(f.low),
                span(f.high)
            )
        }
    }
}

#[cfg(test)]
mod tests;
