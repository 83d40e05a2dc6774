//! An HTTP proxy in front of a store that does to requests and answers what networks and stores do to them. What it lets through
//! it does not change, the Host header neither, so that signatures hold.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use runtime::Random;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to a request. One that does not fit it (a short body of an answer without one) passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    /// 503 SlowDown; it does not reach the store.
    SlowDown,
    /// 400 ExpiredToken; it does not reach the store.
    ExpiredToken,
    /// 500 InternalError after it was done: an answer that does not say so.
    FailAfter,
    /// It is done, and the connection closes without an answer.
    LoseAnswer,
    /// The connection closes in the middle of the answer's body.
    Short,
    /// One bit of an object that is read is another.
    Corrupt,
    /// It is late by up to this.
    Slow(Duration),
}

type Body = BoxBody<Bytes, io::Error>;

/// A proxy on a port of the loopback. It ends when this is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// host:port of the store.
    upstream: String,
    state: Mutex<State>,
    /// While true, nobody gets through, and connections that are there end.
    outage: watch::Sender<bool>,
}

struct State {
    faults: Vec<(Fault, f64)>,
    random: Random,
    struck: BTreeMap<&'static str, u64>,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::SlowDown => "SlowDown",
            Self::ExpiredToken => "ExpiredToken",
            Self::FailAfter => "FailAfter",
            Self::LoseAnswer => "LoseAnswer",
            Self::Short => "Short",
            Self::Corrupt => "Corrupt",
            Self::Slow(_) => "Slow",
        }
    }
}

impl Proxy {
    /// In front of the store at `endpoint` (http://host:port). The seed of `random` repeats which requests meet a fault, as far as
    /// their order repeats.
    pub(crate) async fn before(endpoint: &str, random: Random) -> Self {
        let upstream = endpoint.strip_prefix("http://").expect("the store speaks plain HTTP").trim_end_matches('/').to_owned();
        let state = Mutex::new(State { faults: Vec::new(), random, struck: BTreeMap::new() });
        let shared = Arc::new(Shared { upstream, state, outage: watch::Sender::new(false) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// For `store.s3.endpoint`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on each request meets each of these with its probability, the first that strikes; none restores peace.
    pub(crate) fn set_faults(&self, faults: &[(Fault, f64)]) {
        self.shared.state.lock().faults = faults.to_vec();
    }

    /// While out, connections are closed as soon as they are made.
    pub(crate) fn set_outage(&self, outage: bool) {
        self.shared.outage.send_replace(outage);
    }

    /// How often a fault of this kind has struck.
    pub(crate) fn struck(&self, fault: Fault) -> u64 {
        self.shared.state.lock().struck.get(fault.name()).copied().unwrap_or(0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A connection that is gone before it is accepted.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, mut outage) = (Arc::clone(&shared), shared.outage.subscribe());
        tokio::spawn(async move {
            let serve = service_fn(|request| pass(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
            tokio::select! {
                _ = outage.wait_for(|out| *out) => {}
                // Faults end connections.
                _ = connection => {}
            }
        });
    }
}

/// An error closes the connection without an answer.
async fn pass(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let is_read = request.method() == Method::GET && request.uri().query().is_none();
    let fault = shared.draw(is_read);
    match fault {
        Some(Fault::SlowDown) => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        Some(Fault::ExpiredToken) => return Ok(refusal(StatusCode::BAD_REQUEST, "ExpiredToken")),
        Some(Fault::Slow(longest)) => {
            let late = shared.state.lock().random.jitter(longest, 1.0);
            tokio::time::sleep(late).await;
        }
        Some(Fault::FailAfter | Fault::LoseAnswer | Fault::Short | Fault::Corrupt) | None => {}
    }
    let (head, body) = forward(&shared.upstream, request).await?.into_parts();
    match fault {
        Some(Fault::LoseAnswer) => Err(io::Error::other("injected: answer lost")),
        Some(Fault::FailAfter) => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
        Some(Fault::Short) => {
            let half = body.slice(..body.len() / 2);
            let broken = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("injected: cut off"))]);
            Ok(Response::from_parts(head, BodyExt::boxed(StreamBody::new(broken))))
        }
        Some(Fault::Corrupt) => {
            let mut body = body.to_vec();
            let middle = body.len() / 2;
            if let Some(byte) = body.get_mut(middle) {
                *byte ^= 1;
            }
            Ok(Response::from_parts(head, whole(body.into())))
        }
        Some(Fault::SlowDown | Fault::ExpiredToken | Fault::Slow(_)) | None => Ok(Response::from_parts(head, whole(body))),
    }
}

impl Shared {
    fn draw(&self, is_read: bool) -> Option<Fault> {
        let mut state = self.state.lock();
        let State { faults, random, struck } = &mut *state;
        let fits = |fault: Fault| is_read || !matches!(fault, Fault::Short | Fault::Corrupt);
        let (fault, _) = faults.iter().find(|(fault, probability)| fits(*fault) && random.chance(*probability))?;
        *struck.entry(fault.name()).or_default() += 1;
        Some(*fault)
    }
}

/// Sends it on over a connection of its own, and takes the whole answer.
async fn forward(upstream: &str, request: Request<Incoming>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driving = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    drop(sender);
    driving.abort();
    Ok(Response::from_parts(head, body))
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed()
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = status;
    response
}
