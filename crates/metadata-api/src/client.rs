//! The trait that brokers and tools see. Its two implementations, in process and over gRPC, send the same messages.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use types::{BrokerEpoch, BrokerId, Offset, ProducerId, Revision, Timestamp, TopicId, TopicPartition};

use crate::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClusterImage, CreatePartitions, CreateTopic,
    EnforceDurability, HeartbeatAnswer, HeartbeatRequest, MetadataError, PartitionState, PublishAnswer, PublishRequest, RegisterBroker,
    Registration, ReplaceAnswer, ReplaceSegments, RowPage, SaveRows, SegmentPage, SlotRows, SlotTaken, TakeSlot, TopicCreated,
};

/// What may be asked of the metadata service. Every call has a deadline; after [`MetadataError::Unknown`] the caller asks again
/// with the same request, never assumes.
#[async_trait]
pub trait MetadataClient: Send + Sync {
    /// Begins a broker epoch.
    async fn register_broker(&self, request: RegisterBroker) -> Result<Registration, MetadataError>;

    /// Keeps the session alive and reports what is synced.
    async fn heartbeat(&self, request: HeartbeatRequest) -> Result<HeartbeatAnswer, MetadataError>;

    /// Ends a broker's session in an orderly way: everything it owns is published.
    async fn resign_broker(&self, broker: BrokerId, epoch: BrokerEpoch) -> Result<Revision, MetadataError>;

    /// Makes an uploaded object part of its partitions. Recorded atomically, with a verdict per partition.
    async fn publish(&self, request: PublishRequest) -> Result<PublishAnswer, MetadataError>;

    /// Puts a rewritten object in the place of older segments. Recorded atomically, with a verdict per partition. After
    /// [`MetadataError::Unknown`] the same request goes again: what was replaced already is answered so.
    async fn replace_segments(&self, request: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError>;

    /// Creates a topic. On a remote store it is in the bucket before this answers.
    async fn create_topic(&self, request: CreateTopic) -> Result<TopicCreated, MetadataError>;

    /// Grows a topic.
    async fn create_partitions(&self, request: CreatePartitions) -> Result<Revision, MetadataError>;

    /// Deletes a topic; its segments are retired.
    async fn delete_topic(&self, topic: TopicId) -> Result<Revision, MetadataError>;

    /// Replaces a topic's configs.
    async fn alter_topic_configs(&self, request: AlterTopicConfigs) -> Result<Revision, MetadataError>;

    /// Replaces the configs of brokers or of a group.
    async fn alter_resource_configs(&self, request: AlterResourceConfigs) -> Result<Revision, MetadataError>;

    /// Sets and removes client quotas in one atomic step.
    async fn alter_client_quotas(&self, request: AlterClientQuotas) -> Result<Revision, MetadataError>;

    /// Lets partitions' configured durability come into force, in one step for all of them. What cannot be is left as it is, and the
    /// image tells: a partition that is gone or led by another log, whose topic's configs have another revision by now, or that is not
    /// published up to the named end. A level that is in force already is no error, so the call may be repeated.
    async fn enforce_durability(&self, request: EnforceDurability) -> Result<Revision, MetadataError>;

    /// Moves a log start forward.
    async fn advance_log_start(&self, request: AdvanceLogStart) -> Result<Offset, MetadataError>;

    /// Opens partitions whose owner's log is lost: what it had not published is given up. The only way out for `wal` topics.
    async fn elect_unclean(&self, partitions: Vec<TopicPartition>) -> Result<Revision, MetadataError>;

    /// What a leader needs to serve partitions that it came to lead since it registered. Those that it does not lead are left out.
    async fn partition_states(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<PartitionState>, MetadataError>;

    /// At most `limit` segments of a partition, beginning with the one that answers for `from` or the next above it.
    async fn segments(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<SegmentPage, MetadataError>;

    /// The first segment whose largest timestamp is at or above `timestamp`, as a page of at most one.
    async fn segment_at(&self, partition: TopicPartition, timestamp: Timestamp) -> Result<SegmentPage, MetadataError>;

    /// The segment with the partition's largest timestamp, as a page of at most one.
    async fn segment_of_max_timestamp(&self, partition: TopicPartition) -> Result<SegmentPage, MetadataError>;

    /// A block of producer ids that nobody had and nobody will have.
    async fn allocate_producer_ids(&self, count: u32) -> Result<Range<ProducerId>, MetadataError>;

    /// Makes a broker the coordinator of a slot, and raises the slot's epoch: every save that was accepted is ordered before it, and
    /// every other one of an older epoch is refused from then on. Asked again it raises the epoch again, also for the broker that has
    /// the slot already; the newest answer counts. An answer can be outdated when it arrives: then reading and saving are refused as
    /// [`MetadataError::SlotFenced`].
    async fn take_slot(&self, request: TakeSlot) -> Result<SlotTaken, MetadataError>;

    /// A page of a slot's rows. Nobody but who took the slot changes them, so that pages of one slot epoch fit together as long as it
    /// saves nothing in between.
    async fn slot_rows(&self, request: SlotRows) -> Result<RowPage, MetadataError>;

    /// Saves rows of a slot in one atomic step. One save per slot in flight: the next sequence is sent once the one before was answered
    /// as done. After [`MetadataError::Unknown`] the same sequence goes with the same rows, until it is answered: a repeat of the last
    /// save gets the first one's revision and changes nothing, also when it arrives late. After any other failure of all that was sent
    /// under a sequence nothing was written, and other rows may take it.
    async fn save_rows(&self, request: SaveRows) -> Result<Revision, MetadataError>;

    /// The newest image known here, and a way to wait for the next.
    fn image(&self) -> watch::Receiver<Arc<ClusterImage>>;
}
