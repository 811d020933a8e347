use std::collections::VecDeque;
use std::sync::mpsc;

use super::*;
use crate::probe::testing;
use crate::reading::TextSink;

/// Plays back rounds; when it has no more, it hangs until the test ends.
struct Recorded(VecDeque<Round>, mpsc::Receiver<()>);

impl GpuReader for Recorded {
    fn read(&mut self) -> Round {
        self.0.pop_front().unwrap_or_else(|| {
            self.1.recv().unwrap_or_default();
            Round::default()
        })
    }
}

fn probe(rounds: Vec<Round>) -> (Gpus, mpsc::Sender<()>) {
    let (end, hang) = mpsc::channel();
    (Gpus::with(Box::new(Recorded(rounds.into(), hang))), end)
}

fn h100(id: &str, slot: &str) -> Gpu {
    Gpu {
        id: id.to_owned(),
        slot: slot.to_owned(),
        utilization: Some(0.97),
        memory_used: Some(60e9),
        memory_total: Some(80e9),
        temperature: Some(64.0),
        memory_temperature: Some(71.0),
        power: Some(612.5),
        sm_clock: Some(1980.0),
        throttle: Some(Throttle {
            power_cap: true,
            ..Throttle::default()
        }),
        ecc_corrected: Some(3.0),
        rows_corrected: Some(1.0),
        ..Gpu::default()
    }
}

#[test]
fn readings_carry_the_uuid_as_identity_and_the_slot_beside_it() {
    let round = Round {
        count: Some(1),
        gpus: vec![h100("GPU-1", "00000000:1B:00.0")],
        slowest_call: Duration::from_millis(2),
        errors: vec!["timeout"],
    };
    let (mut probe, _end) = probe(vec![round]);
    let text = testing::sample(&mut probe);
    for line in [
        "hw.gpu.utilization{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0} 0.97 1\n",
        "hw.gpu.memory.utilization{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0} 0.75 1\n",
        "hw.temperature{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0,hw.sensor_location=memory} 71 Cel\n",
        "hw.gpu.throttle{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0,reason=power_cap} 1 1\n",
        "hw.errors{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0,error.type=ecc_corrected} 3 {error}\n",
        "hw.status{hw.id=GPU-1,hw.type=gpu,gpu.slot=00000000:1B:00.0,hw.state=ok} 1 1\n",
        "foreshock.agent.gpu.count 1 {gpu}\n",
        "foreshock.agent.gpu.call.duration 0.002 s\n",
        "foreshock.agent.gpu.call.errors{error.type=timeout} 1 {error}\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
    // What the GPU does not offer is absent rather than zero.
    assert!(!text.contains("ecc_uncorrected") && !text.contains("pcie"), "{text}");
}

#[test]
fn a_gpu_that_vanishes_is_reported_as_failed() {
    let both = Round {
        count: Some(2),
        gpus: vec![h100("GPU-1", "a"), h100("GPU-2", "b")],
        ..Round::default()
    };
    let one = Round {
        count: Some(2),
        gpus: vec![h100("GPU-1", "a")],
        errors: vec!["gpu_lost"],
        ..Round::default()
    };
    let (mut probe, _end) = probe(vec![both, one]);
    assert!(!testing::sample(&mut probe).contains("hw.state=ok} 0"));
    let text = testing::sample(&mut probe);
    assert!(
        text.contains("hw.status{hw.id=GPU-2,hw.type=gpu,gpu.slot=b,hw.state=ok} 0 1\n"),
        "{text}"
    );
    assert!(
        text.contains("hw.status{hw.id=GPU-1,hw.type=gpu,gpu.slot=a,hw.state=ok} 1 1\n"),
        "{text}"
    );
    assert!(text.contains("errors{error.type=gpu_lost} 1"), "{text}");
}

#[test]
fn a_gpu_of_before_a_restart_is_missed_also_where_no_driver_is_loaded_any_more() {
    let files = testing::files(&[("spool/x", ""), ("proc/driver/nvidia/version", "NVRM")]);
    let keep = || Expected::new(Keep::In(files.path("spool").into()));
    let one = Round {
        count: Some(1),
        gpus: vec![h100("GPU-1", "a")],
        ..Round::default()
    };
    let (before, _end) = probe(vec![one]);
    let expected = keep();
    assert!(
        testing::sample(&mut before.expecting(&expected)).contains("hw.id=GPU-1,hw.type=gpu,gpu.slot=a,hw.state=ok} 1")
    );
    expected.keep();
    files.remove("proc/driver/nvidia/version");
    let expected = keep();
    expected.patience_is_over();
    let mut after = Gpus::nvidia(&files.paths).expecting(&expected);
    assert_eq!(after.is_supported(), Support::Yes);
    let text = testing::sample(&mut after);
    assert_eq!(text, "hw.status{hw.id=GPU-1,hw.type=gpu,gpu.slot=a,hw.state=ok} 0 1\n");
}

#[test]
fn a_driver_that_hangs_holds_up_nobody() {
    let (mut probe, end) = probe(vec![]);
    probe.begin();
    let mut sink = TextSink::default();
    let mut out = Readings::new(&mut sink, 2, 1);
    assert!(probe.sample(Instant::now(), &mut out).is_ok());
    assert!(!sink.text().contains("hw."), "{}", sink.text());
    drop(end);
}

#[test]
fn a_host_without_a_driver_says_why() {
    let files = testing::files(&[]);
    let Support::No(why) = Gpus::nvidia(&files.paths).is_supported() else {
        panic!("there is no driver")
    };
    assert!(why.contains("no NVIDIA driver"), "{why}");
}
