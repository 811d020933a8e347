//! What is scraped, and how that goes.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Data, envelope};
use crate::app::{App, ScrapedTarget};
use crate::number;
use crate::params::Params;
use crate::problem::Problem;

/// `GET /api/v1/targets?state=active|dropped|any&scrapePool=JOB`
pub(crate) async fn targets(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let params = Params::read(request).await?;
            let (active, dropped) = match params.get("state").map(str::to_ascii_lowercase).as_deref() {
                None | Some("any") => (true, true),
                Some("active") => (true, false),
                Some("dropped") => (false, true),
                Some(other) => return Err(Problem::invalid(format!("state {other:?} is not known"))),
            };
            let scraped = app.scraped();
            let pool = params.get("scrapePool");
            let wanted = |job: &str| pool.is_none_or(|pool| pool == job);
            let listed: Vec<Value> = scraped
                .targets
                .iter()
                .filter(|target| active && wanted(&target.job))
                .map(target_json)
                .collect();
            let counts: Map<String, Value> = scraped
                .jobs
                .iter()
                .filter(|job| dropped && wanted(job))
                .map(|job| (job.clone(), scraped.dropped.get(job).copied().unwrap_or(0).into()))
                .collect();
            // Which targets were dropped is not kept, only how many.
            Ok(Data::from(json!({
                "activeTargets": listed,
                "droppedTargets": [],
                "droppedTargetCounts": counts,
            })))
        }
        .await,
    )
}

/// `GET /api/v1/scrape_pools`
pub(crate) async fn pools(State(app): State<App>) -> Response {
    envelope(Ok(Data::from(json!({ "scrapePools": app.scraped().jobs }))))
}

fn target_json(target: &ScrapedTarget) -> Value {
    let object = |labels: &[(String, String)]| {
        let pairs = labels
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        Value::Object(pairs.collect())
    };
    let last = match target.last_scrape_ms {
        // Go's zero time, which is what Prometheus shows of a target that it has not scraped yet.
        0 => "0001-01-01T00:00:00Z".to_owned(),
        at_ms => number::rfc3339(at_ms),
    };
    json!({
        "discoveredLabels": object(&target.discovered),
        "labels": object(&target.labels),
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error,
        "lastScrape": last,
        "lastScrapeDuration": target.last_duration.as_secs_f64(),
        "health": target.health,
        "scrapeInterval": format!("{}s", target.interval.as_secs_f64()),
        "scrapeTimeout": format!("{}s", target.timeout.as_secs_f64()),
    })
}
