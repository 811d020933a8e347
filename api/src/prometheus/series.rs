//! Which series, label names, label values and metrics there are.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use store::{MatchOp, Matcher, Snapshot, StoreError, TimeRange};

use super::{Data, envelope, labels, list};
use crate::app::App;
use crate::number;
use crate::params::{Params, Scope, parameter};
use crate::problem::Problem;
use crate::work::{Length, blocking};

// Answers of these routes are cut here even where no limit is asked for; Grafana asks for 40,000.
const NAMES_MAX: usize = 500_000;

/// `GET, POST /api/v1/labels`
pub(crate) async fn names(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let scope = Scope::read(&app, request).await?;
            let asked = Asked::read(&scope.params)?;
            find(&app, scope, asked, None, |snapshot, matchers, range, all| {
                let names = snapshot.label_names(matchers, range)?;
                all.extend(names.into_iter().map(Cow::Owned));
                Ok(())
            })
            .await
        }
        .await,
    )
}

/// `GET /api/v1/label/{name}/values`
pub(crate) async fn values(State(app): State<App>, Path(name): Path<String>, request: Request) -> Response {
    envelope(
        async {
            let name = unescape(&name);
            if name.is_empty() {
                return Err(Problem::invalid(format!("invalid label name: {name:?}")));
            }
            let scope = Scope::read(&app, request).await?;
            let asked = Asked::read(&scope.params)?;
            let told = name.clone();
            find(
                &app,
                scope,
                asked,
                Some(&told),
                move |snapshot, matchers, range, all| {
                    let values = snapshot.label_values(&name, matchers, range)?;
                    all.extend(values.into_iter().map(Cow::Borrowed));
                    Ok(())
                },
            )
            .await
        }
        .await,
    )
}

/// `GET, POST /api/v1/series`
pub(crate) async fn series(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let scope = Scope::read(&app, request).await?;
            let asked = Asked::read(&scope.params)?;
            if asked.sets.is_empty() {
                return Err(Problem::invalid("no match[] parameter provided"));
            }
            let snapshot = scope.store.snapshot();
            let length = asked.length(&snapshot, u64::MAX);
            app.slots()
                .run(length, app.limits().query_timeout, move |_| {
                    // Ordered and without doubles, as one series can meet several of the selectors.
                    let mut found = BTreeSet::new();
                    for matchers in &asked.sets {
                        for id in snapshot.select(matchers, asked.range)? {
                            found.insert(snapshot.labels(id));
                        }
                    }
                    let mut data = Data::default();
                    let bound = asked.limit.unwrap_or(NAMES_MAX);
                    list(&mut data.json, found.iter().take(bound), labels);
                    if found.len() > bound {
                        data.warnings.push(TRUNCATED.to_owned());
                    }
                    Ok(data)
                })
                .await
        }
        .await,
    )
}

/// `GET /api/v1/metadata`
pub(crate) async fn metadata(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let Scope { store, params, .. } = Scope::read(&app, request).await?;
            let limit = params.limit("limit")?.unwrap_or(NAMES_MAX);
            let metric = params.get("metric").map(str::to_owned);
            let known = blocking(move || Ok(store.metadata())).await?;
            let families: serde_json::Map<String, Value> = known
                .into_iter()
                .filter(|(name, _)| metric.as_ref().is_none_or(|wanted| wanted == name))
                .take(limit)
                .map(|(name, about)| {
                    (
                        name,
                        json!([{ "type": about.kind.as_str(), "help": about.help, "unit": about.unit }]),
                    )
                })
                .collect();
            Ok(Data::from(Value::Object(families)))
        }
        .await,
    )
}

pub(super) const TRUNCATED: &str = "results truncated due to limit";

pub(super) struct Asked {
    pub(super) sets: Vec<Vec<Matcher>>,
    pub(super) range: TimeRange,
    limit: Option<usize>,
}

impl Asked {
    pub(super) fn read(params: &Params) -> Result<Self, Problem> {
        let (start_ms, end_ms) = (params.time("start", i64::MIN)?, params.time("end", i64::MAX)?);
        if end_ms < start_ms {
            return Err(parameter("end", "end timestamp must not be before start time"));
        }
        let sets: Result<Vec<_>, _> = params.all("match[]").map(selector).collect();
        Ok(Self {
            sets: sets?,
            range: TimeRange::millis(start_ms, end_ms),
            limit: params.limit("limit")?,
        })
    }

    /// How long it takes to find these series and tell `told` things of all of them. Without conditions nothing but the index is
    /// looked at, with them each series.
    fn length(&self, snapshot: &Snapshot, told: u64) -> Length {
        let equal = |matchers: &[Matcher]| {
            let equal = matchers.iter().filter(|matcher| matcher.op == MatchOp::Eq);
            snapshot.series_at_most(equal.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())))
        };
        let lengths = self.sets.iter().map(|matchers| match matchers.as_slice() {
            [] => Length::of(told, TINY_TEXTS, u64::MAX).max(Length::of(equal(&[]), BRIEF_INDEX, BRIEF_INDEX)),
            matchers => Length::of(equal(matchers), TINY_SERIES, BRIEF_SERIES),
        });
        lengths.max().unwrap_or(Length::Any)
    }
}

/// Series of which names and values are told, and which are picked and told, within a millisecond or so.
const BRIEF_INDEX: u64 = 100_000;
const BRIEF_SERIES: u64 = 1_000;
/// Names or values, and series, that are told within a few hundred microseconds.
const TINY_TEXTS: u64 = 2_000;
const TINY_SERIES: u64 = 200;

/// Names of labels, or values of one, that `lookup` adds for one selector.
async fn find(
    app: &App,
    scope: Scope,
    mut asked: Asked,
    of: Option<&str>,
    lookup: impl for<'a> Fn(&'a Snapshot, &[Matcher], TimeRange, &mut Vec<Cow<'a, str>>) -> Result<(), StoreError>
    + Send
    + 'static,
) -> Result<Data, Problem> {
    if asked.sets.is_empty() {
        asked.sets.push(Vec::new());
    }
    let snapshot = scope.store.snapshot();
    let length = asked.length(&snapshot, snapshot.labels_at_most(of));
    app.slots()
        .run(length, app.limits().query_timeout, move |_| {
            let mut found = Vec::new();
            for matchers in &asked.sets {
                lookup(&snapshot, matchers, asked.range, &mut found)?;
            }
            // Those of one set are sorted and without doubles.
            if asked.sets.len() > 1 {
                found.sort_unstable();
                found.dedup();
            }
            let mut data = Data::default();
            let bound = asked.limit.unwrap_or(NAMES_MAX);
            list(&mut data.json, found.iter().take(bound), |out, text| {
                number::string(out, text)
            });
            if found.len() > bound {
                data.warnings.push(TRUNCATED.to_owned());
            }
            Ok(data)
        })
        .await
}

/// The matchers of a selector such as `up{job="a"}`.
pub(crate) fn selector(text: &str) -> Result<Vec<Matcher>, Problem> {
    store::promql::parse_selector(text).map_err(|error| parameter("match[]", Problem::from(error).detail()))
}

/// A label name as Prometheus escapes it for URLs: `U__` in front, `_2e_` for a dot, `__` for an underscore.
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        plain.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        // Whatever is not an escape after all leaves the name as it came, as in Prometheus.
        let Some(end) = tail.find('_').filter(|&end| end <= 6) else {
            return name.to_owned();
        };
        if end == 0 {
            plain.push('_');
        } else {
            let Some(letter) = u32::from_str_radix(&tail[..end], 16).ok().and_then(char::from_u32) else {
                return name.to_owned();
            };
            plain.push(letter);
        }
        rest = &tail[end + 1..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests;
