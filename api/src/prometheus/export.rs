//! Samples out, streamed: VictoriaMetrics' `/api/v1/export`, in more formats.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::unfold;
use store::Store;
use store::exchange::{ExchangeError, Format, Selection, Writer, export};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::series::Asked;
use crate::app::App;
use crate::params::{Scope, parameter};
use crate::problem::Problem;

/// Pieces on their way to the caller.
const PIECES: usize = 8;
/// Bytes of a piece.
const PIECE_BYTES: usize = 64 << 10;
/// A caller that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);

type Piece = Result<Bytes, io::Error>;

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
    let slot = app.slots().take().await?;
    let (pieces, taken) = mpsc::channel::<Piece>(PIECES);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let out = Pieces {
            pieces: pieces.clone(),
            runtime: runtime.clone(),
        };
        if let Err(error) = write(&store, format, &selection, out) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(tenant = store.tenant(), error, "an export ended early");
            // The caller sees a body that breaks off, and not one that is whole.
            let broken = io::Error::other("the export ended early");
            if runtime.block_on(timeout(STALL, pieces.send(Err(broken)))).is_err() {
                tracing::debug!("nobody waits for the export any more");
            }
        }
        drop(slot);
    });
    let body = unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    let mut response = Response::new(Body::from_stream(body));
    let content_type = match format {
        Format::Jsonl => "application/stream+json; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Prometheus | Format::Csv => "text/plain; version=0.0.4; charset=utf-8",
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

fn write(store: &Store, format: Format, selection: &Selection, out: Pieces) -> Result<(), ExchangeError> {
    let snapshot = store.snapshot();
    let out = BufWriter::with_capacity(PIECE_BYTES, out);
    let mut writer = Writer::new(format, out, store.metadata())?;
    export(&snapshot, selection, &mut writer, &mut |_, _| true)?;
    writer.finish().map(drop)
}

/// Hands pieces to the response, and waits while there are enough on their way.
struct Pieces {
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        match self.runtime.block_on(timeout(STALL, self.pieces.send(piece))) {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the caller went away")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the caller takes nothing any more",
            )),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
