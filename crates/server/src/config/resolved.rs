//! The configuration as the program uses it: typed, with everything derived.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use audit::AuditOptions;
use broker::{AssignorName, BrokerConfig, GroupOptions, MigrationPolicy};
use store::{OpenError, S3Options};
use types::{BrokerId, Durability};

use super::layers::{ConfigError, Raw};
use super::listener::Listener;
use super::shown::shown;

/// Validated and resolved.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) node_id: BrokerId,
    pub(crate) rack: Option<String>,
    pub(crate) listeners: Vec<Listener>,
    /// As many as `listeners`; a port of 0 stands for the port that the listener got.
    pub(crate) advertised: Vec<Listener>,
    pub(crate) http_listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreConfig,
    pub(crate) durability: Durability,
    pub(crate) memory: MemoryShares,
    /// Bytes of the disk cache; 0 without one.
    pub(crate) cache_disk_bytes: u64,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) wal: WalConfig,
    pub(crate) upload: UploadConfig,
    /// `None`: segments are not rewritten.
    pub(crate) rewrite: Option<RewriteConfig>,
    /// `None`: the store is not audited.
    pub(crate) audit: Option<AuditOptions>,
    pub(crate) metadata_listen: SocketAddr,
    pub(crate) metadata_max_segments: u64,
    pub(crate) metadata_snapshot_max_interval: Duration,
    pub(crate) metadata_snapshot_min_interval: Duration,
    pub(crate) topics: TopicDefaults,
    pub(crate) requests: RequestLimits,
    pub(crate) groups: GroupOptions,
    /// All of it, as DescribeConfigs shows it.
    pub(crate) shown: Vec<BrokerConfig>,
    /// What it was resolved from.
    pub(crate) started_with: Raw,
}

/// Where segment objects go.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    pub(crate) url: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) path_style: bool,
    /// Whether losing this machine's disk leaves the store alone.
    pub(crate) is_remote: bool,
}

impl StoreConfig {
    /// How to reach it, beside its URL.
    pub(crate) fn s3_options(&self) -> S3Options {
        let path_style = self.path_style.then_some(true);
        S3Options { endpoint: self.endpoint.clone(), region: self.region.clone(), path_style }
    }
}

/// With less, blocks of the usual size would not fit into a file of the disk cache.
const LEAST_DISK_CACHE: u64 = 128 << 20;

/// How `memory.max.bytes` is shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemoryShares {
    /// RocksDB's memtables: what sealed and active generations may hold before they spill.
    pub(crate) memtables: u64,
    /// Entries kept for uploads and tail reads.
    pub(crate) tail: u64,
    /// Cached ranges of objects.
    pub(crate) read_cache: u64,
    /// Requests and answers under way.
    pub(crate) requests: u64,
    /// Segments that are being merged.
    pub(crate) rewrite: u64,
}

impl MemoryShares {
    /// Unpublished bytes up to which no memtable spills. The other half of the memtables is for what is not dropped yet, because it shares
    /// a generation with what is unpublished or waits for a sync, and for RocksDB, which spills at seven eighths.
    pub(crate) fn unpublished(&self) -> u64 {
        self.memtables / 2
    }

    /// The largest generation with which that holds.
    pub(crate) fn generation(&self) -> u64 {
        self.memtables / 8
    }

    /// Without rewriting its share is the tail's.
    fn of(memory: u64, rewrites: bool) -> Self {
        let rewrite = if rewrites { memory / 8 } else { 0 };
        Self { memtables: memory / 4, tail: memory * 3 / 8 - rewrite, read_cache: memory / 8, requests: memory / 4, rewrite }
    }
}

/// The write-ahead log's sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalConfig {
    pub(crate) generation_bytes: u64,
    pub(crate) generation_age: Duration,
    pub(crate) max_bytes: u64,
    pub(crate) recycle: bool,
}

/// When uploads are sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadConfig {
    pub(crate) interval: Duration,
    pub(crate) early_per_minute: u32,
    pub(crate) bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) max_bytes: u64,
}

/// How segments are rewritten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RewriteConfig {
    pub(crate) bytes_per_second: u64,
}

/// What topics get that do not say.
#[derive(Clone, Debug)]
pub(crate) struct TopicDefaults {
    pub(crate) auto_create: bool,
    pub(crate) deletable: bool,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) max_message_bytes: u64,
    pub(crate) log_append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    /// -1: for ever.
    pub(crate) retention_ms: i64,
    /// -1: all.
    pub(crate) retention_bytes: i64,
    pub(crate) retention_check: Duration,
    pub(crate) delete_delay: Duration,
    pub(crate) min_insync_replicas: i32,
    pub(crate) unclean_leader_election: bool,
    pub(crate) producer_id_expiration: Duration,
}

/// Bounds on what a client may ask at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) max_request_bytes: u64,
    pub(crate) fetch_max_bytes: u64,
    pub(crate) fetch_session_slots: u32,
    /// `None`: never.
    pub(crate) max_idle: Option<Duration>,
    pub(crate) max_connections: u32,
    pub(crate) max_connections_per_ip: u32,
    /// Per second and client id; 0: no limit.
    pub(crate) producer_quota_bytes: u64,
    /// Per second and client id; 0: no limit.
    pub(crate) consumer_quota_bytes: u64,
}

impl Config {
    /// Checks what only shows when values stand beside each other, and derives what was left empty.
    pub(crate) fn resolve(raw: &Raw) -> Result<Self, ConfigError> {
        let data_dir = PathBuf::from(raw.get("data.dir"));
        if data_dir.as_os_str().is_empty() {
            return Err(raw.refuse("data.dir", "must name a directory"));
        }
        let store = store(raw, &data_dir)?;
        let durability = match raw.get("durability") {
            "" if store.is_remote => Durability::Object,
            "" => Durability::Wal,
            level => level.parse().map_err(|error| raw.refuse("durability", error))?,
        };
        let listeners = Listener::parse_list(raw.get("listeners")).map_err(|why| raw.refuse("listeners", why))?;
        let advertised = match raw.get("advertised.listeners") {
            "" => listeners.clone(),
            text => Listener::parse_list(text).map_err(|why| raw.refuse("advertised.listeners", why))?,
        };
        if advertised.len() != listeners.len() {
            return Err(
                raw.refuse("advertised.listeners", format_args!("must name as many listeners as listeners does ({})", listeners.len()))
            );
        }
        if let Some(listener) = advertised.iter().find(|listener| matches!(listener.host.as_str(), "" | "0.0.0.0" | "::")) {
            let key = if raw.get("advertised.listeners").is_empty() { "listeners" } else { "advertised.listeners" };
            return Err(
                raw.refuse(key, format_args!("clients cannot connect to {listener}; set advertised.listeners to an address they reach"))
            );
        }
        let memory = u64_of(raw, "memory.max.bytes");
        let cache_disk_bytes = u64_of(raw, "cache.disk.max.bytes");
        if (1..LEAST_DISK_CACHE).contains(&cache_disk_bytes) {
            return Err(raw.refuse("cache.disk.max.bytes", "must be 0 or at least 128MiB"));
        }
        let upload = UploadConfig {
            interval: millis(raw, "upload.interval.ms"),
            early_per_minute: u32_of(raw, "upload.early.per.minute"),
            bytes: u64_of(raw, "upload.bytes"),
            max_age: millis(raw, "upload.max.age.ms"),
            max_bytes: u64_of(raw, "upload.max.bytes"),
        };
        if upload.max_bytes < upload.bytes {
            return Err(raw.refuse("upload.max.bytes", format_args!("must be at least upload.bytes, which is {}", upload.bytes)));
        }
        let rewrite =
            bool_of(raw, "rewrite.enable").then(|| RewriteConfig { bytes_per_second: u64_of(raw, "rewrite.max.bytes.per.second") });
        let wal = WalConfig {
            generation_bytes: u64_of(raw, "wal.generation.bytes"),
            generation_age: millis(raw, "wal.generation.ms"),
            max_bytes: u64_of(raw, "wal.max.bytes"),
            recycle: bool_of(raw, "wal.recycle"),
        };
        if wal.max_bytes < wal.generation_bytes {
            return Err(
                raw.refuse("wal.max.bytes", format_args!("must be at least wal.generation.bytes, which is {}", wal.generation_bytes))
            );
        }
        let shown = shown(raw, &[("store.url", store.url.clone()), ("durability", durability.to_string())]);
        Ok(Self {
            shown,
            started_with: raw.clone(),
            node_id: BrokerId(i32_of(raw, "node.id")),
            rack: text_of(raw, "broker.rack"),
            listeners,
            advertised,
            http_listen: address(raw, "http.listen")?,
            data_dir,
            store,
            durability,
            memory: MemoryShares::of(memory, rewrite.is_some()),
            cache_disk_bytes,
            shutdown_timeout: millis(raw, "shutdown.timeout.ms"),
            wal,
            upload,
            rewrite,
            audit: bool_of(raw, "store.audit.enable")
                .then(|| AuditOptions { bytes_per_second: u64_of(raw, "store.audit.max.bytes.per.second"), ..AuditOptions::default() }),
            metadata_listen: address(raw, "metadata.listen")?,
            metadata_max_segments: u64_of(raw, "metadata.max.segments"),
            metadata_snapshot_max_interval: millis(raw, "metadata.snapshot.max.interval.ms"),
            metadata_snapshot_min_interval: millis(raw, "metadata.snapshot.min.interval.ms"),
            topics: topics(raw)?,
            groups: groups(raw)?,
            requests: RequestLimits {
                max_request_bytes: u64_of(raw, "socket.request.max.bytes"),
                fetch_max_bytes: u64_of(raw, "fetch.max.bytes"),
                fetch_session_slots: u32_of(raw, "max.incremental.fetch.session.cache.slots"),
                max_idle: u64::try_from(i64_of(raw, "connections.max.idle.ms")).ok().map(Duration::from_millis),
                max_connections: u32_of(raw, "max.connections"),
                max_connections_per_ip: u32_of(raw, "max.connections.per.ip"),
                producer_quota_bytes: u64_of(raw, "quota.producer.default"),
                consumer_quota_bytes: u64_of(raw, "quota.consumer.default"),
            },
        })
    }
}

fn store(raw: &Raw, data_dir: &std::path::Path) -> Result<StoreConfig, ConfigError> {
    let url = match raw.get("store.url") {
        "" => {
            let absolute = std::path::absolute(data_dir).map_err(|error| raw.refuse("data.dir", error))?;
            format!("file://{}", absolute.join("store").display())
        }
        url => url.to_owned(),
    };
    let is_remote = match url.split_once("://") {
        Some(("file" | "memory", _)) => false,
        Some(("s3", _)) => true,
        _ => return Err(raw.refuse("store.url", "must be file:///path, s3://bucket/prefix or memory://")),
    };
    let config = StoreConfig {
        url,
        endpoint: text_of(raw, "store.s3.endpoint"),
        region: text_of(raw, "store.s3.region"),
        path_style: bool_of(raw, "store.s3.path.style"),
        is_remote,
    };
    store::check(&config.url, &config.s3_options()).map_err(|error| match error {
        OpenError::Url { detail, .. } => raw.refuse("store.url", detail),
        OpenError::Endpoint { .. } => raw.refuse("store.s3.endpoint", "must be http://HOST:PORT or https://HOST"),
        error @ (OpenError::Refused { .. } | OpenError::Unavailable { .. }) => raw.refuse("store.url", error),
    })?;
    Ok(config)
}

fn topics(raw: &Raw) -> Result<TopicDefaults, ConfigError> {
    Ok(TopicDefaults {
        auto_create: bool_of(raw, "auto.create.topics.enable"),
        deletable: bool_of(raw, "delete.topic.enable"),
        partitions: i32_of(raw, "num.partitions"),
        replication_factor: i16::try_from(i64_of(raw, "default.replication.factor")).expect("the table bounds it to 16"),
        max_message_bytes: u64_of(raw, "message.max.bytes"),
        log_append_time: raw.get("message.timestamp.type") == "LogAppendTime",
        timestamp_before_max_ms: i64_of(raw, "log.message.timestamp.before.max.ms"),
        timestamp_after_max_ms: i64_of(raw, "log.message.timestamp.after.max.ms"),
        retention_ms: retention_ms(raw)?,
        retention_bytes: i64_of(raw, "log.retention.bytes"),
        retention_check: millis(raw, "log.retention.check.interval.ms"),
        delete_delay: millis(raw, "log.segment.delete.delay.ms"),
        min_insync_replicas: i32_of(raw, "min.insync.replicas"),
        unclean_leader_election: bool_of(raw, "unclean.leader.election.enable"),
        producer_id_expiration: millis(raw, "producer.id.expiration.ms"),
    })
}

fn groups(raw: &Raw) -> Result<GroupOptions, ConfigError> {
    let (min, max) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
    if i64_of(raw, max) < i64_of(raw, min) {
        return Err(raw.refuse(max, format_args!("must be at least {min}, which is {}", raw.get(min))));
    }
    let (session_timeout, session_timeouts) = bounded_ms(raw, "session.timeout")?;
    let (heartbeat_interval, heartbeat_intervals) = bounded_ms(raw, "heartbeat.interval")?;
    let (assignment_interval, assignment_intervals) = bounded_ms(raw, "assignment.interval")?;
    let assignors = raw.get("group.consumer.assignors").split(',').map(|name| AssignorName::from_name(name.trim()));
    let assignors: Option<Vec<_>> = assignors.collect();
    let assignors = assignors.ok_or_else(|| raw.refuse("group.consumer.assignors", "must be uniform, range or both"))?;
    Ok(GroupOptions {
        min_session_timeout_ms: timeout_ms(raw, min)?,
        max_session_timeout_ms: timeout_ms(raw, max)?,
        initial_rebalance_delay_ms: u64_of(raw, "group.initial.rebalance.delay.ms"),
        max_size: u32_of(raw, "group.max.size") as usize,
        offset_metadata_max_bytes: u32_of(raw, "offset.metadata.max.bytes") as usize,
        offsets_retention_ms: i64_of(raw, "offsets.retention.minutes") * 60_000,
        offsets_retention_check_interval_ms: u64_of(raw, "offsets.retention.check.interval.ms"),
        consumer_session_timeout_ms: session_timeout,
        consumer_session_timeouts_ms: session_timeouts,
        consumer_heartbeat_interval_ms: heartbeat_interval,
        consumer_heartbeat_intervals_ms: heartbeat_intervals,
        consumer_max_size: u32_of(raw, "group.consumer.max.size") as usize,
        consumer_assignors: assignors,
        consumer_regex_refresh_interval_ms: u64_of(raw, "group.consumer.regex.refresh.interval.ms"),
        consumer_assignment_interval_ms: u64::from(assignment_interval.unsigned_abs()),
        consumer_assignment_intervals_ms: u64::from(assignment_intervals.start().unsigned_abs())
            ..=u64::from(assignment_intervals.end().unsigned_abs()),
        migration_policy: match raw.get("group.consumer.migration.policy") {
            "upgrade" => MigrationPolicy::Upgrade,
            "downgrade" => MigrationPolicy::Downgrade,
            "disabled" => MigrationPolicy::Disabled,
            _ => MigrationPolicy::Bidirectional,
        },
    })
}

/// What groups of the consumer protocol have that do not say, and what they may say.
fn bounded_ms(raw: &Raw, what: &str) -> Result<(i32, RangeInclusive<i32>), ConfigError> {
    let [key, min, max] = ["", "min.", "max."].map(|bound| format!("group.consumer.{bound}{what}.ms"));
    let (value, least, most) = (timeout_ms(raw, &key)?, timeout_ms(raw, &min)?, timeout_ms(raw, &max)?);
    if value < least || most < value {
        return Err(raw.refuse(&key, format_args!("must be from {min} to {max}, which are {least} and {most}")));
    }
    Ok((value, least..=most))
}

/// Kafka's protocol counts these in 31 bits.
fn timeout_ms(raw: &Raw, key: &str) -> Result<i32, ConfigError> {
    i32::try_from(i64_of(raw, key)).map_err(|_| raw.refuse(key, format_args!("must be at most {}", i32::MAX)))
}

/// Kafka's precedence: ms over minutes over hours; any negative value is "for ever".
fn retention_ms(raw: &Raw) -> Result<i64, ConfigError> {
    for (key, factor) in [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)] {
        match raw.get(key) {
            "" => {}
            text => {
                let number: i64 = text.parse().map_err(|_| raw.refuse(key, "must be a whole number, or -1 for ever"))?;
                return Ok(if number < 0 { -1 } else { number.saturating_mul(factor) });
            }
        }
    }
    unreachable!("log.retention.hours has a default")
}

fn address(raw: &Raw, key: &str) -> Result<SocketAddr, ConfigError> {
    let text = raw.get(key).replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| raw.refuse(key, "must be address:port, for instance 127.0.0.1:9644"))
}

/// Where tools on this machine find a broker's metadata service.
pub(crate) fn metadata_url(raw: &Raw) -> Result<String, ConfigError> {
    if let Some(url) = text_of(raw, "metadata.url") {
        return Ok(url);
    }
    let mut listen = address(raw, "metadata.listen")?;
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(format!("http://{listen}"))
}

fn text_of(raw: &Raw, key: &str) -> Option<String> {
    Some(raw.get(key)).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn bool_of(raw: &Raw, key: &str) -> bool {
    raw.get(key) == "true"
}

fn i64_of(raw: &Raw, key: &str) -> i64 {
    raw.get(key).parse().expect("the table holds this key to numbers")
}

fn u64_of(raw: &Raw, key: &str) -> u64 {
    u64::try_from(i64_of(raw, key)).expect("the table holds this key to numbers of at least 0")
}

fn i32_of(raw: &Raw, key: &str) -> i32 {
    i32::try_from(i64_of(raw, key)).expect("the table bounds this key")
}

fn u32_of(raw: &Raw, key: &str) -> u32 {
    u32::try_from(i64_of(raw, key)).expect("the table bounds this key")
}

fn millis(raw: &Raw, key: &str) -> Duration {
    Duration::from_millis(u64_of(raw, key))
}

#[cfg(test)]
mod tests {
    use super::super::layers::Layers;
    use super::*;

    fn raw(settings: &[(&str, &str)]) -> Result<Raw, ConfigError> {
        let command_line = settings.iter().map(|(key, value)| ((*key).into(), (*value).into(), format!("--set {key}={value}"))).collect();
        Layers { command_line, ..Layers::default() }.merge()
    }

    fn resolve(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::resolve(&raw(settings)?)
    }

    #[test]
    fn metadata_is_found_where_it_is_said_to_be_or_where_it_listens() {
        for (settings, expected) in [
            (&[][..], "http://127.0.0.1:9645"),
            (&[("metadata.listen", "0.0.0.0:1")], "http://127.0.0.1:1"),
            (&[("metadata.listen", "[::]:2")], "http://[::1]:2"),
            (&[("metadata.listen", "10.0.0.1:3")], "http://10.0.0.1:3"),
            (&[("metadata.listen", "10.0.0.1:3"), ("metadata.url", "http://metadata:4")], "http://metadata:4"),
        ] {
            assert_eq!(metadata_url(&raw(settings).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn durability_follows_the_store_unless_it_is_said() {
        assert_eq!(resolve(&[]).unwrap().durability, Durability::Wal);
        assert_eq!(resolve(&[("store.url", "s3://bucket/prefix")]).unwrap().durability, Durability::Object);
        assert_eq!(resolve(&[("durability", "object")]).unwrap().durability, Durability::Object);
    }

    #[test]
    fn the_store_is_audited_slowly_unless_it_is_said() {
        let rate = |settings: &[(&str, &str)]| resolve(settings).unwrap().audit.map(|audit| audit.bytes_per_second);
        assert_eq!(rate(&[]), Some(4 << 20));
        assert_eq!(rate(&[("store.audit.max.bytes.per.second", "64KiB")]), Some(64 << 10));
        assert_eq!(rate(&[("store.audit.enable", "false")]), None);
        let too_slow = resolve(&[("store.audit.max.bytes.per.second", "0")]).unwrap_err();
        assert!(too_slow.0.contains("store.audit.max.bytes.per.second"), "{}", too_slow.0);
    }

    #[test]
    fn the_shares_of_memory_are_the_whole() {
        for (enable, rewrite) in [("true", 64 << 20), ("false", 0)] {
            let shares = resolve(&[("memory.max.bytes", "512MiB"), ("rewrite.enable", enable)]).unwrap().memory;
            assert_eq!(shares.memtables + shares.tail + shares.read_cache + shares.requests + shares.rewrite, 512 << 20);
            assert_eq!(shares.rewrite, rewrite);
        }
    }

    #[test]
    fn a_disk_cache_is_off_or_large_enough_for_its_blocks() {
        for (text, bytes) in [("0", 0), ("128MiB", 128 << 20)] {
            assert_eq!(resolve(&[("cache.disk.max.bytes", text)]).unwrap().cache_disk_bytes, bytes);
        }
        let error = resolve(&[("cache.disk.max.bytes", "127MiB")]).unwrap_err().to_string();
        assert!(error.contains("must be 0 or at least 128MiB"), "{error}");
    }

    #[test]
    fn retention_follows_kafkas_precedence() {
        assert_eq!(resolve(&[]).unwrap().topics.retention_ms, 168 * 3_600_000);
        assert_eq!(resolve(&[("log.retention.minutes", "5"), ("log.retention.hours", "1")]).unwrap().topics.retention_ms, 300_000);
        assert_eq!(resolve(&[("log.retention.ms", "-1")]).unwrap().topics.retention_ms, -1);
    }

    #[test]
    fn groups_are_kafkas_unless_it_is_said() {
        assert_eq!(resolve(&[]).unwrap().groups, GroupOptions::default());
        let settings = [("group.consumer.assignors", "range, uniform"), ("group.consumer.migration.policy", "disabled")];
        let groups = resolve(&settings).unwrap().groups;
        assert_eq!(groups.consumer_assignors, [AssignorName::Range, AssignorName::Uniform]);
        assert_eq!(groups.migration_policy, MigrationPolicy::Disabled);
    }

    #[test]
    fn contradictions_name_both_sides() {
        for (settings, expected) in [
            (&[("upload.max.bytes", "1MiB")][..], "must be at least upload.bytes"),
            (&[("listeners", "PLAINTEXT://0.0.0.0:9092")][..], "set advertised.listeners"),
            (&[("store.url", "gs://bucket")][..], "must be file:///path"),
            (&[("store.url", "file://")][..], "names no directory"),
            (&[("store.url", "s3://Bucket/a")][..], "store.url=s3://Bucket/a: \"Bucket\" is not a bucket's name"),
            (&[("store.url", "s3://bucket/a b")][..], "is not a prefix"),
            (&[("store.url", "s3://bucket"), ("store.s3.endpoint", "minio:9000")][..], "store.s3.endpoint=minio:9000: must be http://"),
            (&[("durability", "quorum")][..], "must be"),
            (&[("http.listen", "nowhere")][..], "must be address:port"),
            (&[("group.max.session.timeout.ms", "5s")][..], "must be at least group.min.session.timeout.ms"),
            (&[("group.consumer.session.timeout.ms", "30d")][..], "must be at most 2147483647"),
            (&[("group.consumer.session.timeout.ms", "44s")][..], "must be from group.consumer.min.session.timeout.ms"),
            (&[("group.consumer.max.heartbeat.interval.ms", "4s")][..], "which are 5000 and 4000"),
            (&[("group.consumer.assignors", "sticky")][..], "must be uniform, range or both"),
        ] {
            let error = resolve(settings).unwrap_err();
            assert!(error.0.contains(expected), "{error}");
        }
    }
}
