use super::*;
use crate::probe::ProbeError;

struct Still(Cadence);

impl Probe for Still {
    fn name(&self) -> &'static str {
        "still"
    }

    fn is_supported(&mut self) -> Support {
        Support::Yes
    }

    fn cadence(&self) -> Cadence {
        self.0
    }

    fn sample(&mut self, _deadline: Instant, _out: &mut Readings<'_>) -> Result<(), ProbeError> {
        Ok(())
    }
}

/// At which of the first 121 seconds a probe is read that may be read at each multiple of `interval`.
fn read_at(cadence: Cadence, every: Option<u64>, interval: u64, urgent: bool) -> Vec<u64> {
    let every: Vec<Every> = every
        .map(|seconds| Every {
            probe: "still".to_owned(),
            time: Duration::from_secs(seconds),
        })
        .into_iter()
        .collect();
    let mut probes = Probes::new(vec![Box::new(Still(cadence))], &every, &Paths::default());
    let began = Instant::now();
    let slot = &mut probes.slots[0];
    let mut read = Vec::new();
    for second in (0..=120).step_by(interval as usize) {
        let now = began + Duration::from_secs(second);
        if slot.is_due(now, urgent, Duration::from_secs(interval)) {
            slot.read = Some(now);
            read.push(second);
        }
    }
    read
}

#[test]
fn a_probe_is_read_as_often_as_its_kind_or_its_own_time_says() {
    let each = |step: usize| (0..=120).step_by(step).collect::<Vec<u64>>();
    assert_eq!(read_at(Cadence::Usual, None, 10, false), each(10));
    assert_eq!(read_at(Cadence::Slow, None, 10, false), each(60));
    assert_eq!(read_at(Cadence::Usual, Some(30), 10, false), each(30));
    assert_eq!(read_at(Cadence::Slow, Some(10), 10, false), each(10));
    assert_eq!(read_at(Cadence::Slow, Some(120), 10, false), each(120));
    // While the others are read each second, it keeps its time.
    assert_eq!(read_at(Cadence::Usual, Some(30), 1, false), each(30));
    // The server has too much to do: those alone that tell of events.
    assert!(read_at(Cadence::Usual, Some(30), 10, true).is_empty());
    assert_eq!(read_at(Cadence::Urgent, Some(20), 10, true), each(20));
}
