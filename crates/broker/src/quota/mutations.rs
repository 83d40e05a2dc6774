//! Rates of changes of topics (KIP-599), counted in partitions created or deleted. What exceeds a rate is refused where the request's
//! version has the error for it; older clients get what they ask for, and a longer pause.

use std::time::Duration;

use protocol::ErrorCode;

use super::client::{Client, ClientQuota};
use crate::broker::Broker;
use crate::handlers::refusal::Refusal;
use crate::session::RequestContext;
use crate::throttle;

/// The changes that one request makes.
pub(crate) struct Mutations<'a> {
    quota: &'a ClientQuota,
    client: Client<'a>,
    refuses: bool,
    now: Duration,
}

impl<'a> Mutations<'a> {
    /// Of a request whose API has THROTTLING_QUOTA_EXCEEDED from version `first_refused` on.
    pub(crate) fn of(broker: &'a Broker, context: &'a RequestContext, first_refused: i16) -> Self {
        Self {
            quota: &broker.mutation_quota,
            client: context.client(),
            refuses: first_refused <= context.header.version,
            now: broker.clock.monotonic(),
        }
    }

    /// Before a change.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED while what was changed before is not paid for.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.refuses && !self.quota.pause(self.client, self.now).is_zero() {
            return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, "The throttling quota has been exceeded."));
        }
        Ok(())
    }

    /// So many partitions were created or deleted.
    pub(crate) fn count(&self, partitions: usize) {
        self.quota.charge(self.client, partitions, self.now);
    }

    /// What the answer asks the client to wait.
    pub(crate) fn throttle_time_ms(&self) -> i32 {
        throttle::as_ms(self.quota.pause(self.client, self.now))
    }
}
