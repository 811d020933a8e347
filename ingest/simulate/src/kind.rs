//! The ways in which a simulated host fails, and the ways in which it only seems to.

use std::fmt;

/// How a host or one of its GPUs fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// One GPU runs ever hotter until it shuts down.
    GpuThermal,
    /// Corrected memory errors become frequent, rows are remapped, then an error cannot be corrected.
    GpuEcc,
    /// A GPU falls off the bus: after bursts of PCIe replays and slow readings, or out of the blue.
    GpuOffBus,
    /// CRC errors on an `NVLink` grow until the link goes down.
    Nvlink,
    /// A process leaks memory until the kernel kills it.
    HostOom,
    /// A file system fills up.
    DiskFull,
    /// A fan slows down until the host turns itself off.
    FanFailure,
    /// A service becomes slower, then stops.
    LatencyCrash,
    /// The host is gone, without any sign before.
    HostSudden,
    /// A GPU is gone, without any sign before.
    GpuSudden,
}

impl Failure {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::GpuThermal,
        Self::GpuEcc,
        Self::GpuOffBus,
        Self::Nvlink,
        Self::HostOom,
        Self::DiskFull,
        Self::FanFailure,
        Self::LatencyCrash,
        Self::HostSudden,
        Self::GpuSudden,
    ];

    /// The name of the kind in incidents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpuThermal => "gpu_thermal",
            Self::GpuEcc => "gpu_ecc",
            Self::GpuOffBus => "gpu_off_bus",
            Self::Nvlink => "nvlink",
            Self::HostOom => "host_oom",
            Self::DiskFull => "disk_full",
            Self::FanFailure => "fan_failure",
            Self::LatencyCrash => "latency_crash",
            Self::HostSudden => "host_sudden",
            Self::GpuSudden => "gpu_sudden",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// True when the failure is one GPU's, not the whole host's.
    #[must_use]
    pub const fn is_of_gpu(self) -> bool {
        matches!(
            self,
            Self::GpuThermal | Self::GpuEcc | Self::GpuOffBus | Self::Nvlink | Self::GpuSudden
        )
    }

    /// Out of a hundred failures, how many are of this kind: GPU faults lead, as in the field reports of Llama 3 and
    /// of large research clusters.
    pub(crate) const SHARES: [(Self, f64); 10] = [
        (Self::GpuThermal, 11.0),
        (Self::GpuEcc, 16.0),
        (Self::GpuOffBus, 12.0),
        (Self::Nvlink, 9.0),
        (Self::HostOom, 13.0),
        (Self::DiskFull, 7.0),
        (Self::FanFailure, 7.0),
        (Self::LatencyCrash, 11.0),
        (Self::HostSudden, 8.0),
        (Self::GpuSudden, 6.0),
    ];

    /// How many hours before the failure its signs begin: shortest and longest; `None` when there are none.
    pub(crate) const fn lead_hours(self) -> Option<(f64, f64)> {
        match self {
            Self::GpuThermal => Some((2.0, 20.0)),
            Self::GpuEcc => Some((5.0, 60.0)),
            Self::GpuOffBus => Some((0.4, 4.0)),
            Self::Nvlink => Some((1.0, 16.0)),
            Self::HostOom => Some((1.5, 30.0)),
            Self::DiskFull => Some((4.0, 48.0)),
            Self::FanFailure => Some((1.0, 14.0)),
            Self::LatencyCrash => Some((0.5, 4.0)),
            Self::HostSudden | Self::GpuSudden => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A change that looks like the beginning of a failure and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scare {
    /// A process leaks memory and is restarted in time.
    LeakRestarted,
    /// A file system fills up and is cleaned.
    DiskRotated,
    /// A burst of corrected memory errors that fades.
    SbeBurst,
    /// Another tenant takes the CPU and slows the service.
    NoisyNeighbour,
    /// A burst of PCIe replays that fades.
    ReplayBurst,
    /// The service slows down and recovers.
    LatencyBump,
}

impl Scare {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::LeakRestarted,
        Self::DiskRotated,
        Self::SbeBurst,
        Self::NoisyNeighbour,
        Self::ReplayBurst,
        Self::LatencyBump,
    ];

    /// The name of the kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeakRestarted => "leak_restarted",
            Self::DiskRotated => "disk_rotated",
            Self::SbeBurst => "sbe_burst",
            Self::NoisyNeighbour => "noisy_neighbour",
            Self::ReplayBurst => "replay_burst",
            Self::LatencyBump => "latency_bump",
        }
    }

    /// True when it is about one GPU.
    #[must_use]
    pub const fn is_of_gpu(self) -> bool {
        matches!(self, Self::SbeBurst | Self::ReplayBurst)
    }

    pub(crate) const SHARES: [(Self, f64); 6] = [
        (Self::LeakRestarted, 18.0),
        (Self::DiskRotated, 14.0),
        (Self::SbeBurst, 18.0),
        (Self::NoisyNeighbour, 20.0),
        (Self::ReplayBurst, 12.0),
        (Self::LatencyBump, 18.0),
    ];

    /// How many hours it lasts: shortest and longest.
    pub(crate) const fn hours(self) -> (f64, f64) {
        match self {
            Self::LeakRestarted => (1.5, 24.0),
            Self::DiskRotated => (4.0, 40.0),
            Self::SbeBurst => (2.0, 30.0),
            Self::NoisyNeighbour => (0.2, 4.0),
            Self::ReplayBurst => (0.4, 5.0),
            Self::LatencyBump => (0.4, 4.0),
        }
    }
}

impl fmt::Display for Scare {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
