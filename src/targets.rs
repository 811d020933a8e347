//! What the scraper does, as Prometheus' API shows it.

use api::{Scraped, ScrapedTarget};
use ingest::scrape::{Health, Scraper, TargetStatus};

/// All targets of `scraper` as they are now.
pub(crate) fn scraped(scraper: &Scraper) -> Scraped {
    Scraped {
        jobs: scraper.jobs(),
        targets: scraper.targets().into_iter().map(target).collect(),
        dropped: scraper.dropped(),
    }
}

fn target(status: TargetStatus) -> ScrapedTarget {
    ScrapedTarget {
        job: status.job,
        url: status.url,
        labels: status.labels,
        discovered: status.discovered,
        health: match status.health {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        },
        last_error: status.last_error,
        last_scrape_ms: status.last_scrape_ms,
        last_duration: status.last_duration,
        interval: status.interval,
        timeout: status.timeout,
    }
}
