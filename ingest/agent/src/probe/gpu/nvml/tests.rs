use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::probe::gpu::Gpus;
use crate::probe::{Probe as _, testing};
use crate::reading::{Readings, TextSink};

/// The driver's library as far as it is called, with one GPU whose values are known; what is sick about it is a definition
/// given to the compiler.
const FAKE: &str = include_str!("fake.c");

/// Builds the library and a reader of it.
fn fake(dir: &Path, definitions: &[&str]) -> Nvml {
    let (source, library) = (dir.join("fake.c"), dir.join("libnvidia-ml.so.1"));
    std::fs::write(&source, FAKE).expect("source");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Werror", "-o"])
        .args([&library, &source])
        .args(definitions.iter().map(|definition| format!("-D{definition}")))
        .output()
        .expect("a C compiler, which building needs as well");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Nvml {
        names: vec![library.into()],
        ..Nvml::default()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

#[test]
fn every_reading_comes_through_the_drivers_own_calls() {
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &[]))));
    let gpu = "hw.id=GPU-fake,hw.type=gpu,gpu.slot=00000000:3B:00.0";
    for (name, more, value) in [
        ("hw.gpu.utilization", "", "0.97 1"),
        ("hw.gpu.utilization", ",hw.gpu.task=encoder", "0.05 1"),
        ("hw.gpu.utilization", ",hw.gpu.task=decoder", "0.06 1"),
        ("hw.gpu.processes", "", "3 {process}"),
        ("hw.gpu.mig", "", "1 1"),
        ("hw.gpu.memory.usage", "", "60000000000 By"),
        ("hw.gpu.memory.limit", "", "80000000000 By"),
        ("hw.gpu.memory.utilization", "", "0.75 1"),
        ("hw.temperature", ",hw.sensor_location=gpu", "64 Cel"),
        ("hw.temperature", ",hw.sensor_location=memory", "71 Cel"),
        ("hw.temperature.limit", ",hw.sensor_location=gpu", "87 Cel"),
        ("hw.gpu.temperature.margin", ",hw.sensor_location=gpu", "23 Cel"),
        ("hw.power", "", "612.5 W"),
        ("hw.power.limit", "", "700 W"),
        ("hw.gpu.clock", ",domain=sm", "1980 MHz"),
        ("hw.gpu.throttle", ",reason=power_cap", "1 1"),
        ("hw.gpu.throttle", ",reason=hardware_thermal", "0 1"),
        ("hw.errors", ",error.type=ecc_corrected", "1003 {error}"),
        ("hw.errors", ",error.type=ecc_uncorrected_lifetime", "1006 {error}"),
        ("hw.errors", ",error.type=pcie_replay", "9 {error}"),
        ("hw.errors", ",error.type=nvlink_crc", "1038 {error}"),
        ("hw.errors", ",error.type=nvlink_recovery", "1059 {error}"),
        ("hw.gpu.retired_pages", ",state=uncorrected", "1030 {page}"),
        ("hw.gpu.remapped_rows", ",state=pending", "1144 {row}"),
        ("hw.gpu.pcie.width", "", "8 {lane}"),
        ("hw.gpu.pcie.limit", ",of=width", "16 1"),
        ("hw.gpu.pcie.limit", ",of=generation", "5 1"),
        ("hw.energy", "", "1.083 J"),
        ("hw.status", ",hw.state=ok", "1 1"),
        (
            "hw.info",
            ",hw.vendor=NVIDIA,hw.model=Fake H100,hw.firmware_version=96.00.74,hw.driver_version=570.1.2",
            "1 1",
        ),
    ] {
        let line = format!("{name}{{{gpu}{more}}} {value}\n");
        assert!(text.contains(&line), "{line} not in {text}");
    }
    assert!(text.contains("foreshock.agent.gpu.count 1 {gpu}\n"), "{text}");
    assert!(!text.contains("call.errors{"), "{text}");
}

#[test]
fn what_the_gpu_does_not_offer_is_absent_and_no_error() {
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &["NO_MIG", "NO_NVLINK"]))));
    assert!(text.contains("hw.gpu.utilization{"), "{text}");
    for absent in ["hw.gpu.mig", "nvlink", "call.errors{"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn an_instance_of_a_divided_gpu_is_told_by_its_own_identity_beside_its_gpus() {
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &[]))));
    for id in ["MIG-fake-1", "MIG-fake-3"] {
        let instance = format!("hw.id={id},hw.type=gpu,gpu.slot=00000000:3B:00.0,hw.parent=GPU-fake");
        for (name, more, value) in [
            ("hw.gpu.memory.usage", "", "2500000000 By"),
            ("hw.gpu.memory.limit", "", "10000000000 By"),
            ("hw.gpu.memory.utilization", "", "0.25 1"),
            ("hw.gpu.processes", "", "1 {process}"),
            ("hw.info", ",hw.vendor=NVIDIA,hw.model=Fake H100 MIG 1g.10gb", "1 1"),
        ] {
            let line = format!("{name}{{{instance}{more}}} {value}\n");
            assert!(text.contains(&line), "{line} not in {text}");
        }
        // What is counted of the part stands with the part, which alone is expected to be there.
        assert_eq!(text.matches(id).count(), 5, "{text}");
    }
    assert!(
        !text.contains("hw.id=MIG-fake-2") && text.contains("gpu.count 1 "),
        "{text}"
    );
    // A driver that tells how busy an instance is, is believed.
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &["INSTANCES_TELL"]))));
    let told = "hw.gpu.utilization{hw.id=MIG-fake-3,hw.type=gpu,gpu.slot=00000000:3B:00.0,hw.parent=GPU-fake} 0.12 1\n";
    assert!(text.contains(told), "{text}");
}

#[test]
fn instances_that_fail_leave_the_gpu_and_the_others_readable() {
    for (sick, instances, errors) in [("INSTANCE_LOST", 1, 1), ("PLACES_FAIL", 0, 7), ("NO_MIG", 0, 0)] {
        let dir = folder();
        let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &[sick]))));
        assert_eq!(text.matches("hw.info{hw.id=MIG-").count(), instances, "{sick}: {text}");
        let told = text.contains(&format!("call.errors{{error.type=gpu_lost}} {errors} {{error}}\n"));
        assert_eq!(told, errors > 0, "{sick}: {text}");
        assert!(text.contains("hw.gpu.utilization{hw.id=GPU-fake"), "{sick}: {text}");
    }
    // However many places a driver claims to have.
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &["MANY_PLACES"]))));
    assert_eq!(
        text.matches("hw.gpu.processes{hw.id=MIG-").count(),
        INSTANCES_MAX as usize,
        "{text}"
    );
}

#[test]
fn a_gpu_that_fell_off_the_bus_is_counted_and_told_by_name() {
    let dir = folder();
    let text = testing::sample(&mut Gpus::with(Box::new(fake(dir.path(), &["LOST"]))));
    assert!(
        text.contains("foreshock.agent.gpu.call.errors{error.type=gpu_lost} 1 {error}\n"),
        "{text}"
    );
    assert!(text.contains("foreshock.agent.gpu.count 1 {gpu}\n"), "{text}");
    assert!(!text.contains("hw.gpu.utilization"), "{text}");
}

#[test]
fn a_driver_of_another_version_is_loaded_anew_each_round() {
    let dir = folder();
    let mut nvml = fake(dir.path(), &["MISMATCH"]);
    for _ in 0..2 {
        let round = nvml.read();
        assert_eq!((round.count, round.errors), (None, vec!["version_mismatch"]));
        assert!(nvml.library.is_none());
    }
}

#[test]
fn a_call_that_hangs_holds_up_nobody_and_its_reading_comes_later() {
    for call in ["HANG", "INSTANCE_HANG"] {
        let dir = folder();
        let gate = dir.path().join("hang");
        std::fs::write(&gate, "").expect("gate");
        let path = format!("{call}=\"{}\"", gate.display());
        let mut probe = Gpus::with(Box::new(fake(dir.path(), &[&path])));
        let mut read = |deadline: Duration| {
            probe.begin();
            let mut sink = TextSink::default();
            let answer = probe.sample(Instant::now() + deadline, &mut Readings::new(&mut sink, 2, 1));
            assert!(answer.is_ok(), "{call}: {answer:?}");
            sink.text().to_owned()
        };
        for _ in 0..3 {
            assert!(!read(Duration::ZERO).contains("hw.gpu."), "{call}");
        }
        std::fs::remove_file(&gate).expect("the driver comes back");
        let text = read(Duration::from_secs(60));
        assert!(
            text.contains("hw.gpu.utilization{") && text.contains("hw.id=MIG-"),
            "{call}: {text}"
        );
    }
}

#[test]
fn want_of_support_is_no_error_and_a_lost_driver_loads_the_library_anew() {
    let mut calls = Calls::default();
    assert_eq!(calls.of(|| Err::<u32, _>(NvmlError::NotSupported)), None);
    assert!(calls.errors.is_empty() && !calls.library_lost);
    assert_eq!(calls.of(|| Err::<u32, _>(NvmlError::GpuLost)), None);
    assert_eq!(calls.of(|| Err::<u32, _>(NvmlError::DriverNotLoaded)), None);
    assert_eq!(calls.errors, ["gpu_lost", "driver_not_loaded"]);
    assert!(calls.library_lost);
    assert_eq!(calls.of(|| Ok(5)), Some(5));
}

#[test]
fn a_host_without_a_gpu_gets_an_empty_round() {
    if std::path::Path::new("/proc/driver/nvidia/version").exists() {
        return; // This host has a GPU: its readings are what they are.
    }
    let round = Nvml::default().read();
    assert_eq!((round.count, round.gpus.len()), (None, 0));
    assert_eq!(round.errors, ["library_not_found"]);
}
