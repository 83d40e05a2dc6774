//! Which brokers a new partition goes to.

use types::{BrokerId, TopicId, WalId};

use super::State;

/// A live broker and its log.
type Candidate = (BrokerId, WalId);

impl State {
    /// Live brokers in an order of the topic's own (rendezvous hashing), so that topics begin at different brokers; partition
    /// `index` begins at the `index`-th of them, so that a topic's leaders differ by at most one from broker to broker.
    pub(super) fn candidates(&self, topic: TopicId, index: i32) -> Vec<Candidate> {
        let mut order: Vec<_> = self.brokers.iter().filter(|(_, broker)| broker.alive).map(|(id, broker)| (*id, broker.wal)).collect();
        order.sort_by_key(|(id, _)| (crc32c::crc32c_append(crc32c::crc32c(topic.as_bytes()), &id.0.to_be_bytes()), *id));
        if !order.is_empty() {
            let first = usize::try_from(index).unwrap_or(0) % order.len();
            order.rotate_left(first);
        }
        order
    }
}
