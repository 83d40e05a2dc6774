//! A small Kafka client for the command line, for tests and for simulation: connections, metadata, a producer, consumers of
//! assigned partitions and of a group's, and the administration of topics and groups. It speaks to any Kafka broker and knows nothing of
//! this one's inside.
//!
//! [`Client`] finds brokers and leaders. [`Producer`], [`Consumer`] and [`GroupConsumer`] are made from it; administration is on it.

mod admin;
mod alter;
mod client;
mod configs;
mod connection;
mod consumer;
mod error;
mod group_consumer;
mod groups;
mod partitioner;
mod producer;
mod quotas;
mod retry;

pub use admin::{BrokerInfo, ClusterDescription, ListedOffset, NewTopic, OffsetSpec};
pub use client::{Client, ClientOptions, PartitionMetadata, TopicMetadata};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use connection::{Answer, Connection, ConnectionOptions};
pub use consumer::{Consumer, ConsumerOptions, ConsumerRecord, OutOfRange};
pub use error::ClientError;
pub use group_consumer::GroupConsumer;
pub use groups::{CommittedOffset, GroupDescription, GroupListing, GroupMember, GroupOffsets};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{Acks, Delivery, Producer, ProducerOptions, ProducerRecord, RecordMetadata};
pub use protocol::ErrorCode;
pub use quotas::{ClientQuota, QuotaChange, QuotaEntity};
pub use records::{Codec, RecordHeader};
