//! One client connection: frames in, answers out in the order of the requests. Knows no API.
//!
//! Reading and writing are two halves of one task, so that a panic in either closes this connection and no other. The reading half
//! takes a frame and calls the [`Service`], which fixes the order of whatever the request changes before it returns; the answer is a
//! future that goes into a bounded queue, and the writing half awaits one after the other. So appends of pipelined requests overlap
//! while their answers cannot overtake each other, and only one answer per connection is in memory at a time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use protocol::frame::{self, LENGTH_BYTES, PEEK_BYTES};
use runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::gathered::Gathered;
use crate::hurry::Hurry;
use crate::memory_budget::{Charge, MemoryBudget};
use crate::pipeline::Pipeline;
use crate::session::Session;

/// Requests of one connection that may wait for their answers. An answer with durability `object` takes an upload interval and a PUT,
/// and librdkafka sends a request for every partition's batch: with few, what is due then waits in the socket, for seconds. What they
/// hold is bounded by the budget of requests.
const PIPELINE: usize = 1024;
/// A frame's buffer begins with at most this and doubles as its bytes arrive.
const FIRST_CHUNK: usize = 64 * 1024;
/// Bytes per second below which a frame counts as held back.
const SLOWEST_SENDER: usize = 8 * 1024;
/// A frame that is read holds at least this much of the budget: what a decoded request costs besides its bytes.
const REQUEST_OVERHEAD: usize = 1024;

/// What a peer may announce, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `socket.request.max.bytes`: no frame is larger, whatever its API.
    pub(crate) largest_frame: usize,
    /// `connections.max.idle.ms`: without a request, and the longest that an answer may go unread.
    pub(crate) idle: Duration,
    /// Within a frame without a byte; also how long an answer may go unread while others wait for its memory.
    pub(crate) stall: Duration,
    /// For the answers that are still owed when no more requests are read.
    pub(crate) drain: Duration,
}

/// A request that was begun.
pub(crate) struct Begun {
    /// What its decoded form holds besides the frame; charged to the budget like the frame.
    pub(crate) decoded_bytes: usize,
    /// What it led to.
    pub(crate) reply: Reply,
}

/// What a request led to.
pub(crate) enum Reply {
    /// Its answer, once the future resolves. The order of what the request changes is fixed already. An error ends the connection.
    Answer(BoxFuture<'static, Result<Answer, String>>),
    /// There is no answer (`acks=0`), but the request's memory is held until the future resolves; reading pauses for what it returns.
    Silence(BoxFuture<'static, Duration>),
    /// The connection ends after the answers that are owed; the text says why.
    Close(String),
}

/// One answer as it goes out.
pub(crate) struct Answer {
    /// Length prefix, header and body.
    pub(crate) parts: Vec<Bytes>,
    /// What the parts hold of the budget for answers.
    pub(crate) charge: Option<Charge>,
    /// How long the peer is asked to pause; reading pauses with it (KIP-219).
    pub(crate) throttle: Duration,
}

/// What a connection hands its frames to.
pub(crate) trait Service: Send + Sync + 'static {
    /// Largest frame that is read of a request that begins so; an error when it is not read at all.
    fn frame_limit(&self, session: &Session, start: [u8; PEEK_BYTES]) -> Result<usize, String>;

    /// Decodes a request and begins it.
    fn call(&self, session: &mut Session, frame: Bytes, hurry: Hurry) -> Begun;
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer closed it.
    ByPeer,
    /// Nothing was asked for too long.
    Idle,
    /// A frame was begun, and its bytes came too slowly or not at all.
    SlowWriter,
    /// An answer was not read for too long.
    SlowReader,
    /// What came is not a request that is served here.
    Refused(String),
    /// The broker stops.
    Shutdown,
    /// Reading or writing failed.
    Failed(io::Error),
}

impl Ended {
    /// The label it is counted under.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::ByPeer => "peer",
            Self::Idle => "idle",
            Self::SlowWriter => "slow_writer",
            Self::SlowReader => "slow_reader",
            Self::Refused(_) => "refused",
            Self::Shutdown => "shutdown",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("closed by the peer"),
            Self::Idle => f.write_str("idle for too long"),
            Self::SlowWriter => f.write_str("a request was not sent in time"),
            Self::SlowReader => f.write_str("an answer was not read in time"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Shutdown => f.write_str("the broker stops"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

enum Owed {
    Answer(BoxFuture<'static, Result<Answer, String>>),
    Nothing(BoxFuture<'static, Duration>),
}

struct Pending {
    owed: Owed,
    /// The request's bytes: batches and names are slices of its frame until the answer is out.
    frame: Charge,
}

/// Serves a connection until it ends, and says why it did.
pub(crate) async fn serve<R, W, S>(
    reader: R,
    writer: W,
    service: Arc<S>,
    session: Session,
    requests: Arc<MemoryBudget>,
    limits: Limits,
    shutdown: Shutdown,
) -> Ended
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
    S: Service,
{
    let pipeline = Pipeline::new(PIPELINE);
    let (hurry, _) = watch::channel(false);
    let (pause, paused_until) = watch::channel(Instant::now());
    let mut reading = Reading { reader, service, session, requests, limits, pipeline: &pipeline, hurry, paused_until };
    let mut writing = std::pin::pin!(write_answers(writer, &pipeline, limits, pause));

    let ended = tokio::select! {
        ended = reading.requests(&shutdown) => ended,
        result = &mut writing => return result.unwrap_or(Ended::ByPeer),
    };
    // Nothing is read any more: what waits for data goes out as it is, and the writing half ends after the last answer.
    reading.hurry.send_replace(true);
    pipeline.close();
    // A peer that does not read in this time gets no more.
    let _ = timeout(limits.drain, writing).await;
    ended
}

struct Reading<'a, R, S> {
    reader: R,
    service: Arc<S>,
    session: Session,
    requests: Arc<MemoryBudget>,
    limits: Limits,
    pipeline: &'a Pipeline<Pending>,
    hurry: watch::Sender<bool>,
    paused_until: watch::Receiver<Instant>,
}

impl<R: AsyncRead + Unpin + Send, S: Service> Reading<'_, R, S> {
    async fn requests(&mut self, shutdown: &Shutdown) -> Ended {
        shutdown.or(self.requests_until_ended()).await.unwrap_or(Ended::Shutdown)
    }

    async fn requests_until_ended(&mut self) -> Ended {
        loop {
            let (frame, mut charge) = match self.frame().await {
                Ok(frame) => frame,
                Err(ended) => return ended,
            };
            let Begun { decoded_bytes, reply } = self.service.call(&mut self.session, frame, Hurry::new(self.hurry.subscribe()));
            charge.grow(decoded_bytes).await;
            let owed = match reply {
                Reply::Answer(answer) => Owed::Answer(answer),
                Reply::Silence(done) => Owed::Nothing(done),
                Reply::Close(reason) => return Ended::Refused(reason),
            };
            if let Err(pending) = self.pipeline.try_push(Pending { owed, frame: charge }) {
                // Nothing is read from here on, so the peer's end would not be noticed: a poll that waits must not go on.
                self.hurry.send_replace(true);
                self.pipeline.push(pending).await;
                self.hurry.send_replace(false);
            }
        }
    }

    /// The next frame without its length, and what it holds of the budget.
    async fn frame(&mut self) -> Result<(Bytes, Charge), Ended> {
        let length = self.length().await?;
        // Boxed: what an idle connection does not need, it should not have room for.
        Box::pin(self.body(length)).await
    }

    async fn body(&mut self, length: usize) -> Result<(Bytes, Charge), Ended> {
        let mut charge = self.requests.charge();
        charge.grow(REQUEST_OVERHEAD).await;
        let mut frame = BytesMut::new();
        let started = Instant::now();
        let mut waited_for_memory = Duration::ZERO;
        self.fill(&mut frame, PEEK_BYTES).await?;
        let start = frame[..].try_into().expect("that many bytes were read");
        let limit = self.service.frame_limit(&self.session, start).map_err(Ended::Refused)?;
        if limit < length {
            return Err(Ended::Refused(format!("a request of {length} bytes is above the limit of {limit} for its API")));
        }
        while frame.len() < length {
            let chunk = (length - frame.len()).min(frame.len().max(FIRST_CHUNK));
            let asked = Instant::now();
            charge.grow(chunk).await;
            waited_for_memory += asked.elapsed();
            frame.reserve(chunk);
            let end = frame.len() + chunk;
            while frame.len() < end {
                self.fill_some(&mut frame, end).await?;
                let taken = started.elapsed().saturating_sub(waited_for_memory);
                if self.limits.stall + Duration::from_secs((frame.len() / SLOWEST_SENDER) as u64) < taken {
                    return Err(Ended::SlowWriter);
                }
            }
        }
        Ok((frame.freeze(), charge))
    }

    /// Sleeps until no pause is in force.
    async fn unpaused(&mut self) {
        loop {
            let until = *self.paused_until.borrow_and_update();
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// A frame's length. Waits for its first byte as long as a connection may be idle; while answers are owed it is not idle.
    ///
    /// A pause counts from the moment it is set, also while the first byte is awaited: that is where a peer that sends one request at a
    /// time is met, and it would always have one request more otherwise.
    async fn length(&mut self) -> Result<usize, Ended> {
        let mut prefix = [0; LENGTH_BYTES];
        let mut target = &mut prefix[..];
        loop {
            self.unpaused().await;
            let first = tokio::select! {
                biased;
                Ok(()) = self.paused_until.changed() => continue,
                first = timeout(self.limits.idle, self.reader.read_buf(&mut target)) => first,
            };
            match first {
                Ok(Ok(0)) => return Err(Ended::ByPeer),
                Ok(Ok(_)) => break,
                Ok(Err(error)) => return Err(Ended::Failed(error)),
                Err(_) if !self.pipeline.is_idle() => {}
                Err(_) => return Err(Ended::Idle),
            }
        }
        while !target.is_empty() {
            match timeout(self.limits.stall, self.reader.read_buf(&mut target)).await {
                Ok(Ok(0)) => return Err(Ended::ByPeer),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Ended::Failed(error)),
                Err(_) => return Err(Ended::SlowWriter),
            }
        }
        frame::request_length(prefix, self.limits.largest_frame).map_err(|error| Ended::Refused(error.to_string()))
    }

    async fn fill(&mut self, frame: &mut BytesMut, end: usize) -> Result<(), Ended> {
        while frame.len() < end {
            self.fill_some(frame, end).await?;
        }
        Ok(())
    }

    /// Reads at least one byte, and none past `end`.
    async fn fill_some(&mut self, frame: &mut BytesMut, end: usize) -> Result<(), Ended> {
        let room = end - frame.len();
        match timeout(self.limits.stall, self.reader.read_buf(&mut frame.limit(room))).await {
            Ok(Ok(0)) => Err(Ended::ByPeer),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Ended::Failed(error)),
            Err(_) => Err(Ended::SlowWriter),
        }
    }
}

/// Writes answers in the order of their requests until no more can come. `None` after the last one.
async fn write_answers<W: AsyncWrite + Unpin>(
    mut writer: W,
    pipeline: &Pipeline<Pending>,
    limits: Limits,
    pause: watch::Sender<Instant>,
) -> Option<Ended> {
    while let Some(Pending { owed, frame }) = pipeline.next().await {
        match owed {
            Owed::Nothing(done) => prolong(&pause, done.await),
            Owed::Answer(answer) => {
                let answer = match answer.await {
                    Ok(answer) => answer,
                    Err(reason) => return Some(Ended::Refused(reason)),
                };
                // Before the answer goes out: what the peer sends after it is not read.
                prolong(&pause, answer.throttle);
                if let Err(ended) = Box::pin(write_answer(Pin::new(&mut writer), answer, limits)).await {
                    return Some(ended);
                }
            }
        }
        drop(frame);
    }
    // The peer learns that nothing more comes; if it is gone already there is nobody to tell.
    let _ = timeout(limits.stall, writer.shutdown()).await;
    None
}

/// Makes reading pause for `throttle` from now on. An answer that asks for less than an earlier one does not shorten its pause.
fn prolong(pause: &watch::Sender<Instant>, throttle: Duration) {
    if !throttle.is_zero() {
        let until = Instant::now() + throttle;
        pause.send_modify(|paused_until| *paused_until = until.max(*paused_until));
    }
}

async fn write_answer<W: AsyncWrite>(mut writer: Pin<&mut W>, answer: Answer, limits: Limits) -> Result<(), Ended> {
    let mut parts = Gathered::new(answer.parts);
    let mut unread = Duration::ZERO;
    while parts.has_remaining() {
        match timeout(limits.stall, writer.write_buf(&mut parts)).await {
            Ok(Ok(0)) => return Err(Ended::ByPeer),
            Ok(Ok(_)) => unread = Duration::ZERO,
            Ok(Err(error)) => return Err(Ended::Failed(error)),
            Err(_) => {
                unread += limits.stall;
                let others_wait = answer.charge.as_ref().is_some_and(|charge| charge.budget().is_contended());
                if others_wait || limits.idle <= unread {
                    return Err(Ended::SlowReader);
                }
            }
        }
    }
    match timeout(limits.stall, writer.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Failed(error)),
        Err(_) => Err(Ended::SlowReader),
    }
}

#[cfg(test)]
mod tests;
