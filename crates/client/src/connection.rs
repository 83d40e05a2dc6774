//! One connection to one broker. Requests are pipelined: each is written at once, and its answer is awaited apart. A broker answers in
//! the order of the requests, so answers are matched by order and checked by correlation id.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::Request;
use protocol::client::{correlation_id, decode_response, encode_request};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::{ApiKey, ErrorCode, StrBytes, VersionRange};
use runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::ClientError;

/// Requests that may wait to be written, and answers that may be outstanding, on one connection.
const MAX_PIPELINED: usize = 64;
/// No answer may be longer: a Fetch asks for 50 MiB, and gets one batch more at most.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;
/// What is reserved for an answer before its bytes arrive.
const FIRST_READ_BYTES: usize = 64 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// What this client calls itself.
    pub client_id: String,
    /// Bound on establishing a connection.
    pub connect_timeout: Duration,
    /// Bound on the time between a request and its answer.
    pub request_timeout: Duration,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { client_id: "siltstone".to_owned(), connect_timeout: Duration::from_secs(10), request_timeout: Duration::from_secs(30) }
    }
}

/// A connection whose versions are negotiated. Clones share it; it closes with the last of them.
#[derive(Clone)]
pub struct Connection {
    link: Arc<Link>,
    versions: Arc<[(i16, VersionRange)]>,
}

/// The part that moves bytes.
struct Link {
    address: String,
    client_id: StrBytes,
    request_timeout: Duration,
    next_correlation_id: AtomicI32,
    requests: mpsc::Sender<Outgoing>,
    closed: Shutdown,
}

struct Outgoing {
    frame: Bytes,
    /// `None` where the broker sends no answer.
    expected: Option<Expected>,
}

struct Expected {
    correlation_id: i32,
    answer: oneshot::Sender<Bytes>,
}

/// An answer that has not come yet.
pub struct Answer<R> {
    link: Arc<Link>,
    version: i16,
    deadline: Instant,
    frame: oneshot::Receiver<Bytes>,
    request: PhantomData<fn() -> R>,
}

impl Connection {
    /// Connects to `address` (host:port) and asks for the broker's versions.
    ///
    /// # Errors
    /// When nothing listens there, or what listens is not a Kafka broker.
    pub async fn connect(address: &str, options: &ConnectionOptions) -> Result<Self, ClientError> {
        let failed = |reason: String| ClientError::Connect { address: address.to_owned(), reason };
        let stream = match timeout(options.connect_timeout, TcpStream::connect(address)).await {
            Ok(stream) => stream.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no connection within {} ms", options.connect_timeout.as_millis()))),
        };
        // Requests are written whole; waiting for more to write would only delay them.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        Self::over(stream, address, options).await
    }

    /// The same over a stream that is already there; `address` is for messages.
    ///
    /// # Errors
    /// When the other side is not a Kafka broker.
    pub async fn over<S>(stream: S, address: &str, options: &ConnectionOptions) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let link = Arc::new(Link::start(stream, address, options));
        let versions = link.negotiate().await?;
        Ok(Self { link, versions })
    }

    /// The newest version of `R` that both sides know.
    ///
    /// # Errors
    /// When there is none.
    pub fn version<R: Request>(&self) -> Result<i16, ClientError> {
        // A broker of this program also serves versions that kafka-protocol does not have.
        let ours = ApiKey::from_key(R::KEY).map(|api| api.versions().intersect(&R::VERSIONS));
        let theirs = self.versions.iter().find(|(key, _)| *key == R::KEY).map(|(_, range)| range);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if !ours.intersect(theirs).is_empty() => Ok(ours.intersect(theirs).max),
            _ => Err(ClientError::NoCommonVersion { address: self.link.address.clone(), api: protocol::client::api_name(R::KEY) }),
        }
    }

    /// Sends `request` and waits for the answer.
    ///
    /// # Errors
    /// When the connection ends or times out first, or either side cannot read the other.
    pub async fn request<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, ClientError> {
        self.begin(version, request).await?.wait().await
    }

    /// Sends `request`; the answer is awaited apart. Requests are written in the order in which calls of this return.
    ///
    /// # Errors
    /// When the connection has ended, or the request cannot be encoded.
    pub async fn begin<R: Request>(&self, version: i16, request: &R) -> Result<Answer<R>, ClientError> {
        self.link.clone().begin(version, request).await
    }

    /// Sends a request that the broker does not answer: a Produce with acks=0.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn send_unanswered<R: Request>(&self, version: i16, request: &R) -> Result<(), ClientError> {
        let (frame, _) = self.link.encode(version, request)?;
        self.link.enqueue(Outgoing { frame, expected: None }).await
    }

    /// Whether it has ended; every request on it fails.
    pub fn is_closed(&self) -> bool {
        self.link.closed.is_triggered()
    }

    /// The broker's address, as given.
    pub fn address(&self) -> &str {
        &self.link.address
    }
}

impl Link {
    fn start<S>(stream: S, address: &str, options: &ConnectionOptions) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read_half, write_half) = tokio::io::split(stream);
        let (requests, outgoing) = mpsc::channel(MAX_PIPELINED);
        let (expected, awaited) = mpsc::channel(MAX_PIPELINED);
        let closed = Shutdown::new();
        let (reader_closed, writer_closed) = (closed.clone(), closed.clone());
        runtime::spawn(format!("read answers of {address}"), async move {
            reader_closed.or(read_answers(read_half, awaited)).await;
            reader_closed.trigger();
        });
        runtime::spawn(format!("write requests to {address}"), async move {
            writer_closed.or(write_requests(write_half, outgoing, expected)).await;
            writer_closed.trigger();
        });
        Self {
            address: address.to_owned(),
            client_id: StrBytes::from_string(options.client_id.clone()),
            request_timeout: options.request_timeout,
            next_correlation_id: AtomicI32::new(0),
            requests,
            closed,
        }
    }

    /// The broker's version ranges. An older broker answers in version 0 and says there which version of ApiVersions to use
    /// (KIP-511).
    async fn negotiate(self: &Arc<Self>) -> Result<Arc<[(i16, VersionRange)]>, ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("siltstone"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let newest = ApiKey::ApiVersions.versions().max;
        let mut response = self.ask_versions(newest, &request).await?;
        if response.error_code == ErrorCode::UnsupportedVersion.code() {
            let theirs = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.key()).map_or(0, |api| api.max_version);
            let version = theirs.clamp(0, newest - 1);
            let request = if version < 3 { ApiVersionsRequest::default() } else { request };
            response = self.ask_versions(version, &request).await?;
        }
        ClientError::check(|| format!("asking {} for its versions", self.address), response.error_code, None)?;
        let range = |min, max| VersionRange { min, max };
        Ok(response.api_keys.iter().map(|api| (api.api_key, range(api.min_version, api.max_version))).collect())
    }

    async fn ask_versions(self: &Arc<Self>, version: i16, request: &ApiVersionsRequest) -> Result<ApiVersionsResponse, ClientError> {
        let answer = self.clone().begin(version, request).await?;
        let frame = answer.frame().await?;
        // Behind the correlation id stands the error code, in every version.
        let refused = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        self.decode::<ApiVersionsRequest>(if refused { 0 } else { version }, frame)
    }

    async fn begin<R: Request>(self: Arc<Self>, version: i16, request: &R) -> Result<Answer<R>, ClientError> {
        let (frame, correlation_id) = self.encode(version, request)?;
        let (answer, receiver) = oneshot::channel();
        let deadline = Instant::now() + self.request_timeout;
        self.enqueue(Outgoing { frame, expected: Some(Expected { correlation_id, answer }) }).await?;
        Ok(Answer { link: self, version, deadline, frame: receiver, request: PhantomData })
    }

    fn encode<R: Request>(&self, version: i16, request: &R) -> Result<(Bytes, i32), ClientError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode_request(correlation_id, Some(self.client_id.clone()), version, request)
            .map_err(|source| ClientError::Codec { address: self.address.clone(), source })?;
        Ok((frame, correlation_id))
    }

    fn decode<R: Request>(&self, version: i16, frame: Bytes) -> Result<R::Response, ClientError> {
        decode_response::<R>(version, frame).map_err(|source| ClientError::Codec { address: self.address.clone(), source })
    }

    async fn enqueue(&self, outgoing: Outgoing) -> Result<(), ClientError> {
        self.requests.send(outgoing).await.map_err(|_| self.disconnected())
    }

    fn disconnected(&self) -> ClientError {
        ClientError::Disconnected { address: self.address.clone() }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closed.trigger();
    }
}

impl<R: Request> Answer<R> {
    /// Waits for the answer, at most the request timeout from when the request was sent.
    ///
    /// # Errors
    /// When the connection ends or the time is up first, or the answer cannot be read.
    pub async fn wait(self) -> Result<R::Response, ClientError> {
        let (link, version) = (self.link.clone(), self.version);
        let frame = self.frame().await?;
        link.decode::<R>(version, frame)
    }

    async fn frame(self) -> Result<Bytes, ClientError> {
        match timeout_at(self.deadline, self.frame).await {
            Ok(frame) => frame.map_err(|_| self.link.disconnected()),
            Err(_) => {
                self.link.closed.trigger();
                Err(ClientError::TimedOut {
                    address: self.link.address.clone(),
                    api: protocol::client::api_name(R::KEY),
                    timeout: self.link.request_timeout,
                })
            }
        }
    }
}

/// Ends when the connection does; answers that are still expected are then dropped, which their waiters notice.
async fn write_requests(mut stream: impl AsyncWrite + Unpin, mut outgoing: mpsc::Receiver<Outgoing>, expected: mpsc::Sender<Expected>) {
    while let Some(Outgoing { frame, expected: answer }) = outgoing.recv().await {
        if let Some(answer) = answer
            && expected.send(answer).await.is_err()
        {
            return;
        }
        if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn read_answers(mut stream: impl AsyncRead + Unpin, mut awaited: mpsc::Receiver<Expected>) {
    while let Some(expected) = awaited.recv().await {
        let Some(frame) = read_frame(&mut stream).await else { return };
        if correlation_id(&frame) != Some(expected.correlation_id) {
            return;
        }
        // Whoever asked may have gone.
        let _ = expected.answer.send(frame);
    }
}

/// A frame without its length; `None` when the stream ends or the length cannot be true. Memory grows as bytes arrive.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let length = usize::try_from(stream.read_i32().await.ok()?).ok().filter(|length| *length <= MAX_RESPONSE_BYTES)?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_READ_BYTES));
    let mut rest = stream.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await.ok()? == 0 {
            return None;
        }
    }
    Some(frame.freeze())
}
