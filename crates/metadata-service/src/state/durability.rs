//! Decides which durability of a partition is in force (rule R5). The level in force says what becomes of the partition when another
//! log could take it over: while it is `wal` the partition stays with its owner, once it is `object` whatever is not published is given
//! up. So a stronger level comes into force only when everything that the weaker one promised is published, and a weaker one before
//! anything is acknowledged by it.

use std::collections::BTreeSet;

use metadata_api::{DurabilityChange, EnforceDurability, MetadataError};

use super::State;
use super::command::Answer;
use super::decision::{Decision, unfenced};
use super::event::{Event, PartitionDurability};

/// A change that does not fit the state any more is left out: the leader asks for what the next image makes of it.
pub(super) fn enforce(state: &State, request: &EnforceDurability) -> Result<Decision, MetadataError> {
    let broker = unfenced(state, request.broker, request.epoch)?;
    let mut named = BTreeSet::new();
    let mut partitions = Vec::new();
    for change in &request.changes {
        if !named.insert(change.partition) {
            return Err(MetadataError::Invalid { detail: format!("partition {} is named twice", change.partition) });
        }
        let Some(partition) = state.partition(change.partition) else { continue };
        let is_led = partition.leader == request.broker && partition.owner == broker.wal;
        // Configs that changed since may ask for the other level again, and the leader act by it already.
        let is_configured = state.topics.get(&change.partition.topic).is_some_and(|topic| topic.config_revision == change.config_revision);
        let is_published = change.log_end <= partition.next_offset;
        if is_led && is_configured && is_published && partition.durability != change.level {
            let DurabilityChange { partition, level, config_revision, .. } = *change;
            partitions.push(PartitionDurability { partition, level, config_revision });
        }
    }
    if partitions.is_empty() {
        return Ok(Decision::answer(Answer::Revision(state.revision)));
    }
    Ok(Decision::revision_of(state, Event::DurabilityChanged { partitions }))
}
