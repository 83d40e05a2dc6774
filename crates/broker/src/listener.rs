//! Listening sockets: binding and accepting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, Shutdown};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::connection::{self, Ended, Limits, Service};
use crate::connection_slots::{ConnectionSlots, Limit};
use crate::memory_budget::MemoryBudget;
use crate::metrics::ConnectionMetrics;
use crate::options::ListenerOptions;
use crate::quota::ConnectionQuota;
use crate::session::{Session, Stage};

/// Connections that the kernel has established and nobody has accepted yet; ten thousand clients may come back at once.
const BACKLOG: i32 = 4096;
/// A peer that vanished without a word is noticed after about this and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(120);
/// After an accept failed (no file descriptor is left, usually).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listener}://{address}; stop what holds the port, or change listeners")]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// Where it should have listened.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// One listener's socket, bound before the broker recovers: a taken port is found while nothing is touched, and the port that the
/// system chose can be told to the metadata service. Nobody can connect to it before the broker starts.
#[derive(Debug)]
pub struct BoundListener {
    options: ListenerOptions,
    socket: Socket,
    address: SocketAddr,
}

impl BoundListener {
    /// Takes the port.
    pub fn bind(options: ListenerOptions) -> Result<Self, BindError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&options.address.into())?;
            let address = socket.local_addr()?.as_socket().expect("an Internet socket has an Internet address");
            Ok((socket, address))
        };
        match bind() {
            Ok((socket, address)) => Ok(Self { options, socket, address }),
            Err(source) => Err(BindError { listener: options.name, address: options.address, source }),
        }
    }

    /// Where it will listen, with the port that the system chose if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients connect; connections queue in the kernel until [`Acceptor::accept`] runs.
    pub(crate) fn listen(self) -> Result<(ListenerOptions, TcpListener), BindError> {
        let Self { options, socket, address } = self;
        // Two sockets may share a port until one of them listens.
        match socket.listen(BACKLOG).and_then(|()| TcpListener::from_std(socket.into())) {
            Ok(socket) => Ok((options, socket)),
            Err(source) => Err(BindError { listener: options.name, address, source }),
        }
    }
}

/// What all connections of a listener share.
pub(crate) struct Acceptor<S> {
    pub(crate) name: Arc<str>,
    pub(crate) first_stage: Stage,
    pub(crate) service: Arc<S>,
    pub(crate) slots: Arc<ConnectionSlots>,
    pub(crate) quota: Arc<ConnectionQuota>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) requests: Arc<MemoryBudget>,
    pub(crate) limits: Limits,
    pub(crate) metrics: ConnectionMetrics,
    /// Connections stop reading requests.
    pub(crate) shutdown: Shutdown,
}

impl<S: Service> Acceptor<S> {
    /// Accepts until the shutdown, then lets connections finish what they have begun; those that are not done at the deadline that
    /// `stop_by` names by then are dropped.
    pub(crate) async fn accept(self, listener: TcpListener, stop_by: tokio::sync::watch::Receiver<Option<Instant>>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.wait() => break,
                Some(ended) = connections.join_next() => self.report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut connections),
                    Err(error) => {
                        tracing::warn!(listener = %self.name, "accept failed: {error}");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        drop(listener);
        let deadline = stop_by.borrow().unwrap_or_else(Instant::now);
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                self.report(ended);
            }
        };
        if timeout_at(deadline, finish).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<Ended>) {
        let ip = peer.ip().to_canonical();
        let is_admitted = |slot| if self.quota.admits(ip, self.clock.monotonic()) { Ok(slot) } else { Err(Limit::CreationRate) };
        let slot = match self.slots.take(ip).and_then(is_admitted) {
            Ok(slot) => slot,
            Err(limit) => {
                // A closed connection is retried by every client; one that is left waiting looks like a broken network.
                self.metrics.refused(limit);
                tracing::debug!(listener = %self.name, %peer, "connection refused: {} is reached", limit.label());
                return;
            }
        };
        if let Err(error) = configure(&stream) {
            tracing::debug!(listener = %self.name, %peer, "connection lost: {error}");
            return;
        }
        let session = Session::new(self.name.clone(), ip, self.first_stage.clone());
        let (service, requests, limits, shutdown) = (self.service.clone(), self.requests.clone(), self.limits, self.shutdown.clone());
        let open = self.metrics.opened();
        connections.spawn(async move {
            let (_slot, _open) = (slot, open);
            let (reader, writer) = stream.into_split();
            let ended = connection::serve(reader, writer, service, session, requests, limits, shutdown).await;
            tracing::debug!(%peer, "connection ended: {ended}");
            ended
        });
    }

    fn report(&self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(ended) => self.metrics.closed(ended.label()),
            Err(error) if error.is_panic() => {
                // The panic hook has printed where; nothing of the request is shared, so the other connections go on.
                self.metrics.closed("panic");
                tracing::error!(listener = %self.name, "a request panicked, its connection is closed: {error}");
            }
            Err(_) => self.metrics.closed("shutdown"),
        }
    }
}

/// Answers go out at once, and peers that vanished are noticed.
fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Principal;

    fn options(address: SocketAddr) -> ListenerOptions {
        ListenerOptions { name: "PLAINTEXT".into(), address, first_stage: Stage::Authenticated(Principal::anonymous()) }
    }

    #[tokio::test]
    async fn a_port_in_use_is_one_line_that_names_it() {
        let bound = BoundListener::bind(options(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let address = bound.address();
        assert!(std::net::TcpStream::connect(address).is_err(), "nobody connects before the broker starts");
        let late = BoundListener::bind(options(address)).unwrap();
        let (_, listening) = bound.listen().unwrap();
        for error in [late.listen().unwrap_err(), BoundListener::bind(options(address)).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains(&address.to_string()) && !error.contains('\n'), "{error}");
        }
        drop(listening);
    }
}
