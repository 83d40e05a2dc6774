//! Where an offset's record is at this moment, as JSON.

use std::sync::Arc;

use metadata_api::MetadataClient;
use partition::{Location, Partitions};
use runtime::Clock;
use serde_json::{Value, json};
use types::{Offset, SegmentRef, Timestamp, TopicPartition};
use wal::RocksDbWal;

/// Finds records.
pub(crate) struct Whereabouts {
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) wal: Arc<RocksDbWal>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Whereabouts {
    /// Where offset `offset` is, or a line that says why that cannot be said.
    pub(crate) async fn find(&self, topic: &str, partition: i32, offset: i64) -> Result<Value, String> {
        let id = {
            let image = self.metadata.image();
            let image = image.borrow();
            let topic = image.topic_named(topic).ok_or_else(|| format!("topic '{topic}' does not exist"))?;
            if !usize::try_from(partition).is_ok_and(|index| index < topic.partitions.len()) {
                return Err(format!("topic '{}' has no partition {partition}, only 0 to {}", topic.name, topic.partitions.len() - 1));
            }
            TopicPartition::new(topic.id, partition)
        };
        let log = self.partitions.get(id).map_err(|error| error.to_string())?;
        let location = log.where_is(Offset(offset)).await.map_err(|error| error.to_string())?;
        Ok(self.describe(&location))
    }

    fn describe(&self, location: &Location) -> Value {
        match location {
            Location::Wal { lsn, in_memory, base, last, append_time, segment } => json!({
                "place": if *in_memory { "memory" } else { "write-ahead log" },
                "lsn": lsn.0,
                "generation": self.wal.generation_of(*lsn),
                "batch": format!("{base} to {last}"),
                "age_seconds": self.age(*append_time),
                "object": segment.as_ref().map(|segment| segment.object.to_string()),
            }),
            Location::Segment(segment) => json!({
                "place": "object",
                "object": segment.object.to_string(),
                "bytes": byte_range(segment),
                "segment": format!("{} to {}", segment.base, segment.end.0 - 1),
                "age_seconds": self.age(segment.append_times.1),
            }),
            Location::Gap { next } => json!({"place": "gap", "next": next.0}),
            Location::Deleted { log_start } => json!({"place": "deleted", "log_start": log_start.0}),
            Location::NotWritten { log_end } => json!({"place": "not written yet", "log_end": log_end.0}),
        }
    }

    fn age(&self, since: Timestamp) -> f64 {
        Timestamp(self.clock.wall_ms()).millis_since(since) as f64 / 1000.0
    }
}

/// The segment's batches in its object, as an HTTP range has it.
fn byte_range(segment: &SegmentRef) -> String {
    format!("{}-{}", segment.position, segment.position + segment.bytes - 1)
}
