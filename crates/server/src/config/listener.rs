//! One listener, as `NAME://host:port`.

use std::fmt;
use std::net::IpAddr;

/// Where the broker listens, or what it tells clients to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Listener {
    /// Reads a comma-separated list. An empty host means every address, and an IPv6 address stands in brackets.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let listeners = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if listeners.is_empty() {
            return Err("names no listener; write for instance PLAINTEXT://127.0.0.1:9092".to_owned());
        }
        Ok(listeners)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not a listener; write NAME://host:port, for instance PLAINTEXT://127.0.0.1:9092");
        let (name, address) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if name != "PLAINTEXT" {
            return Err(format!("listener {name} is not supported yet; only PLAINTEXT listeners are"));
        }
        Ok(Self { name: name.to_owned(), host: host.to_owned(), port })
    }

    /// host:port for clients on this machine.
    pub(crate) fn local_address(&self) -> String {
        let is_every = self.host.is_empty() || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        let host = if is_every { "127.0.0.1" } else { &self.host };
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, port } = self;
        if host.contains(':') { write!(f, "{name}://[{host}]:{port}") } else { write!(f, "{name}://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_back_and_wrong_ones_say_how() {
        let parsed = Listener::parse_list("PLAINTEXT://127.0.0.1:9092, PLAINTEXT://[::1]:0").unwrap();
        assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["PLAINTEXT://127.0.0.1:9092", "PLAINTEXT://[::1]:0"]);
        for wrong in ["", "127.0.0.1:9092", "PLAINTEXT://host", "PLAINTEXT://host:70000", "SSL://host:1"] {
            assert!(Listener::parse_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clients_on_this_machine_reach_every_address_by_the_loopback() {
        let listeners =
            Listener::parse_list("PLAINTEXT://:1,PLAINTEXT://0.0.0.0:2,PLAINTEXT://[::]:3,PLAINTEXT://[::1]:4,PLAINTEXT://b:5").unwrap();
        let addresses: Vec<_> = listeners.iter().map(Listener::local_address).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::1]:4", "b:5"]);
    }
}
