//! Who is on the other side of a connection, and what it may do so far.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use protocol::{ApiKey, RequestHeader};

use crate::hurry::Hurry;
use crate::quota::Client;

/// Whom a request is made for, as authorization and logs name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Everybody on a listener that asks for no proof, Kafka's `User:ANONYMOUS`.
    pub fn anonymous() -> Self {
        Self(Arc::from("User:ANONYMOUS"))
    }

    /// Its name without its type.
    pub(crate) fn name(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a connection has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nobody has proved who they are: no decoder runs but those of [`Stage::admits`].
    BeforeAuthentication,
    /// Requests are made for this principal.
    Authenticated(Principal),
}

impl Stage {
    /// Whether requests of this kind are even decoded. The SASL APIs join ApiVersions here when they are served.
    pub fn admits(&self, api: ApiKey) -> bool {
        match self {
            Self::BeforeAuthentication => matches!(api, ApiKey::ApiVersions),
            Self::Authenticated(_) => true,
        }
    }
}

/// What every request of a connection shares.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Name of the listener it came in by; answers name the brokers' addresses on the same one.
    pub(crate) listener: Arc<str>,
    pub(crate) peer: IpAddr,
    pub(crate) stage: Stage,
    /// A request was decoded; before that, frames are kept small.
    pub(crate) has_spoken: bool,
}

impl Session {
    pub(crate) fn new(listener: Arc<str>, peer: IpAddr, stage: Stage) -> Self {
        Self { listener, peer, stage, has_spoken: false }
    }
}

/// What a handler knows of its request besides the body.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub(crate) header: RequestHeader,
    pub(crate) session: Session,
    pub(crate) hurry: Hurry,
}

impl RequestContext {
    /// Whose quotas the request counts on.
    pub(crate) fn client(&self) -> Client<'_> {
        let user = match &self.session.stage {
            Stage::BeforeAuthentication => "",
            Stage::Authenticated(principal) => principal.name(),
        };
        Client { user, id: self.header.client_id.as_deref().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_authentication_nothing_but_api_versions_is_decoded() {
        let admitted: Vec<_> = ApiKey::ALL.iter().filter(|api| Stage::BeforeAuthentication.admits(**api)).collect();
        assert_eq!(admitted, [&ApiKey::ApiVersions]);
        let authenticated = Stage::Authenticated(Principal::anonymous());
        assert!(ApiKey::ALL.iter().all(|api| authenticated.admits(*api)));
    }
}
