//! Every key with its default, kind and meaning: the one table behind validation, `config list` and the reference page.

use super::value::Kind;

/// A key that has an effect.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// As a user would write it; empty means "none" or "derived", as `doc` says.
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
}

const COUNT: Kind = Kind::Int { min: 0, max: i32::MAX as i64 };
const POSITIVE: Kind = Kind::Int { min: 1, max: i32::MAX as i64 };

/// In the order of the reference page.
pub(crate) const KEYS: &[Key] = &[
    Key { name: "node.id", default: "1", kind: COUNT, doc: "The broker's id, stable across restarts." },
    Key { name: "broker.rack", default: "", kind: Kind::Text, doc: "The zone this broker is in." },
    Key { name: "listeners", default: "PLAINTEXT://127.0.0.1:9092", kind: Kind::Text, doc: "Where the broker listens, as NAME://host:port, several separated by commas. Port 0 takes a free one." },
    Key { name: "advertised.listeners", default: "", kind: Kind::Text, doc: "What clients are told to connect to; the same as listeners when empty." },
    Key { name: "http.listen", default: "127.0.0.1:9644", kind: Kind::Text, doc: "Where /metrics, /health/live and /health/ready are served." },
    Key { name: "data.dir", default: "./data", kind: Kind::Text, doc: "Holds the write-ahead log, the embedded metadata and, by default, the store, each in its own folder." },
    Key { name: "store.url", default: "", kind: Kind::Text, doc: "Where segment objects go: file:///path, s3://bucket/prefix or memory:// (tests). Empty: file://<data.dir>/store." },
    Key { name: "store.s3.endpoint", default: "", kind: Kind::Text, doc: "URL of an S3-compatible store; AWS's when empty." },
    Key { name: "store.s3.region", default: "", kind: Kind::Text, doc: "Region; from the AWS default chain when empty." },
    Key { name: "store.s3.path.style", default: "false", kind: Kind::Bool, doc: "Put the bucket into the path instead of the host name, as MinIO and others want it." },
    Key { name: "durability", default: "", kind: Kind::Word(&["", "wal", "object"]), doc: "What acks=all waits for where a topic does not say: wal (fsync in the write-ahead log) or object (uploaded and published). Empty: wal on a directory, object on a remote store." },
    Key { name: "memory.max.bytes", default: "512MiB", kind: Kind::Bytes { min: 32 << 20 }, doc: "One budget, shared out to memtables, ranges that wait for upload (which serve tail reads), the read cache and requests." },
    Key { name: "shutdown.timeout.ms", default: "30s", kind: Kind::Millis { min: 0 }, doc: "How long a stop may take; what is not published by then stays in the write-ahead log." },
    Key { name: "wal.generation.bytes", default: "128MiB", kind: Kind::Bytes { min: 1 << 20 }, doc: "What the write-ahead log's disk space is reclaimed by." },
    Key { name: "wal.generation.ms", default: "60s", kind: Kind::Millis { min: 100 }, doc: "Age at which a generation that holds something is closed." },
    Key { name: "wal.max.bytes", default: "10GiB", kind: Kind::Bytes { min: 4 << 20 }, doc: "How much may wait for the store in the write-ahead log before producers are refused." },
    Key { name: "wal.recycle", default: "false", kind: Kind::Bool, doc: "Overwrite old files of the write-ahead log instead of making new ones: faster syncs." },
    Key { name: "upload.interval.ms", default: "250", kind: Kind::Millis { min: 0 }, doc: "Age of an upload while somebody waits for it." },
    Key { name: "upload.bytes", default: "8MiB", kind: Kind::Bytes { min: 1 << 10 }, doc: "Size of an upload while somebody waits for it." },
    Key { name: "upload.max.age.ms", default: "10s", kind: Kind::Millis { min: 0 }, doc: "Age of an upload while nobody waits: how long data may be in a write-ahead log only." },
    Key { name: "upload.max.bytes", default: "64MiB", kind: Kind::Bytes { min: 1 << 10 }, doc: "Size of an upload while nobody waits, and the largest range." },
    Key { name: "metadata.url", default: "", kind: Kind::Text, doc: "The metadata service that inspection commands ask; http://<metadata.listen> when empty." },
    Key { name: "metadata.listen", default: "127.0.0.1:9645", kind: Kind::Text, doc: "Where the embedded metadata service answers inspection commands (gRPC)." },
    Key { name: "metadata.max.segments", default: "10000000", kind: Kind::Int { min: 1000, max: i64::MAX }, doc: "Segment entries that metadata may hold before brokers are told to upload less often." },
    Key { name: "auto.create.topics.enable", default: "true", kind: Kind::Bool, doc: "Create a topic when a client asks for one that does not exist." },
    Key { name: "num.partitions", default: "1", kind: POSITIVE, doc: "Partitions of a topic that is created without a count." },
    Key { name: "default.replication.factor", default: "1", kind: Kind::Int { min: 1, max: 16 }, doc: "Shown as a topic's replication factor; the store replicates, so any number of brokers will do." },
    Key { name: "delete.topic.enable", default: "true", kind: Kind::Bool, doc: "Whether topics may be deleted." },
    Key { name: "message.max.bytes", default: "1048588", kind: Kind::Bytes { min: 0 }, doc: "Largest record batch; a topic may set max.message.bytes." },
    Key { name: "message.timestamp.type", default: "CreateTime", kind: Kind::Word(&["CreateTime", "LogAppendTime"]), doc: "Whose clock a record's timestamp is, for topics that do not say (Kafka's log.message.timestamp.type works too)." },
    Key { name: "log.message.timestamp.before.max.ms", default: "9223372036854775807", kind: Kind::Millis { min: 0 }, doc: "How far behind the broker's clock a CreateTime timestamp may be." },
    Key { name: "log.message.timestamp.after.max.ms", default: "3600000", kind: Kind::Millis { min: 0 }, doc: "How far ahead of the broker's clock a CreateTime timestamp may be." },
    Key { name: "log.retention.ms", default: "", kind: Kind::Text, doc: "How long records are kept, in ms, -1 for ever; overrides log.retention.minutes and log.retention.hours." },
    Key { name: "log.retention.minutes", default: "", kind: Kind::Text, doc: "The same in minutes; overrides log.retention.hours." },
    Key { name: "log.retention.hours", default: "168", kind: Kind::Int { min: -1, max: i32::MAX as i64 }, doc: "The same in hours." },
    Key { name: "log.retention.bytes", default: "-1", kind: Kind::Bytes { min: -1 }, doc: "How much of a partition is kept, -1 for all." },
    Key { name: "log.retention.check.interval.ms", default: "300000", kind: Kind::Millis { min: 1 }, doc: "How often retention is looked at." },
    Key { name: "log.segment.delete.delay.ms", default: "60000", kind: Kind::Millis { min: 0 }, doc: "Grace between an object's last reference and its deletion." },
    Key { name: "compression.type", default: "producer", kind: Kind::Word(&["producer"]), doc: "Batches stay as producers compressed them." },
    Key { name: "min.insync.replicas", default: "1", kind: POSITIVE, doc: "Shown; has no effect before durability=quorum exists." },
    Key { name: "unclean.leader.election.enable", default: "false", kind: Kind::Bool, doc: "Shown; one broker elects nobody." },
    Key { name: "producer.id.expiration.ms", default: "86400000", kind: Kind::Millis { min: 1 }, doc: "How long an idle idempotent producer is remembered." },
    Key { name: "fetch.max.bytes", default: "57671680", kind: Kind::Bytes { min: 1024 }, doc: "Most that one fetch answers." },
    Key { name: "socket.request.max.bytes", default: "104857600", kind: Kind::Bytes { min: 1024 }, doc: "Largest request." },
    Key { name: "connections.max.idle.ms", default: "600000", kind: Kind::Millis { min: -1 }, doc: "Idle connections are closed after this; -1 never." },
    Key { name: "max.connections", default: "2147483647", kind: COUNT, doc: "Connections at once." },
    Key { name: "max.connections.per.ip", default: "2147483647", kind: COUNT, doc: "Connections at once from one address." },
    Key { name: "log.format", default: "text", kind: Kind::Word(&["text", "json"]), doc: "Form of the program's own log on stderr." },
    Key { name: "log.level", default: "info", kind: Kind::Text, doc: "What is logged: error, warn, info, debug, trace, or filters such as info,offload=debug." },
];

/// Other names for a key: Kafka's broker-wide spelling of what is a topic config, and what it called the same before.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("broker.id", "node.id"),
];

/// Keys that Kafka knows and that mean nothing here: accepted with one warning, so that a file from a Kafka broker works.
pub(crate) const KAFKA_ONLY: &[&str] = &[
    "advertised.host.name", "advertised.port", "alter.config.policy.class.name", "alter.log.dirs.replication.quota.window.num",
    "alter.log.dirs.replication.quota.window.size.seconds", "authorizer.class.name", "auto.include.jmx.reporter",
    "auto.leader.rebalance.enable", "background.threads", "broker.heartbeat.interval.ms", "broker.id.generation.enable",
    "broker.session.timeout.ms", "client.quota.callback.class", "compression.gzip.level", "compression.lz4.level",
    "compression.zstd.level", "connection.failed.authentication.delay.ms", "connections.max.reauth.ms", "control.plane.listener.name",
    "controlled.shutdown.enable", "controlled.shutdown.max.retries", "controlled.shutdown.retry.backoff.ms",
    "controller.listener.names", "controller.quorum.append.linger.ms", "controller.quorum.bootstrap.servers",
    "controller.quorum.election.backoff.max.ms", "controller.quorum.election.timeout.ms", "controller.quorum.fetch.timeout.ms",
    "controller.quorum.request.timeout.ms", "controller.quorum.retry.backoff.ms", "controller.quorum.voters",
    "controller.quota.window.num", "controller.quota.window.size.seconds", "controller.socket.timeout.ms",
    "create.topic.policy.class.name", "delegation.token.expiry.check.interval.ms", "delegation.token.expiry.time.ms",
    "delegation.token.master.key", "delegation.token.max.lifetime.ms", "delegation.token.secret.key",
    "delete.records.purgatory.purge.interval.requests", "early.start.listeners", "eligible.leader.replicas.enable",
    "fetch.purgatory.purge.interval.requests", "initial.broker.registration.timeout.ms", "inter.broker.listener.name",
    "inter.broker.protocol.version", "kafka.metrics.polling.interval.secs", "kafka.metrics.reporters",
    "leader.imbalance.check.interval.seconds", "leader.imbalance.per.broker.percentage", "listener.security.protocol.map",
    "log.cleaner.backoff.ms", "log.cleaner.dedupe.buffer.size", "log.cleaner.delete.retention.ms", "log.cleaner.enable",
    "log.cleaner.io.buffer.load.factor", "log.cleaner.io.buffer.size", "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.max.compaction.lag.ms", "log.cleaner.min.cleanable.ratio", "log.cleaner.min.compaction.lag.ms",
    "log.cleaner.threads", "log.cleanup.policy", "log.dir", "log.dir.failure.timeout.ms", "log.dirs",
    "log.flush.interval.messages", "log.flush.interval.ms", "log.flush.offset.checkpoint.interval.ms",
    "log.flush.scheduler.interval.ms", "log.flush.start.offset.checkpoint.interval.ms", "log.index.interval.bytes",
    "log.index.size.max.bytes", "log.initial.task.delay.ms", "log.local.retention.bytes", "log.local.retention.ms",
    "log.message.downconversion.enable", "log.message.format.version", "log.message.timestamp.difference.max.ms",
    "log.preallocate", "log.roll.hours", "log.roll.jitter.hours", "log.roll.jitter.ms", "log.roll.ms", "log.segment.bytes",
    "max.connection.creation.rate", "max.connections.per.ip.overrides", "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit", "metadata.log.dir", "metadata.log.max.record.bytes.between.snapshots",
    "metadata.log.max.snapshot.interval.ms", "metadata.log.segment.bytes", "metadata.log.segment.min.bytes",
    "metadata.log.segment.ms", "metadata.max.idle.interval.ms", "metadata.max.retention.bytes", "metadata.max.retention.ms",
    "metric.reporters", "metrics.num.samples", "metrics.recording.level", "metrics.sample.window.ms", "num.io.threads",
    "num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.alter.log.dirs.threads", "num.replica.fetchers",
    "password.encoder.secret", "principal.builder.class", "process.roles", "producer.id.expiration.check.interval.ms",
    "producer.purgatory.purge.interval.requests", "queued.max.request.bytes", "queued.max.requests", "quota.window.num",
    "quota.window.size.seconds", "replica.fetch.backoff.ms", "replica.fetch.max.bytes", "replica.fetch.min.bytes",
    "replica.fetch.response.max.bytes", "replica.fetch.wait.max.ms", "replica.high.watermark.checkpoint.interval.ms",
    "replica.lag.time.max.ms", "replica.selector.class", "replica.socket.receive.buffer.bytes", "replica.socket.timeout.ms",
    "replication.quota.window.num", "replication.quota.window.size.seconds", "request.timeout.ms", "reserved.broker.max.id",
    "security.inter.broker.protocol", "security.providers", "server.max.startup.time.ms",
    "socket.connection.setup.timeout.max.ms", "socket.connection.setup.timeout.ms", "socket.listen.backlog.size",
    "socket.receive.buffer.bytes", "socket.send.buffer.bytes", "super.users", "telemetry.max.bytes",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", "transaction.max.timeout.ms",
    "transaction.partition.verification.enable", "transaction.remove.expired.transaction.cleanup.interval.ms",
    "transaction.state.log.load.buffer.size", "transaction.state.log.min.isr", "transaction.state.log.num.partitions",
    "transaction.state.log.replication.factor", "transaction.state.log.segment.bytes", "transactional.id.expiration.ms",
    "transaction.two.phase.commit.enable", "unstable.api.versions.enable", "unstable.feature.versions.enable",
];

/// Families of such keys.
pub(crate) const KAFKA_ONLY_PREFIXES: &[&str] =
    &["group.", "offsets.", "share.", "ssl.", "sasl.", "listener.name.", "remote.log.", "broker.quota.", "zookeeper.", "log.cleaner."];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_default_is_a_valid_value_and_every_name_is_there_once() {
        let mut seen = HashSet::new();
        for key in KEYS {
            assert!(seen.insert(key.name), "{} stands twice", key.name);
            key.kind.parse(key.default).unwrap_or_else(|error| panic!("{}: {error}", key.name));
            assert!(key.doc.ends_with('.'), "{}", key.name);
        }
        for name in KAFKA_ONLY {
            assert!(seen.insert(name), "{name} stands twice");
        }
        for (alias, name) in ALIASES {
            assert!(KEYS.iter().any(|key| key.name == *name) && seen.insert(alias), "{alias}");
        }
    }
}
