//! The series of one target from scrape to scrape: what it shows now, what it no longer shows, and how asking it went.

use wire::exposition::Format;
use wire::metric::Kind;
use wire::otlp::write::RequestWriter;

use super::fetch::{BODY_BYTES_MAX, Fetched};
use super::translate::{Told, translate};
use super::{ScrapeError, ScrapeTarget};
use crate::batch;
use crate::host::Host;
use crate::reading::SCOPE;

/// One scrape, as it is to be sent.
#[derive(Debug)]
pub(super) struct Scraped {
    /// The batch; `None` where not even that could be made.
    pub(super) batch: Option<Vec<u8>>,
    /// Points in it.
    pub(super) points: usize,
    /// Samples that the target showed.
    pub(super) samples: usize,
    /// Why it gave none.
    pub(super) failure: Option<ScrapeError>,
}

/// What is remembered of a target.
#[derive(Debug)]
pub(super) struct Series {
    writer: RequestWriter,
    /// Hashes of the series that the last good scrape had, sorted.
    keys: Vec<u64>,
    /// Its text, compressed, for the labels of those that vanish; `None` once all have been said to be gone.
    last: Option<(Vec<u8>, Format)>,
}

impl Series {
    pub(super) fn new(target: &ScrapeTarget, host: &Host) -> Self {
        let instance = target.instance(&host.name);
        let mut resource = vec![
            ("service.name", target.job.as_str()),
            ("service.instance.id", &instance),
            ("host.name", &host.name),
            ("host.id", &host.id),
        ];
        resource.retain(|(_, value)| !value.is_empty());
        Self {
            writer: RequestWriter::new(&resource, SCOPE),
            keys: Vec::new(),
            last: None,
        }
    }

    /// What was fetched, or that nothing was, as a batch of the time at which it was asked for.
    pub(super) fn take(&mut self, fetched: Result<Fetched, ScrapeError>, at_nanos: u64, seconds: f64) -> Scraped {
        let taken = fetched.and_then(|fetched| self.write(&fetched, at_nanos));
        let (told, failure) = match taken {
            Ok(told) => (told, None),
            Err(error) => {
                // What was written of a text that cannot be read to its end is none of what the target shows.
                self.writer.finish();
                self.write_gone(&[], at_nanos);
                (Told::default(), Some(error))
            }
        };
        let added = told
            .keys
            .iter()
            .filter(|key| self.keys.binary_search(key).is_err())
            .count();
        if failure.is_none() {
            self.keys = told.keys;
        }
        let report = [
            ("up", f64::from(u8::from(failure.is_none()))),
            ("scrape_duration_seconds", seconds),
            ("scrape_samples_scraped", told.samples as f64),
            ("scrape_samples_post_metric_relabeling", told.kept as f64),
            ("scrape_series_added", added as f64),
        ];
        for (name, value) in report {
            let metric = self.writer.metric_named(name, "", Kind::Gauge, "");
            metric.point(&[], 0, at_nanos, value);
        }
        let points = self.writer.points();
        match batch::readings(&self.writer.finish()) {
            Ok(batch) => Scraped {
                batch: Some(batch),
                points,
                samples: told.samples,
                failure,
            },
            Err(error) => Scraped {
                batch: None,
                points: 0,
                samples: 0,
                failure: Some(failure.unwrap_or(ScrapeError::Compress { why: error.to_string() })),
            },
        }
    }

    fn write(&mut self, fetched: &Fetched, at_nanos: u64) -> Result<Told, ScrapeError> {
        let told = translate(&fetched.text, fetched.format, at_nanos, None, &mut self.writer)?;
        self.write_gone(&told.keys, at_nanos);
        // A text that cannot be kept leaves its series to end by themselves, five minutes after their last sample.
        let kept = batch::readings(fetched.text.as_bytes()).ok();
        self.last = kept.map(|text| (text, fetched.format));
        Ok(told)
    }

    /// Says of each series that the last good scrape had, and `now` has not, that it is gone.
    fn write_gone(&mut self, now: &[u64], at_nanos: u64) {
        let Some((text, format)) = self.last.take() else { return };
        if self.keys.iter().all(|key| now.binary_search(key).is_ok()) {
            return;
        }
        let text = zstd::bulk::decompress(&text, BODY_BYTES_MAX).ok();
        let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else {
            return;
        };
        let written = translate(&text, format, at_nanos, Some(now), &mut self.writer);
        debug_assert!(written.is_ok(), "it was read once");
    }
}
