//! What may be asked of the metadata service: requests, answers, errors, the client's trait, and the messages they travel in
//! (`proto/metadata.proto`). Knows nothing of how the service keeps its state.

mod client;
mod configs;
pub mod conformance;
mod error;
mod grpc;
mod image;
mod publish;
mod quotas;
mod replace;
mod requests;
mod slots;
pub mod wire;

/// The messages of `proto/metadata.proto`, with tonic's client and server.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::large_futures)]
pub mod proto {
    tonic::include_proto!("siltstone.metadata.v1");
}

pub use client::MetadataClient;
pub use configs::{AlterResourceConfigs, ConfigResource, ResourceConfigs};
pub use error::MetadataError;
pub use grpc::{GrpcClient, MAX_MESSAGE_BYTES, Transport};
pub use image::{BrokerImage, ClusterImage, Endpoint, PartitionImage, SlotOwner, TopicImage};
pub use publish::{
    EpochHistory, PartitionPublish, PartitionRefusal, PartitionVerdict, ProducerDelta, PublishAnswer, PublishRequest, PublishedObject, Run,
};
pub use quotas::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, QuotaEntityName, QuotaValue};
pub use replace::{PartitionReplacement, ReplaceAnswer, ReplaceSegments, ReplaceVerdict};
pub use requests::{
    AdvanceLogStart, AlterTopicConfigs, CreatePartitions, CreateTopic, DurabilityChange, EnforceDurability, HeartbeatAnswer,
    HeartbeatRequest, PartitionState, RegisterBroker, Registration, SegmentPage, TopicCreated,
};
pub use slots::{MAX_SAVE_BYTES, MAX_SLOT_BYTES, ROW_OVERHEAD, RowPage, SaveRows, SlotRows, SlotTaken, TakeSlot, row_bytes};
