//! The NVIDIA driver's library, loaded at run time: the same binary runs on hosts without a GPU.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::Utilization;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml as Library};

use super::{FIELD_ROWS, GPUS_MAX, Gpu, GpuReader, INSTANCES_MAX, Info, Round, Throttle};

/// Names of the library: packages for running programs bring the first only.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

/// Reads through NVML.
#[derive(Debug)]
pub struct Nvml {
    /// Where the library is looked for, in order.
    names: Vec<OsString>,
    library: Option<Library>,
    warned: bool,
    /// What each GPU and instance is, by UUID: asked once for as long as it and the library stay.
    infos: BTreeMap<String, Info>,
}

impl Default for Nvml {
    fn default() -> Self {
        Self {
            names: LIBRARIES.map(OsString::from).to_vec(),
            library: None,
            warned: false,
            infos: BTreeMap::new(),
        }
    }
}

impl GpuReader for Nvml {
    fn read(&mut self) -> Round {
        let mut calls = Calls::default();
        if self.library.is_none() {
            self.library = calls.of(|| load(&self.names));
            self.infos.clear();
        }
        let Some(library) = &self.library else {
            if !self.warned {
                tracing::warn!(errors = ?calls.errors, "cannot load the NVIDIA management library; no GPU readings until it loads");
                self.warned = true;
            }
            return calls.into_round(None, Vec::new());
        };
        self.warned = false;
        let count = calls.of(|| library.device_count());
        let mut gpus = Vec::new();
        for index in 0..count.unwrap_or(0).min(GPUS_MAX as u32) {
            let Some(device) = calls.of(|| library.device_by_index(index)) else {
                continue;
            };
            let Some(mut gpu) = gpu(&device, &mut calls) else {
                continue;
            };
            let entry = self.infos.entry(gpu.id.clone());
            gpu.info = entry.or_insert_with(|| info(library, &device, &mut calls)).clone();
            let divided = gpu.mig == Some(1.0);
            let (place, slots) = (gpus.len(), if divided { slots(&device, &mut calls) } else { 0 });
            gpus.push(gpu);
            for slot in 0..slots {
                let Some((instance, mut read)) = instance(&device, slot, &gpus[place], &mut calls) else {
                    continue;
                };
                // The driver and the board are its GPU's.
                let entry = self.infos.entry(read.id.clone());
                let info = entry.or_insert_with(|| Info {
                    model: calls.of(|| instance.name()),
                    ..Info::default()
                });
                read.info = info.clone();
                gpus.push(read);
            }
        }
        self.infos.retain(|id, _| gpus.iter().any(|gpu| gpu.id == *id));
        if calls.library_lost {
            // The driver was unloaded or replaced under the library: load it anew for the next round.
            self.library = None;
        }
        calls.into_round(count, gpus)
    }
}

fn load(names: &[OsString]) -> Result<Library, NvmlError> {
    let mut last = NvmlError::LibraryNotFound;
    for name in names {
        match Library::builder().lib_path(name).init() {
            Ok(library) => return Ok(library),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `None` when the GPU does not even tell its identity: it is then reported as gone.
fn gpu(device: &Device<'_>, calls: &mut Calls) -> Option<Gpu> {
    let id = calls.of(|| device.uuid())?;
    let slot = calls.of(|| device.pci_info()).map(|pci| pci.bus_id).unwrap_or_default();
    let utilization = calls.of(|| device.utilization_rates());
    let memory = calls.of(|| device.memory_info());
    let reasons = calls.of(|| device.current_throttle_reasons());
    let mut gpu = Gpu {
        id,
        slot,
        utilization: utilization.map(busy),
        memory_used: memory.as_ref().map(|memory| memory.used as f64),
        memory_total: memory.as_ref().map(|memory| memory.total as f64),
        temperature: calls.of(|| device.temperature(TemperatureSensor::Gpu)).map(f64::from),
        slowdown_temperature: calls
            .of(|| device.temperature_threshold(TemperatureThreshold::Slowdown))
            .map(f64::from),
        power: calls.of(|| device.power_usage()).map(watts),
        power_limit: calls.of(|| device.enforced_power_limit()).map(watts),
        sm_clock: calls.of(|| device.clock_info(Clock::SM)).map(f64::from),
        memory_clock: calls.of(|| device.clock_info(Clock::Memory)).map(f64::from),
        throttle: reasons.map(throttle),
        pcie_replays: calls.of(|| device.pcie_replay_counter()).map(f64::from),
        pcie_width: calls.of(|| device.current_pcie_link_width()).map(f64::from),
        pcie_generation: calls.of(|| device.current_pcie_link_gen()).map(f64::from),
        pcie_width_max: calls.of(|| device.max_pcie_link_width()).map(f64::from),
        pcie_generation_max: calls.of(|| device.max_pcie_link_gen()).map(f64::from),
        processes: calls.of(|| device.running_compute_processes_count()).map(f64::from),
        encoder: calls
            .of(|| device.encoder_utilization())
            .map(|used| f64::from(used.utilization) / 100.0),
        decoder: calls
            .of(|| device.decoder_utilization())
            .map(|used| f64::from(used.utilization) / 100.0),
        // Graphics cards cannot be divided at all, and say so.
        mig: calls.of(|| device.mig_mode()).map(|mode| f64::from(mode.current)),
        ..Gpu::default()
    };
    fields(device, calls, &mut gpu);
    Some(gpu)
}

/// How many instances the GPU could be divided into; any of the places may be empty.
fn slots(device: &Device<'_>, calls: &mut Calls) -> u32 {
    calls.of(|| device.mig_device_count()).unwrap_or(0).min(INSTANCES_MAX)
}

/// One instance of a divided GPU; `None` when there is none at the place, or it does not tell its identity.
///
/// Memory and processes are its own. Its utilisation is what few drivers tell, and none of what the part counts is asked.
fn instance<'nvml>(gpu: &Device<'nvml>, place: u32, parent: &Gpu, calls: &mut Calls) -> Option<(Device<'nvml>, Gpu)> {
    let device = calls.of(|| match gpu.mig_device_by_index(place) {
        Err(NvmlError::NotFound) => Ok(None),
        found => found.map(Some),
    })??;
    let id = calls.of(|| device.uuid())?;
    let memory = calls.of(|| device.memory_info());
    let instance = Gpu {
        id,
        parent: Some(parent.id.clone()),
        slot: parent.slot.clone(),
        utilization: calls.of(|| device.utilization_rates()).map(busy),
        memory_used: memory.as_ref().map(|memory| memory.used as f64),
        memory_total: memory.as_ref().map(|memory| memory.total as f64),
        processes: calls.of(|| device.running_compute_processes_count()).map(f64::from),
        ..Gpu::default()
    };
    Some((device, instance))
}

fn busy(rates: Utilization) -> f64 {
    f64::from(rates.gpu) / 100.0
}

fn info(library: &Library, device: &Device<'_>, calls: &mut Calls) -> Info {
    Info {
        model: calls.of(|| device.name()),
        firmware: calls.of(|| device.vbios_version()),
        driver: calls.of(|| library.sys_driver_version()),
    }
}

/// A field of `nvmlDeviceGetFieldValues` and where its value goes.
type Field = (u32, fn(&mut Gpu) -> &mut Option<f64>);

/// Read in one call. ECC counts are those since the driver was loaded, which a rate needs; rows are kept for life.
const FIELDS: [Field; 8] = [
    (field_id::NVML_FI_DEV_MEMORY_TEMP, |gpu| &mut gpu.memory_temperature),
    (field_id::NVML_FI_DEV_ECC_SBE_VOL_TOTAL, |gpu| &mut gpu.ecc_corrected),
    (field_id::NVML_FI_DEV_ECC_DBE_VOL_TOTAL, |gpu| &mut gpu.ecc_uncorrected),
    (field_id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, |gpu| {
        &mut gpu.nvlink_crc_errors
    }),
    (field_id::NVML_FI_DEV_REMAPPED_COR, |gpu| &mut gpu.rows_corrected),
    (field_id::NVML_FI_DEV_REMAPPED_UNC, |gpu| &mut gpu.rows_uncorrected),
    (field_id::NVML_FI_DEV_REMAPPED_PENDING, |gpu| &mut gpu.rows_pending),
    (field_id::NVML_FI_DEV_REMAPPED_FAILURE, |gpu| &mut gpu.rows_failure),
];

fn fields(device: &Device<'_>, calls: &mut Calls, gpu: &mut Gpu) {
    let named = FIELDS.iter().map(|(id, _)| FieldId(*id));
    let ids: Vec<FieldId> = named.chain(FIELD_ROWS.iter().map(|(id, ..)| FieldId(*id))).collect();
    let Some(values) = calls.of(|| device.field_values_for(&ids)) else {
        return;
    };
    // Each field may fail on its own; what the GPU does not have is no error.
    let mut values = values
        .into_iter()
        .map(|value| calls.note(value.and_then(|sample| sample.value)).map(number));
    for (_, place) in FIELDS {
        *place(gpu) = values.next().flatten();
    }
    for place in &mut gpu.fields {
        *place = values.next().flatten();
    }
}

fn number(value: SampleValue) -> f64 {
    match value {
        SampleValue::F64(value) => value,
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
    }
}

fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1e3
}

fn throttle(reasons: ThrottleReasons) -> Throttle {
    Throttle {
        power_cap: reasons.contains(ThrottleReasons::SW_POWER_CAP),
        software_thermal: reasons.contains(ThrottleReasons::SW_THERMAL_SLOWDOWN),
        hardware_thermal: reasons.contains(ThrottleReasons::HW_THERMAL_SLOWDOWN),
        power_brake: reasons.contains(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN),
    }
}

/// Times calls and counts their errors.
#[derive(Debug, Default)]
struct Calls {
    slowest: Duration,
    errors: Vec<&'static str>,
    library_lost: bool,
}

impl Calls {
    fn of<T>(&mut self, call: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        let began = Instant::now();
        let result = call();
        self.slowest = self.slowest.max(began.elapsed());
        self.note(result)
    }

    fn note<T>(&mut self, result: Result<T, NvmlError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.library_lost |= is_lost(&error);
                self.errors.extend(name(&error));
                None
            }
        }
    }

    fn into_round(self, count: Option<u32>, gpus: Vec<Gpu>) -> Round {
        Round {
            count,
            gpus,
            slowest_call: self.slowest,
            errors: self.errors,
        }
    }
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::Uninitialized | NvmlError::DriverNotLoaded | NvmlError::LibRmVersionMismatch
    )
}

/// The error's name for `error.type`; `None` for what the GPU or the driver simply does not offer.
fn name(error: &NvmlError) -> Option<&'static str> {
    match error {
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound
        | NvmlError::NoData => None,
        NvmlError::GpuLost => Some("gpu_lost"),
        NvmlError::ResetRequired => Some("reset_required"),
        NvmlError::Timeout => Some("timeout"),
        NvmlError::IrqIssue => Some("irq_issue"),
        NvmlError::InsufficientPower => Some("insufficient_power"),
        NvmlError::CorruptedInfoROM => Some("corrupted_inforom"),
        NvmlError::NoPermission => Some("no_permission"),
        NvmlError::DriverNotLoaded => Some("driver_not_loaded"),
        NvmlError::LibraryNotFound | NvmlError::LibloadingError(_) => Some("library_not_found"),
        NvmlError::LibRmVersionMismatch => Some("version_mismatch"),
        NvmlError::Uninitialized => Some("uninitialized"),
        NvmlError::OperatingSystem => Some("operating_system"),
        NvmlError::Unknown => Some("unknown"),
        _ => Some("other"),
    }
}

#[cfg(test)]
mod tests;
