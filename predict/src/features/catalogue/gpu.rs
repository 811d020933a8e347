//! Signals of GPUs.

use super::signal::{Area as A, Reduce, SignalDef, Unit as U, signal};

/// XIDs after which a GPU is not to be trusted: NVIDIA's catalogue asks for a reset, a restart or support, and gpud calls
/// them fatal (facts: `xid_actions.csv`).
pub const FATAL_XIDS: [&str; 15] = [
    "46", "48", "62", "64", "74", "79", "95", "110", "119", "120", "136", "140", "143", "155", "158",
];

pub(super) fn signals() -> Vec<SignalDef> {
    vec![
        signal(
            "gpu_util",
            &["hw_gpu_utilization_ratio", "DCGM_FI_DEV_GPU_UTIL"],
            "GPU in use",
            A::GpuLoad,
            U::Ratio,
        )
        .devices(Reduce::WorstPeerMean)
        .floor(0.01),
        signal(
            "gpu_memory",
            &["hw_gpu_memory_utilization_ratio"],
            "GPU memory in use",
            A::GpuLoad,
            U::Ratio,
        )
        .devices(Reduce::Mean)
        .floor(0.01),
        signal(
            "gpu_temperature",
            &["hw_temperature_celsius", "DCGM_FI_DEV_GPU_TEMP"],
            "GPU temperature",
            A::Thermal,
            U::Celsius,
        )
        .with("hw_sensor_location", &["gpu", ""])
        .devices(Reduce::WorstPeerMean)
        // NVIDIA's data-centre parts slow down at about 87 to 90 °C.
        .limit(90.0)
        .floor(0.5),
        signal(
            "gpu_memory_temperature",
            &["hw_temperature_celsius", "DCGM_FI_DEV_MEMORY_TEMP"],
            "GPU memory temperature",
            A::Thermal,
            U::Celsius,
        )
        .with("hw_sensor_location", &["memory"])
        .devices(Reduce::WorstAndPeer)
        .level()
        .floor(0.5),
        signal(
            "gpu_power",
            &["hw_power_watts", "DCGM_FI_DEV_POWER_USAGE"],
            "GPU power",
            A::GpuLoad,
            U::Watts,
        )
        .devices(Reduce::Mean)
        .floor(5.0),
        signal(
            "gpu_clock",
            &[
                "hw_gpu_clock_MHz",
                "hw_gpu_clock_sm_MHz",
                "hw_gpu_clock",
                "DCGM_FI_DEV_SM_CLOCK",
            ],
            "slowest GPU clock",
            A::Thermal,
            U::Megahertz,
        )
        .low_is_worse()
        .devices(Reduce::WorstAndPeer)
        .floor(15.0),
        signal(
            "gpu_throttle",
            &["hw_gpu_throttle_ratio"],
            "GPU throttled",
            A::Thermal,
            U::Ratio,
        )
        .devices(Reduce::Worst)
        .level()
        .floor(0.01),
        signal(
            "gpu_ecc_corrected",
            &["hw_errors_total"],
            "ECC errors corrected",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("error_type", &["ecc_corrected"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_ecc_uncorrected",
            &["hw_errors_total"],
            "ECC errors not corrected",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("error_type", &["ecc_uncorrected"])
        .events()
        .devices(Reduce::Worst)
        .floor(0.1),
        signal(
            "gpu_remapped",
            &["hw_gpu_remapped_rows", "hw_gpu_remapped_rows_total"],
            "memory rows remapped",
            A::GpuMemory,
            U::Count,
        )
        .devices(Reduce::Worst)
        .floor(0.1),
        signal(
            "gpu_pcie",
            &["hw_errors_total"],
            "PCIe replays",
            A::GpuLink,
            U::PerMinute,
        )
        .with("error_type", &["pcie_replay"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_nvlink",
            &["hw_errors_total"],
            "NVLink CRC errors",
            A::GpuLink,
            U::PerMinute,
        )
        .with("error_type", &["nvlink_crc"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_xid_fatal",
            &["hw_gpu_xid_total"],
            "fatal XIDs",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("xid", &FATAL_XIDS)
        .events()
        .devices(Reduce::Worst)
        .floor(0.5),
    ]
}
