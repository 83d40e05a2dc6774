//! What the broker is told by whoever starts it, already checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use group::Options as GroupOptions;
use types::BrokerId;

use crate::session::Stage;
use crate::topic_config::{ConfigType, Source, TopicDefaults};

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// Its name, for instance `PLAINTEXT`; answers name brokers' addresses on the listener of the same name.
    pub name: String,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where its connections begin.
    pub first_stage: Stage,
}

/// One key of the broker's own configuration, as DescribeConfigs shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerConfig {
    /// The key.
    pub name: String,
    /// In force, as text.
    pub value: String,
    /// What it would be if nobody had set it.
    pub default: String,
    /// Whether it was set.
    pub source: Source,
    /// Of its values.
    pub config_type: ConfigType,
    /// Whether only a start reads it.
    pub read_only: bool,
    /// What it does, in a sentence.
    pub doc: String,
}

/// The broker's plain options.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// `node.id`.
    pub id: BrokerId,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// What topics have where they do not say otherwise.
    pub topic_defaults: TopicDefaults,
    /// `fetch.max.bytes`: most that one fetch answers, but for a first batch that is larger.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`: fetch sessions at once (KIP-227), 0 for none.
    pub fetch_session_slots: usize,
    /// `socket.request.max.bytes`.
    pub request_max_bytes: usize,
    /// What all requests that are read or not yet answered may hold together.
    pub request_memory_bytes: usize,
    /// What all answers that are made and not yet sent may hold together.
    pub answer_memory_bytes: usize,
    /// `connections.max.idle.ms`.
    pub max_idle: Duration,
    /// `quota.producer.default`: bytes of Produce requests per second and client id; 0 for no limit.
    pub producer_bytes_per_second: u64,
    /// `quota.consumer.default`: bytes of record batches fetched per second and client id; 0 for no limit.
    pub consumer_bytes_per_second: u64,
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `group.*` and `offsets.*`.
    pub groups: GroupOptions,
    /// Where the write-ahead log lies; Kafka's tools show it as the log directory.
    pub data_dir: PathBuf,
    /// The configuration the broker was started with, by key.
    pub configs: Vec<BrokerConfig>,
}

impl Default for BrokerOptions {
    /// Kafka's defaults, and 64 MiB each for requests and answers.
    fn default() -> Self {
        Self {
            id: BrokerId(1),
            auto_create_topics: true,
            delete_topics: true,
            num_partitions: 1,
            default_replication_factor: 1,
            topic_defaults: TopicDefaults::default(),
            fetch_max_bytes: 57_671_680,
            fetch_session_slots: 1000,
            request_max_bytes: 104_857_600,
            request_memory_bytes: 64 << 20,
            answer_memory_bytes: 64 << 20,
            max_idle: Duration::from_secs(600),
            producer_bytes_per_second: 0,
            consumer_bytes_per_second: 0,
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            groups: GroupOptions::default(),
            data_dir: PathBuf::from("."),
            configs: Vec::new(),
        }
    }
}
