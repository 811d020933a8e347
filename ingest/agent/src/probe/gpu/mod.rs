//! GPUs: utilisation, memory, temperatures, power, clocks, what holds the clocks back, and errors.
//!
//! A sick GPU makes the driver's calls hang or fail, and a detached one leaves no other trace than its absence. So the
//! calls run in a thread of their own, and their duration, their errors and the number of GPUs are readings too.

mod nvml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nvml_wrapper::sys_exports::field_id;

use super::worker::Worker;
use super::{Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::expected::{Device, Expected, Keep};
use crate::reading::Readings;

pub use nvml::Nvml;

/// GPUs beyond this many are left out.
pub(crate) const GPUS_MAX: usize = 32;

const GPU: &str = "gpu";

/// Instances of one GPU beyond this many are left out; the hardware has room for seven.
pub(crate) const INSTANCES_MAX: u32 = 16;

/// A reading that takes longer is reported as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// What reads the GPUs of a host: the driver's library, or recorded readings in tests.
pub trait GpuReader: Send + 'static {
    /// Reads every GPU once. It may hang.
    fn read(&mut self) -> Round;
}

/// All GPUs read once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// How many GPUs the driver lists; `None` when it did not say.
    pub count: Option<u32>,
    /// Those that could be read, each followed by the instances that it is divided into.
    pub gpus: Vec<Gpu>,
    /// The longest that a call took.
    pub slowest_call: Duration,
    /// Names of the errors of calls that failed, other than for want of support, one per call.
    pub errors: Vec<&'static str>,
}

/// One GPU's reading, or that of an instance of a divided one (MIG); what it or its driver does not offer is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Identity that stays with the part: the UUID.
    pub id: String,
    /// Of an instance: the UUID of the GPU that it is of. What is counted of the part itself, such as ECC errors, stands there.
    pub parent: Option<String>,
    /// Where it sits: the PCI address.
    pub slot: String,
    /// Share of time in which a kernel ran, 0 to 1.
    pub utilization: Option<f64>,
    /// Device memory in use, bytes.
    pub memory_used: Option<f64>,
    /// Device memory, bytes.
    pub memory_total: Option<f64>,
    /// Temperature of the chip, degrees Celsius.
    pub temperature: Option<f64>,
    /// Temperature of the memory, degrees Celsius.
    pub memory_temperature: Option<f64>,
    /// Temperature at which the chip slows down, degrees Celsius.
    pub slowdown_temperature: Option<f64>,
    /// Power drawn, watts.
    pub power: Option<f64>,
    /// Power limit in force, watts.
    pub power_limit: Option<f64>,
    /// Clock of the multiprocessors, MHz.
    pub sm_clock: Option<f64>,
    /// Clock of the memory, MHz.
    pub memory_clock: Option<f64>,
    /// Why clocks are held back.
    pub throttle: Option<Throttle>,
    /// Single-bit ECC errors, corrected, since the driver was loaded.
    pub ecc_corrected: Option<f64>,
    /// Double-bit ECC errors, uncorrected, since the driver was loaded.
    pub ecc_uncorrected: Option<f64>,
    /// PCIe packets sent again.
    pub pcie_replays: Option<f64>,
    /// NVLink CRC errors of all links.
    pub nvlink_crc_errors: Option<f64>,
    /// Memory rows replaced after corrected errors.
    pub rows_corrected: Option<f64>,
    /// Memory rows replaced after uncorrected errors.
    pub rows_uncorrected: Option<f64>,
    /// Whether rows wait for a reset to be replaced.
    pub rows_pending: Option<f64>,
    /// Whether replacing a row has failed.
    pub rows_failure: Option<f64>,
    /// PCIe lanes in use.
    pub pcie_width: Option<f64>,
    /// PCIe generation in use.
    pub pcie_generation: Option<f64>,
    /// PCIe lanes that GPU and slot could use.
    pub pcie_width_max: Option<f64>,
    /// PCIe generation that GPU and slot could use.
    pub pcie_generation_max: Option<f64>,
    /// Programs that compute on it.
    pub processes: Option<f64>,
    /// Share of time in which the encoder and the decoder worked, 0 to 1.
    pub encoder: Option<f64>,
    /// As [`Gpu::encoder`].
    pub decoder: Option<f64>,
    /// Whether it is divided into instances.
    pub mig: Option<f64>,
    /// What it is; the same for as long as its driver is loaded.
    pub info: Info,
    /// What is read as one field each, in the order of `FIELD_ROWS`.
    pub fields: [Option<f64>; FIELD_ROWS.len()],
}

impl Gpu {
    /// What tells its points from those of others.
    fn attributes(&self) -> Vec<(&'static str, &str)> {
        let mut attributes = vec![("hw.id", self.id.as_str()), ("hw.type", GPU), ("gpu.slot", &self.slot)];
        attributes.extend(self.parent.as_deref().map(|parent| ("hw.parent", parent)));
        attributes
    }
}

/// What a GPU is, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Such as `NVIDIA H100 80GB HBM3`.
    pub model: Option<String>,
    /// Version of the firmware on the board.
    pub firmware: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
}

/// Reasons for which clocks are held back, beyond idleness and settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The power limit.
    pub power_cap: bool,
    /// The driver, for heat.
    pub software_thermal: bool,
    /// The hardware, for heat.
    pub hardware_thermal: bool,
    /// The hardware, for the power supply's brake signal.
    pub power_brake: bool,
}

/// The GPU probe.
pub struct Gpus {
    reader: Option<Box<dyn GpuReader>>,
    worker: Option<Worker<Round>>,
    /// The file that is there when the driver is loaded.
    driver: Option<PathBuf>,
    /// Every GPU that there was: one that vanishes is reported as failed.
    expected: Expected,
    errors: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Gpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpus")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Gpus {
    /// A probe through the NVIDIA driver's library, which is loaded at the first reading and only where the driver is.
    #[must_use]
    pub fn nvidia(paths: &Paths) -> Self {
        // Asking the library itself could hang, and it must not be loaded where it has nothing to do.
        Self {
            driver: Some(paths.proc.join("driver/nvidia/version")),
            ..Self::with(Box::new(Nvml::default()))
        }
    }

    /// A probe of any reader.
    #[must_use]
    pub fn with(reader: Box<dyn GpuReader>) -> Self {
        Self {
            reader: Some(reader),
            worker: None,
            driver: None,
            expected: Expected::new(Keep::Nowhere),
            errors: BTreeMap::new(),
        }
    }

    /// The same, with the memory of this host's devices.
    pub(crate) fn expecting(self, expected: &Expected) -> Self {
        let expected = expected.clone();
        Self { expected, ..self }
    }

    /// Whether the driver is there to be asked.
    fn has_driver(&self) -> bool {
        self.driver.as_ref().is_none_or(|driver| driver.exists())
    }

    /// Takes note of the GPUs that are there, and tells of those that are expected.
    fn tell(&self, time: u64, gpus: &[Gpu], out: &mut Readings<'_>) {
        let device = |gpu: &Gpu| Device {
            kind: GPU.to_owned(),
            id: gpu.id.clone(),
            slot: gpu.slot.clone(),
        };
        // Instances are made and taken away at will.
        let parts = gpus.iter().filter(|gpu| gpu.parent.is_none());
        let there: Vec<Device> = parts.map(device).collect();
        self.expected.found(GPU, &there, time / 1_000_000_000);
        out.metric(&metric::HW_STATUS);
        for (device, there) in self.expected.of(GPU) {
            let attributes = [
                ("hw.id", device.id.as_str()),
                ("hw.type", GPU),
                ("gpu.slot", &device.slot),
                ("hw.state", "ok"),
            ];
            out.point_at(time, &attributes, f64::from(u8::from(there)));
        }
    }

    fn emit(&mut self, time: u64, round: &Round, out: &mut Readings<'_>) {
        for error in &round.errors {
            *self.errors.entry(error).or_default() += 1;
        }
        emit_gpus(time, &round.gpus, out);
        self.tell(time, &round.gpus, out);
        out.metric(&metric::HW_INFO);
        for gpu in &round.gpus {
            let Info {
                model,
                firmware,
                driver,
            } = &gpu.info;
            let mut attributes = gpu.attributes();
            attributes.push(("hw.vendor", "NVIDIA"));
            for (key, fact) in [
                ("hw.model", model),
                ("hw.firmware_version", firmware),
                ("hw.driver_version", driver),
            ] {
                attributes.extend(fact.as_deref().map(|fact| (key, fact)));
            }
            out.point_at(time, &attributes, 1.0);
        }
        if let Some(count) = round.count {
            out.metric(&metric::GPU_COUNT);
            out.point_at(time, &[], f64::from(count));
        }
        out.metric(&metric::GPU_CALL_DURATION);
        out.point_at(time, &[], round.slowest_call.as_secs_f64());
    }
}

impl Probe for Gpus {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn is_supported(&mut self) -> Support {
        match &self.driver {
            // Without a driver nothing else tells of GPUs that were there.
            Some(driver) if !self.has_driver() && !self.expected.has(GPU) => {
                Support::No(format!("no NVIDIA driver is loaded ({} is absent)", driver.display()))
            }
            _ => Support::Yes,
        }
    }

    fn begin(&mut self) {
        if !self.has_driver() {
            return;
        }
        if let Some(mut reader) = self.reader.take() {
            // Without a thread there is no reading; the sampler reports the probe as failed each round.
            self.worker = Worker::spawn("gpu", move || reader.read()).ok();
        }
        if let Some(worker) = &self.worker {
            worker.begin();
        }
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        if !self.has_driver() {
            self.tell(out.now, &[], out);
            return Ok(());
        }
        let Some(worker) = &self.worker else {
            return Err(ProbeError::Stalled {
                what: "the GPU probe's thread",
                seconds: 0,
            });
        };
        let rounds = worker.take(deadline);
        let busy = worker.busy_for();
        for timed in &rounds {
            self.emit(timed.unix_nanos, &timed.reading, out);
        }
        out.metric(&metric::GPU_CALL_ERRORS);
        for (error, count) in &self.errors {
            out.point(&[("error.type", error)], *count as f64);
        }
        match busy {
            Some(busy) if busy > STALLED_AFTER => {
                out.single(&metric::GPU_CALL_DURATION, busy.as_secs_f64());
                Err(ProbeError::Stalled {
                    what: "the GPU driver",
                    seconds: busy.as_secs(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// A metric, the attributes that tell its points of one GPU apart, and where the value is.
type Row = (
    &'static metric::Metric,
    &'static [(&'static str, &'static str)],
    fn(&Gpu) -> Option<f64>,
);

/// A field of `nvmlDeviceGetFieldValues`, the metric and attributes that it is sent under, and its factor.
type FieldRow = (
    u32,
    &'static metric::Metric,
    &'static [(&'static str, &'static str)],
    f64,
);

/// Counts kept for the GPU's life, links, pages, energy, and the time for which clocks were held back.
const FIELD_ROWS: [FieldRow; 12] = [
    (
        field_id::NVML_FI_DEV_ECC_SBE_AGG_TOTAL,
        &metric::HW_ERRORS,
        &[("error.type", "ecc_corrected_lifetime")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_ECC_DBE_AGG_TOTAL,
        &metric::HW_ERRORS,
        &[("error.type", "ecc_uncorrected_lifetime")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
        &metric::HW_ERRORS,
        &[("error.type", "nvlink_crc_data")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
        &metric::HW_ERRORS,
        &[("error.type", "nvlink_replay")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
        &metric::HW_ERRORS,
        &[("error.type", "nvlink_recovery")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_RETIRED_SBE,
        &metric::GPU_RETIRED_PAGES,
        &[("state", "corrected")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_RETIRED_DBE,
        &metric::GPU_RETIRED_PAGES,
        &[("state", "uncorrected")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_RETIRED_PENDING,
        &metric::GPU_RETIRED_PAGES,
        &[("state", "pending")],
        1.0,
    ),
    (
        field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
        &metric::HW_ENERGY,
        &[],
        1e-3,
    ),
    (
        field_id::NVML_FI_DEV_PERF_POLICY_POWER,
        &metric::GPU_THROTTLED_TIME,
        &[("reason", "power")],
        1e-9,
    ),
    (
        field_id::NVML_FI_DEV_PERF_POLICY_THERMAL,
        &metric::GPU_THROTTLED_TIME,
        &[("reason", "thermal")],
        1e-9,
    ),
    (
        field_id::NVML_FI_DEV_PERF_POLICY_RELIABILITY,
        &metric::GPU_THROTTLED_TIME,
        &[("reason", "reliability")],
        1e-9,
    ),
];

const ROWS: [Row; 32] = [
    (&metric::GPU_UTILIZATION, &[], |gpu| gpu.utilization),
    (&metric::GPU_UTILIZATION, &[("hw.gpu.task", "encoder")], |gpu| {
        gpu.encoder
    }),
    (&metric::GPU_UTILIZATION, &[("hw.gpu.task", "decoder")], |gpu| {
        gpu.decoder
    }),
    (&metric::GPU_PROCESSES, &[], |gpu| gpu.processes),
    (&metric::GPU_MIG, &[], |gpu| gpu.mig),
    (&metric::GPU_MEMORY_USAGE, &[], |gpu| gpu.memory_used),
    (&metric::GPU_MEMORY_LIMIT, &[], |gpu| gpu.memory_total),
    (&metric::GPU_MEMORY_UTILIZATION, &[], |gpu| {
        Some(gpu.memory_used? / gpu.memory_total.filter(|total| *total > 0.0)?)
    }),
    (&metric::HW_TEMPERATURE, &[("hw.sensor_location", "gpu")], |gpu| {
        gpu.temperature
    }),
    (&metric::HW_TEMPERATURE, &[("hw.sensor_location", "memory")], |gpu| {
        gpu.memory_temperature
    }),
    (&metric::HW_TEMPERATURE_LIMIT, &[("hw.sensor_location", "gpu")], |gpu| {
        gpu.slowdown_temperature
    }),
    (&metric::HW_POWER, &[], |gpu| gpu.power),
    (&metric::HW_POWER_LIMIT, &[], |gpu| gpu.power_limit),
    (&metric::GPU_CLOCK, &[("domain", "sm")], |gpu| gpu.sm_clock),
    (&metric::GPU_CLOCK, &[("domain", "memory")], |gpu| gpu.memory_clock),
    (&metric::GPU_THROTTLE, &[("reason", "power_cap")], |gpu| {
        gpu.throttle.map(|reasons| flag(reasons.power_cap))
    }),
    (&metric::GPU_THROTTLE, &[("reason", "software_thermal")], |gpu| {
        gpu.throttle.map(|reasons| flag(reasons.software_thermal))
    }),
    (&metric::GPU_THROTTLE, &[("reason", "hardware_thermal")], |gpu| {
        gpu.throttle.map(|reasons| flag(reasons.hardware_thermal))
    }),
    (&metric::GPU_THROTTLE, &[("reason", "power_brake")], |gpu| {
        gpu.throttle.map(|reasons| flag(reasons.power_brake))
    }),
    (&metric::HW_ERRORS, &[("error.type", "ecc_corrected")], |gpu| {
        gpu.ecc_corrected
    }),
    (&metric::HW_ERRORS, &[("error.type", "ecc_uncorrected")], |gpu| {
        gpu.ecc_uncorrected
    }),
    (&metric::HW_ERRORS, &[("error.type", "pcie_replay")], |gpu| {
        gpu.pcie_replays
    }),
    (&metric::HW_ERRORS, &[("error.type", "nvlink_crc")], |gpu| {
        gpu.nvlink_crc_errors
    }),
    (&metric::GPU_REMAPPED_ROWS, &[("state", "corrected")], |gpu| {
        gpu.rows_corrected
    }),
    (&metric::GPU_REMAPPED_ROWS, &[("state", "uncorrected")], |gpu| {
        gpu.rows_uncorrected
    }),
    (&metric::GPU_REMAPPED_ROWS, &[("state", "pending")], |gpu| {
        gpu.rows_pending
    }),
    (&metric::GPU_REMAPPED_ROWS, &[("state", "failure")], |gpu| {
        gpu.rows_failure
    }),
    (&metric::GPU_PCIE_WIDTH, &[], |gpu| gpu.pcie_width),
    (&metric::GPU_PCIE_GENERATION, &[], |gpu| gpu.pcie_generation),
    (&metric::GPU_PCIE_LIMIT, &[("of", "width")], |gpu| gpu.pcie_width_max),
    (&metric::GPU_PCIE_LIMIT, &[("of", "generation")], |gpu| {
        gpu.pcie_generation_max
    }),
    (
        &metric::HW_TEMPERATURE_MARGIN,
        &[("hw.sensor_location", "gpu")],
        |gpu| Some(gpu.slowdown_temperature? - gpu.temperature?),
    ),
];

fn emit_gpus(time: u64, gpus: &[Gpu], out: &mut Readings<'_>) {
    let mut open: Option<&'static str> = None;
    for (metric, extra, value) in ROWS {
        if open != Some(metric.def.name) {
            open = Some(metric.def.name);
            out.metric(metric);
        }
        for gpu in gpus {
            if let Some(value) = value(gpu) {
                emit_gpu(time, gpu, extra, value, out);
            }
        }
    }
    for (place, (_, metric, extra, factor)) in FIELD_ROWS.iter().enumerate() {
        if open != Some(metric.def.name) {
            open = Some(metric.def.name);
            out.metric(metric);
        }
        for gpu in gpus {
            if let Some(value) = gpu.fields[place] {
                emit_gpu(time, gpu, extra, value * factor, out);
            }
        }
    }
}

fn emit_gpu(time: u64, gpu: &Gpu, extra: &[(&'static str, &'static str)], value: f64, out: &mut Readings<'_>) {
    let mut attributes = gpu.attributes();
    attributes.extend(extra);
    out.point_at(time, &attributes, value);
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[cfg(test)]
mod tests;
