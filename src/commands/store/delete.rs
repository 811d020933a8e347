//! `foreshock store delete`: samples that must go, for privacy or because they were never right.

use anyhow::{Context, Result, bail};
use store::promql::parse_selector;
use store::{Matcher, TimeRange};

use super::place::Place;
use crate::clock::{parse_time, seconds};

/// Delete the samples of series: gone for every reader at once, off the disk within an hour or two, or at once with --clean.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Series to delete from, as '{host="a"}' or 'up{job=~"node.*"}'; of several, each series that meets any.
    #[arg(long = "match", value_name = "SELECTOR", required = true)]
    selectors: Vec<String>,
    /// First instant, as RFC 3339 or seconds since 1970; from the beginning where it is not given.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<i64>,
    /// Last instant.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<i64>,
    /// Rewrite the parts that hold them before this ends.
    #[arg(long)]
    clean: bool,
    #[command(flatten)]
    place: Place,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let sets: Vec<Vec<Matcher>> = arguments
        .selectors
        .iter()
        .map(|text| parse_selector(text).with_context(|| format!("--match {text:?} is no selector")))
        .collect::<Result<_>>()?;
    let range = TimeRange::millis(arguments.from.unwrap_or(i64::MIN), arguments.to.unwrap_or(i64::MAX));
    if range.start > range.end {
        bail!("--from is later than --to");
    }
    if let Some(client) = arguments.place.client()? {
        let selectors = arguments.selectors.iter().map(|selector| ("match[]", selector.clone()));
        let mut form: Vec<(&str, String)> = selectors.collect();
        for (name, at) in [("start", arguments.from), ("end", arguments.to)] {
            form.extend(at.map(|at| (name, seconds(at))));
        }
        client.form("/api/v1/admin/tsdb/delete_series", &form)?;
        if arguments.clean {
            client.form("/api/v1/admin/tsdb/clean_tombstones", &[] as &[(&str, &str)])?;
        }
        println!("deleted");
        return Ok(());
    }
    let opened = arguments.place.open(false)?;
    let series = opened.store.delete(&sets, range)?;
    if arguments.clean {
        opened.store.clean_deleted()?;
    }
    println!("deleted from {series} series");
    opened.close()
}
