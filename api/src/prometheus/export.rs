//! Samples out, streamed: VictoriaMetrics' `/api/v1/export`, in more formats.

use axum::extract::{Request, State};
use axum::response::Response;
use store::Store;
use store::exchange::{ExchangeError, Format, Selection, Writer, export};

use super::series::Asked;
use crate::app::App;
use crate::params::{Scope, parameter};
use crate::problem::{Kind, Problem};
use crate::stream::Out;
use crate::work::Length;

/// `GET, POST /api/v1/export`: all samples of the series that `match[]` names, from `start` to `end`, as `format` says: `jsonl`,
/// `openmetrics`, `prometheus` or `parquet`.
pub(crate) async fn samples(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let asked = Asked::read(&params)?;
    if asked.sets.is_empty() {
        return Err(Problem::invalid("no match[] parameter provided").hint("match[]={__name__!=\"\"} names all series"));
    }
    let format = match params.get("format") {
        None => Format::Jsonl,
        Some(name) => name
            .parse()
            .ok()
            .filter(|format| *format != Format::Csv)
            .ok_or_else(|| parameter("format", "there are jsonl, openmetrics, prometheus and parquet"))?,
    };
    let selection = Selection {
        sets: asked.sets,
        range: asked.range,
    };
    let content_type = match format {
        Format::Jsonl => "application/stream+json; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Prometheus | Format::Csv => "text/plain; version=0.0.4; charset=utf-8",
    };
    let answer = app.slots().stream(Length::Any, None, None, move |_, out| {
        write(&store, format, &selection, out).map_err(|error| Problem::from_error(Kind::Internal, &error))
    });
    Ok(answer.await?.into_response(content_type))
}

fn write(store: &Store, format: Format, selection: &Selection, out: &mut Out) -> Result<(), ExchangeError> {
    let snapshot = store.snapshot();
    let mut writer = Writer::new(format, out, store.metadata())?;
    let exported = export(&snapshot, selection, &mut writer, &mut |_, _| true)?;
    let (_, markers) = writer.finish()?;
    if exported.histogram_series > 0 || markers > 0 {
        let series = exported.histogram_series;
        tracing::warn!(%format, markers, series, "an export left out staleness markers, or series' native histograms");
    }
    Ok(())
}
