//! What disks say of their own health, from the report that the privileged helper writes every few minutes (`crate::smart`).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::smart::{self, REPORT_PATH};

/// How long a report counts: the helper's timer runs every ten minutes, and a disk that spins up takes its time.
const REPORT_LASTS: Duration = Duration::from_secs(45 * 60);

/// Reads the helper's report.
#[derive(Debug)]
pub struct Health {
    report: PathBuf,
}

impl Health {
    /// A probe of this host's report.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            report: paths.file(REPORT_PATH.trim_start_matches('/'), "disk-health"),
        }
    }
}

impl Probe for Health {
    fn name(&self) -> &'static str {
        "disk_health"
    }

    fn is_supported(&mut self) -> Support {
        if self.report.exists() {
            Support::Yes
        } else {
            Support::No(format!(
                "{} is not there: foreshock-agent-smart.timer does not run, or has not yet",
                self.report.display()
            ))
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let report = smart::read_report(&self.report).map_err(|source| ProbeError::Read {
            path: self.report.clone(),
            source,
        })?;
        let age = Duration::from_nanos(out.now.saturating_sub(report.unix_nanos));
        out.single(&metric::DISK_HEALTH_AGE, age.as_secs_f64());
        if age > REPORT_LASTS {
            return Ok(()); // What is not known any more is absent.
        }
        out.metric(&metric::HW_STATUS);
        for disk in &report.disks {
            let [id, kind, slot] = of(disk);
            let failing = f64::from(u8::from(disk.values.failing));
            out.point(&[id, kind, slot, ("hw.state", "predicted_failure")], failing);
        }
        out.metric(&metric::DISK_ENDURANCE);
        for disk in &report.disks {
            let [id, kind, slot] = of(disk);
            if let Some(left) = disk.values.endurance_remaining {
                out.point(&[id, kind, slot, ("hw.physical_disk.state", "remaining")], left);
            }
        }
        out.metric(&metric::DISK_SMART);
        for disk in &report.disks {
            let [id, kind, slot] = of(disk);
            for (name, value) in &disk.values.attributes {
                let attributes = [id, kind, slot, ("hw.physical_disk.smart_attribute", name.as_str())];
                out.point(&attributes, *value as f64);
            }
        }
        Ok(())
    }
}

/// Which disk.
fn of(disk: &smart::DiskHealth) -> [(&'static str, &str); 3] {
    [
        ("hw.id", disk.id.as_str()),
        ("hw.type", "physical_disk"),
        ("hw.slot", disk.slot.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const REPORT: &str = "foreshock disk health 1 1500000000\ndisk nvme0 1 0.03 S5H9\nvalue media_errors 12\n\
                          disk sda 0 - WD-1\nvalue pending_sectors 0\n";

    #[test]
    fn a_report_becomes_points_until_it_is_too_old() {
        let files = testing::files(&[("proc/disk-health", REPORT)]);
        let mut probe = Health::new(&files.paths);
        assert_eq!(probe.is_supported(), Support::Yes);
        let id = "hw.id=S5H9,hw.type=physical_disk,hw.slot=nvme0";
        let other = "hw.id=WD-1,hw.type=physical_disk,hw.slot=sda";
        assert_eq!(
            testing::sample(&mut probe),
            format!(
                "foreshock.agent.disk_health.age 0.5 s\n\
                 hw.status{{{id},hw.state=predicted_failure}} 1 1\n\
                 hw.status{{{other},hw.state=predicted_failure}} 0 1\n\
                 hw.physical_disk.endurance_utilization{{{id},hw.physical_disk.state=remaining}} 0.03 1\n\
                 hw.physical_disk.smart{{{id},hw.physical_disk.smart_attribute=media_errors}} 12 1\n\
                 hw.physical_disk.smart{{{other},hw.physical_disk.smart_attribute=pending_sectors}} 0 1\n"
            )
        );
        let hour_old = REPORT.replace(" 1500000000\n", " 0\n");
        files.write("proc/disk-health", &hour_old);
        let mut sink = crate::reading::TextSink::default();
        let mut out = Readings::new(&mut sink, 3_600_000_000_000, 0);
        probe.sample(Instant::now(), &mut out).expect("a reading");
        assert_eq!(sink.text(), "foreshock.agent.disk_health.age 3600 s\n");
    }

    #[test]
    fn no_report_and_a_broken_one_are_told() {
        let files = testing::files(&[]);
        let mut probe = Health::new(&files.paths);
        assert!(matches!(probe.is_supported(), Support::No(why) if why.contains("foreshock-agent-smart.timer")));
        files.write("proc/disk-health", "half a repo");
        assert!(testing::sample(&mut probe).starts_with("error: cannot read "));
    }
}
