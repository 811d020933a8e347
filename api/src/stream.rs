//! Answers that go out while they are made: what does not fit into one piece is never in memory whole.
//!
//! Up to [`WHOLE_BYTES`] an answer is held back, so that short ones have a length, and what goes wrong early gets a status of its
//! own. What goes wrong later can only break the body off, which every client of HTTP tells from its end.

use std::io::{self, Write};
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::unfold;
use store::promql::Deadline;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::compress::{Coding, Encoder};
use crate::problem::{Kind, Problem};
use crate::work::{CancelOnDrop, Length, Slots, took_too_long};

/// Answers up to here go out whole.
pub(crate) const WHOLE_BYTES: usize = 256 << 10;
/// Bytes of a piece, before compression.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces on their way to the caller.
const PIECES: usize = 8;
/// A caller that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);

/// What comes next.
enum Step {
    /// The whole answer.
    Whole(Vec<u8>),
    Piece(Vec<u8>),
    /// The last piece.
    Last(Vec<u8>),
    Failed(Problem),
}

/// Where an answer is written to; the writer waits while enough of it is on its way.
pub(crate) struct Out {
    buffer: Vec<u8>,
    /// Whether a piece has gone out.
    begun: bool,
    encoder: Option<Encoder>,
    // None while the caller itself writes: nobody could take a piece then, and what it writes is little.
    way: Option<Way>,
}

/// To whoever waits for the answer.
struct Way {
    steps: mpsc::Sender<Step>,
    runtime: Handle,
}

impl Out {
    /// What has not gone out yet; the writer appends here, and calls [`Out::settle`] now and then.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Hands on what is enough for a piece.
    ///
    /// # Errors
    /// [`Kind::Canceled`] where the caller went away or takes nothing any more.
    pub(crate) fn settle(&mut self) -> Result<(), Problem> {
        self.pass_on().map_err(|error| gone(&error))
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let enough = if self.begun { PIECE_BYTES } else { WHOLE_BYTES };
        let Some(way) = self.way.as_ref().filter(|_| self.buffer.len() >= enough) else {
            return Ok(());
        };
        self.begun = true;
        let piece = match &mut self.encoder {
            Some(encoder) => {
                let packed = encoder.pass(&self.buffer)?;
                self.buffer.clear();
                packed
            }
            None => std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES)),
        };
        if piece.is_empty() {
            return Ok(());
        }
        way.send(Step::Piece(piece))
    }

    fn finish(mut self, done: Result<(), Problem>) {
        let begun = self.begun;
        let step = done.and_then(|()| self.last_step().map_err(|error| gone(&error)));
        let step = step.unwrap_or_else(|problem| {
            if begun {
                tracing::warn!(detail = problem.detail(), "an answer ended early");
            }
            Step::Failed(problem)
        });
        if self.way.is_some_and(|way| way.send(step).is_err()) {
            tracing::debug!("nobody waits for the answer any more");
        }
    }

    /// What was written, by work that was done where it was asked for.
    fn whole(mut self, coding: Option<Coding>) -> io::Result<Answer> {
        let Some(mut encoder) = self.encoder.take().filter(|_| self.buffer.len() >= WHOLE_BYTES) else {
            return Ok(Answer {
                body: Body::from(self.buffer),
                coding: None,
            });
        };
        let mut packed = encoder.pass(&self.buffer)?;
        packed.append(&mut encoder.finish()?);
        Ok(Answer {
            body: Body::from(packed),
            coding,
        })
    }

    fn last_step(&mut self) -> io::Result<Step> {
        let rest = std::mem::take(&mut self.buffer);
        if !self.begun {
            return Ok(Step::Whole(rest));
        }
        Ok(Step::Last(match self.encoder.take() {
            Some(mut encoder) => {
                let mut packed = encoder.pass(&rest)?;
                packed.append(&mut encoder.finish()?);
                packed
            }
            None => rest,
        }))
    }
}

impl Way {
    fn send(&self, step: Step) -> io::Result<()> {
        match self.runtime.block_on(timeout(STALL, self.steps.send(step))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the caller went away")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the caller takes nothing any more",
            )),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.pass_on()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone(error: &io::Error) -> Problem {
    Problem::from_error(Kind::Canceled, error)
}

/// An answer, as far as it is known when its first bytes are.
pub(crate) struct Answer {
    body: Body,
    coding: Option<Coding>,
}

impl Answer {
    /// The response with this answer as its body.
    pub(crate) fn into_response(self, content_type: &'static str) -> Response {
        let mut response = Response::new(self.body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(coding) = self.coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }
}

/// The rest of a body.
struct Rest {
    next: Option<Step>,
    steps: mpsc::Receiver<Step>,
    over: bool,
    _ended_when_dropped: CancelOnDrop,
}

impl Slots {
    /// Runs `work` in a slot of its own, on a blocking thread unless it is tiny or brief, and answers as soon as there is a piece of what it
    /// writes, or all of it. `longest` holds until the last byte is written; without it only a caller who goes away ends the work.
    ///
    /// # Errors
    /// What `work` failed with, as long as nothing has gone out.
    pub(crate) async fn stream(
        &self,
        length: Length,
        longest: Option<Duration>,
        coding: Option<Coding>,
        work: impl FnOnce(&Deadline, &mut Out) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Answer, Problem> {
        let slot = self.take().await?;
        let deadline = longest.map_or_else(Deadline::default, |longest| Deadline::at(Instant::now() + longest));
        let encoder = coding
            .map(Encoder::new)
            .transpose()
            .map_err(|error| Problem::from_error(Kind::Internal, &error))?;
        let mut out = Out {
            buffer: Vec::new(),
            begun: false,
            encoder,
            way: None,
        };
        if length.stays() {
            return length.here(|| {
                work(&deadline, &mut out)?;
                out.whole(coding)
                    .map_err(|error| Problem::from_error(Kind::Internal, &error))
            });
        }
        let ended_when_dropped = CancelOnDrop(deadline.clone());
        let (sender, mut steps) = mpsc::channel(PIECES);
        out.way = Some(Way {
            steps: sender,
            runtime: Handle::current(),
        });
        let running = tokio::task::spawn_blocking(move || {
            let done = work(&deadline, &mut out);
            out.finish(done);
            drop(slot);
        });
        let first = match longest {
            Some(longest) => timeout(longest, steps.recv())
                .await
                .map_err(|_| took_too_long(longest))?,
            None => steps.recv().await,
        };
        let next = match first {
            Some(Step::Whole(whole)) => {
                return Ok(Answer {
                    body: Body::from(whole),
                    coding: None,
                });
            }
            Some(Step::Failed(problem)) => return Err(problem),
            Some(step) => step,
            None => {
                return Err(match running.await.map_err(tokio::task::JoinError::try_into_panic) {
                    // Handed on to the one place that turns a panic into an answer.
                    Err(Ok(panic)) => resume_unwind(panic),
                    Ok(()) | Err(Err(_)) => Problem::new(Kind::Unavailable, "the server is stopping").retry_after(5),
                });
            }
        };
        let rest = Rest {
            next: Some(next),
            steps,
            over: false,
            _ended_when_dropped: ended_when_dropped,
        };
        Ok(Answer {
            body: Body::from_stream(unfold(rest, pieces)),
            coding,
        })
    }
}

async fn pieces(mut rest: Rest) -> Option<(io::Result<Bytes>, Rest)> {
    if rest.over {
        return None;
    }
    let step = match rest.next.take() {
        Some(step) => Some(step),
        None => rest.steps.recv().await,
    };
    let piece = match step {
        Some(Step::Piece(piece)) => Ok(Bytes::from(piece)),
        Some(Step::Last(piece) | Step::Whole(piece)) => {
            rest.over = true;
            Ok(Bytes::from(piece))
        }
        // The caller sees a body that breaks off, and not one that is whole.
        Some(Step::Failed(_)) | None => {
            rest.over = true;
            Err(io::Error::other("the answer ended early"))
        }
    };
    Some((piece, rest))
}

#[cfg(test)]
mod tests;
