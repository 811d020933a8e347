//! An HTTP endpoint on loopback that slows down, ever faster, and at last fails.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::running::{Event, Ready};
use super::warden::{Cleanup, Leash, tell};
use super::{Noise, endpoint, flags};
use crate::clock;

/// Answer times of a healthy service and at the end of its decline, seconds. The latter stays within the patience of an
/// agent that asks each second, so that the failure is the failure and not a time-out before it.
const HEALTHY_S: f64 = 0.004;
const LAST_S: f64 = 1.2;

/// Deviation of the logarithm of the answer time.
const SPREAD: f64 = 0.25;

/// Time after which a failed service answers 503, seconds.
const FAILED_S: f64 = 0.5;

/// How the endpoint declines.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Healthy time before the decline.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) warm_up: u64,
    /// Time from the first slow answer to the failure.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) decline: u64,
    /// Another seed, other noise.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            warm_up: 60,
            decline: 120,
            seed: 1,
        }
    }
}

impl Options {
    pub(super) fn arguments(&self) -> Vec<String> {
        flags(&[
            ("warm-up", self.warm_up.to_string()),
            ("decline", self.decline.to_string()),
            ("seed", self.seed.to_string()),
        ])
    }

    pub(super) fn cause(&self, leash: &Leash) -> Result<Cleanup> {
        let began = Instant::now();
        let began_ms = clock::now_ms();
        let options = self.clone();
        let noise = Mutex::new(Noise::new(self.seed));
        let url = endpoint::serve(move || {
            let random = noise.lock().unwrap_or_else(PoisonError::into_inner).normal();
            let (pause, good) = options.answer(began.elapsed().as_secs_f64(), random);
            thread::sleep(Duration::from_secs_f64(pause));
            good
        })?;
        let life = Duration::from_secs(self.warm_up + self.decline);
        tell(&Event::Ready(Ready {
            began_ms,
            expected_ms: Some(began_ms + life.as_millis() as i64),
            subject: format!("the service at {url} slows down"),
            url: Some(url),
            ..Ready::default()
        }));
        if leash.wait(life.saturating_sub(began.elapsed())) {
            tell(&Event::Failed {
                at_ms: clock::now_ms(),
                how: "the service answers every request with 503".to_owned(),
            });
        }
        Ok(Box::new(()))
    }

    /// Seconds that an answer takes at `age` seconds, and whether it is a good one. `random` is about normal.
    fn answer(&self, age: f64, random: f64) -> (f64, bool) {
        let decline = (age - self.warm_up as f64) / self.decline as f64;
        if decline >= 1.0 {
            return (FAILED_S, false);
        }
        let typical = HEALTHY_S * (LAST_S / HEALTHY_S).powf(decline.max(0.0));
        (typical * (SPREAD * random).exp(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_slow_down_exponentially_and_fail_at_a_known_instant() {
        let options = Options {
            warm_up: 10,
            decline: 100,
            seed: 1,
        };
        let seconds = |age: f64| options.answer(age, 0.0).0;
        assert_eq!(options.answer(9.9, 0.0), (HEALTHY_S, true));
        assert!((seconds(60.0) / seconds(35.0) - seconds(85.0) / seconds(60.0)).abs() < 1e-9);
        assert!((seconds(109.999) - LAST_S).abs() < 0.01);
        assert_eq!(options.answer(110.0, 3.0), (FAILED_S, false));
    }
}
