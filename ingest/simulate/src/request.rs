//! The fleet's samples as the requests that its agents would send.

use std::ops::RangeInclusive;

use wire::otlp::write::RequestWriter;

use crate::catalogue::{GPU_COLUMNS, HOST_COLUMNS, XID};
use crate::host::{HostReading, HostSim};

/// The body of one OTLP metrics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `ExportMetricsServiceRequest`, protobuf, not compressed.
    pub body: Vec<u8>,
    /// How many points it holds.
    pub points: u64,
    /// Time of its earliest point, milliseconds UTC.
    pub first_ms: i64,
    /// Time of its latest point.
    pub last_ms: i64,
}

/// All hosts' samples in order of time, a slice of time after the other; see [`Fleet::requests`](crate::Fleet::requests).
#[derive(Debug)]
pub struct Requests {
    hosts: Vec<HostSim>,
    start_ms: i64,
    step_ms: i64,
    /// The step after the last one that is wanted.
    end: i64,
    points_max: usize,
    points_per_step: usize,
    /// The slice of time in progress, and the first host that has not written its part of it.
    slice: std::ops::Range<i64>,
    host: usize,
    writer: RequestWriter,
}

impl Requests {
    pub(crate) fn new(
        mut hosts: Vec<HostSim>,
        range: &RangeInclusive<i64>,
        start_ms: i64,
        step_ms: i64,
        steps: i64,
        points_max: usize,
    ) -> Self {
        let first = (range.start().saturating_sub(start_ms)).max(0).div_euclid(step_ms)
            + i64::from(range.start().saturating_sub(start_ms).max(0).rem_euclid(step_ms) != 0);
        let last = if *range.end() < start_ms {
            -1
        } else {
            (range.end() - start_ms).div_euclid(step_ms)
        };
        let first = first.min(steps);
        let end = (last + 1).clamp(first, steps);
        // The past is lived through without being told, so that a fleet is the same whatever part of it is asked for.
        if first < end {
            for host in &mut hosts {
                for _ in 0..first {
                    host.step();
                }
            }
        }
        let points_per_step = hosts.iter().map(points_per_host).sum::<usize>().max(1);
        let done = hosts.len();
        Self {
            hosts,
            start_ms,
            step_ms,
            end,
            points_max: points_max.max(1),
            points_per_step,
            slice: first..first,
            host: done,
            writer: RequestWriter::new(&[], "foreshock.agent"),
        }
    }

    /// The next request, if it has samples of `limit_ms` or earlier. What is later waits for the next call, so that a caller
    /// can walk through the fleet's time at its own pace.
    pub fn next_until(&mut self, limit_ms: i64) -> Option<Request> {
        loop {
            if self.host == self.hosts.len() {
                let from = self.slice.end;
                let limit = (limit_ms.saturating_sub(self.start_ms))
                    .div_euclid(self.step_ms)
                    .saturating_add(1);
                let end = self.end.min(limit);
                if from >= end || self.hosts.is_empty() {
                    return None;
                }
                let steps = (self.points_max / self.points_per_step).max(1) as i64;
                self.slice = from..end.min(from + steps);
                self.host = 0;
            }
            if let Some(request) = self.write() {
                return Some(request);
            }
        }
    }

    /// Writes the next hosts' part of the slice; `None` when nothing was heard from them.
    fn write(&mut self) -> Option<Request> {
        let steps = (self.slice.end - self.slice.start) as usize;
        let mut room = self.points_max;
        let (mut points, mut first_ms, mut last_ms) = (0, i64::MAX, i64::MIN);
        let begin = self.host;
        while let Some(host) = self.hosts.get_mut(self.host) {
            let expected = steps * points_per_host(host);
            if self.host > begin && expected > room {
                break;
            }
            room = room.saturating_sub(expected);
            self.host += 1;
            let readings: Vec<HostReading> = (0..steps).filter_map(|_| host.step().cloned()).collect();
            if let (Some(first), Some(last)) = (readings.first(), readings.last()) {
                first_ms = first_ms.min(first.at_ms);
                last_ms = last_ms.max(last.at_ms);
                points += write_host(&mut self.writer, host, &readings);
            }
        }
        if points == 0 {
            return None;
        }
        Some(Request {
            body: self.writer.finish(),
            points,
            first_ms,
            last_ms,
        })
    }
}

impl Iterator for Requests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.next_until(i64::MAX)
    }
}

fn points_per_host(host: &HostSim) -> usize {
    HOST_COLUMNS.len() + host.plan.gpu_ids.len() * GPU_COLUMNS.len()
}

fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0) * 1_000_000
}

/// Writes one host's readings as a resource of its own. Returns the number of points.
fn write_host(writer: &mut RequestWriter, host: &HostSim, readings: &[HostReading]) -> u64 {
    let plan = &host.plan;
    writer.next_resource(&[("host.name", &plan.name), ("service.name", "foreshock-agent")]);
    let mut points = 0;
    for (n, column) in HOST_COLUMNS.iter().enumerate() {
        if n == 0 || !std::ptr::eq(HOST_COLUMNS[n - 1].metric, column.metric) {
            writer.metric(column.metric);
        }
        for reading in readings {
            writer.point(
                column.attributes,
                nanos(reading.boot_ms),
                nanos(reading.at_ms),
                (column.value)(reading),
            );
        }
        points += readings.len() as u64;
    }
    // PCI addresses, as the driver names slots.
    let slots: Vec<String> = (0..plan.gpu_ids.len())
        .map(|slot| format!("00000000:{:02X}:00.0", 0x1b + 0x10 * slot))
        .collect();
    for (n, column) in GPU_COLUMNS.iter().enumerate() {
        if n == 0 || !std::ptr::eq(GPU_COLUMNS[n - 1].metric, column.metric) {
            writer.metric(column.metric);
        }
        for (slot, id) in plan.gpu_ids.iter().enumerate() {
            let attributes = [
                ("hw.id", id.as_str()),
                ("hw.type", "gpu"),
                ("gpu.slot", slots[slot].as_str()),
                column.attribute.unwrap_or_default(),
            ];
            let attributes = if column.attribute.is_some() {
                &attributes[..]
            } else {
                &attributes[..3]
            };
            for reading in readings {
                let gpu = &reading.gpus[slot];
                if gpu.present {
                    writer.point(
                        attributes,
                        nanos(gpu.reset_ms),
                        nanos(reading.at_ms),
                        (column.value)(gpu),
                    );
                    points += 1;
                }
            }
        }
    }
    writer.metric(&XID);
    for (slot, id) in plan.gpu_ids.iter().enumerate() {
        for reading in readings {
            for (code, count) in &reading.gpus[slot].xids {
                let code = code.to_string();
                let attributes = [
                    ("hw.id", id.as_str()),
                    ("hw.type", "gpu"),
                    ("gpu.slot", slots[slot].as_str()),
                    ("xid", code.as_str()),
                ];
                writer.point(
                    &attributes,
                    nanos(reading.boot_ms),
                    nanos(reading.at_ms),
                    f64::from(*count),
                );
                points += 1;
            }
        }
    }
    points
}
