//! Every port of the process, taken before anything is read or written: one that something else holds is found while nothing is
//! touched, and a port of the system's choice is known before the broker registers under it.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result};
use broker::{BoundListener, ListenerOptions, Principal, Stage};
use metadata_api::Endpoint;

use crate::config::{Config, Listener};

/// The process's ports. Of Kafka's listeners nobody answers yet, so that clients go on to another broker; on the others connections
/// queue.
pub(crate) struct Ports {
    /// `listeners`.
    pub(crate) kafka: Vec<BoundListener>,
    /// `http.listen`.
    pub(crate) http: TcpListener,
    /// `metadata.listen`.
    pub(crate) metadata: TcpListener,
}

impl Ports {
    /// Takes them all, or says which one cannot be had.
    pub(crate) fn bind(config: &Config) -> Result<Self> {
        Ok(Self {
            kafka: config.listeners.iter().map(bind_listener).collect::<Result<_>>()?,
            http: bind("http.listen", config.http_listen)?,
            metadata: bind("metadata.listen", config.metadata_listen)?,
        })
    }

    /// What clients are told to connect to: `advertised.listeners`, where a port of 0 stands for the one that the listener got.
    pub(crate) fn endpoints(&self, config: &Config) -> Vec<Endpoint> {
        let advertised = config.advertised.iter().zip(&self.kafka);
        let endpoint = |(Listener { name, host, port }, bound): (&Listener, &BoundListener)| Endpoint {
            listener: name.clone(),
            host: host.clone(),
            port: if *port == 0 { bound.address().port() } else { *port },
        };
        advertised.map(endpoint).collect()
    }
}

fn bind_listener(listener: &Listener) -> Result<BoundListener> {
    let first_stage = Stage::Authenticated(Principal::anonymous());
    Ok(BoundListener::bind(ListenerOptions { name: listener.name.clone(), address: resolve(listener)?, first_stage })?)
}

fn resolve(listener: &Listener) -> Result<SocketAddr> {
    let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
    (host, listener.port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .with_context(|| format!("listeners: {listener} names no address of this machine"))
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    bind().with_context(|| format!("cannot listen on {address}; stop what holds the port, or change {key}"))
}
