//! What deciding a command comes to, and what every decision asks of the state.

use metadata_api::MetadataError;
use types::{BrokerEpoch, BrokerId, Revision, Timestamp, TopicPartition};

use super::command::{Answer, Rules};
use super::event::Event;
use super::partition::Partition;
use super::{Broker, State};

/// What a command comes to.
pub(crate) struct Decision {
    pub(crate) answer: Result<Reply, MetadataError>,
    pub(crate) events: Vec<Event>,
}

/// An answer, or where it is found once the events are applied.
pub(crate) enum Reply {
    Ready(Answer),
    RegistrationOf(BrokerId),
    LastPublishOf(BrokerId),
}

impl Decision {
    /// Nothing happens.
    pub(super) fn answer(answer: Answer) -> Self {
        Self { answer: Ok(Reply::Ready(answer)), events: Vec::new() }
    }

    /// Nothing happens, and why.
    pub(super) fn refuse(err: MetadataError) -> Self {
        Self { answer: Err(err), events: Vec::new() }
    }

    /// One thing happens.
    pub(super) fn event(reply: Reply, event: Event) -> Self {
        Self { answer: Ok(reply), events: vec![event] }
    }

    /// One thing happens, and its revision is the answer.
    pub(super) fn revision_of(state: &State, event: Event) -> Self {
        Self::event(Reply::Ready(Answer::Revision(next_revision(state))), event)
    }
}

impl From<Result<Decision, MetadataError>> for Decision {
    fn from(result: Result<Decision, MetadataError>) -> Self {
        result.unwrap_or_else(Self::refuse)
    }
}

/// The revision that the next event will have.
pub(super) fn next_revision(state: &State) -> Revision {
    Revision(state.revision.0 + 1)
}

/// The broker, if `epoch` is the one in force and its session lives.
pub(super) fn unfenced(state: &State, broker: BrokerId, epoch: BrokerEpoch) -> Result<&Broker, MetadataError> {
    let found = state.brokers.get(&broker);
    found.filter(|found| found.epoch == epoch && found.alive).ok_or_else(|| MetadataError::Fenced {
        broker,
        epoch,
        current: found.map_or(BrokerEpoch(0), |found| found.epoch),
    })
}

/// The partition, or why there is none.
pub(super) fn existing(state: &State, partition: TopicPartition) -> Result<&Partition, MetadataError> {
    let TopicPartition { topic, partition: index } = partition;
    if !state.topics.contains_key(&topic) {
        return Err(MetadataError::UnknownTopic { topic });
    }
    state.partition(partition).ok_or(MetadataError::UnknownPartition { topic, partition: index })
}

impl Rules {
    /// When something retired at `now` may be deleted.
    pub(super) fn not_before(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.grace_ms))
    }
}
