//! R5 from outside: durability altered while there is data, by a topic's config and by the broker's default, across kill -9.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_ok, siltstone_with_input};

/// Nothing is uploaded that nobody waits for.
const SLOW: &[(&str, &str)] = &[("upload.max.age.ms", "1h")];

struct Topic<'a> {
    directory: &'a Path,
    broker: Broker,
    ports: Ports,
}

impl<'a> Topic<'a> {
    async fn create(directory: &'a Path) -> Self {
        let broker = Broker::start(directory, SLOW).await;
        siltstone_ok(&["topic", "create", "t", "--partitions", "2", "--bootstrap", &broker.bootstrap]).await;
        let ports = Ports { kafka: broker.port() };
        Self { directory, broker, ports }
    }

    async fn kill_and_start(self, settings: &[(&str, &str)]) -> Self {
        self.broker.kill().await;
        let broker = Broker::start_on(self.ports, self.directory, &[SLOW, settings].concat()).await;
        Self { broker, ..self }
    }

    async fn produce(&self, lines: std::ops::Range<usize>) {
        let input: String = lines.map(|number| format!("line {number}\n")).collect();
        let output = siltstone_with_input(&["produce", "t", "--bootstrap", &self.broker.bootstrap], &input).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn alter(&self, level: &str) {
        siltstone_ok(&["topic", "alter", "t", "--set", &format!("durability={level}"), "--bootstrap", &self.broker.bootstrap]).await;
    }

    async fn described(&self) -> Value {
        let text = siltstone_ok(&["topic", "describe", "t", "--json", "--bootstrap", &self.broker.bootstrap]).await;
        serde_json::from_str(&text).unwrap()
    }

    async fn is_in_force(&self, level: &str) {
        let what = format!("{level} in force");
        eventually(&what, async || self.described().await["durability"]["in_force"] == level).await;
    }

    fn sum(described: &Value, mark: &str) -> i64 {
        described["partitions"].as_array().unwrap().iter().map(|partition| partition[mark].as_i64().unwrap()).sum()
    }

    /// What every consumer sees.
    async fn high_watermarks(&self) -> i64 {
        Self::sum(&self.described().await, "high_watermark")
    }

    /// Offsets that lie in objects.
    async fn published(&self) -> i64 {
        let text = siltstone_ok(&["segment", "list", "t", "--json", "--metadata", &self.broker.metadata]).await;
        let segments: Vec<Value> = serde_json::from_str(&text).unwrap();
        segments.iter().map(|segment| segment["end"].as_i64().unwrap() - segment["base"].as_i64().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_topic_is_altered_both_ways_and_nothing_that_was_seen_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let topic = Topic::create(directory.path()).await;
    topic.produce(0..100).await;
    assert_eq!((topic.high_watermarks().await, topic.published().await), (100, 0), "acknowledged and seen by the log's sync");

    topic.alter("object").await;
    topic.is_in_force("object").await;
    assert_eq!((topic.high_watermarks().await, topic.published().await), (100, 100), "published before object comes into force");
    topic.produce(100..150).await;
    assert_eq!(topic.published().await, 150, "acknowledged by the publish");
    let topic = topic.kill_and_start(&[]).await;
    assert_eq!(topic.described().await["durability"], serde_json::json!({"configured": "object", "in_force": "object"}));
    assert_eq!(topic.high_watermarks().await, 150);

    topic.alter("wal").await;
    topic.is_in_force("wal").await;
    topic.produce(150..200).await;
    assert_eq!((topic.high_watermarks().await, topic.published().await), (200, 150), "acknowledged by the sync");
    let topic = topic.kill_and_start(&[]).await;
    assert_eq!(topic.high_watermarks().await, 200);
    let text = siltstone_ok(&["topic", "describe", "t", "--bootstrap", &topic.broker.bootstrap]).await;
    assert!(text.contains("durability: wal\n"), "{text}");
    topic.broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_topic_that_does_not_say_follows_the_brokers_altered_default() {
    let directory = tempfile::tempdir().unwrap();
    let topic = Topic::create(directory.path()).await;
    topic.produce(0..100).await;

    let topic = topic.kill_and_start(&[("durability", "object")]).await;
    assert_eq!(topic.high_watermarks().await, 100, "what was seen before the start is seen after it");
    topic.is_in_force("object").await;
    assert_eq!(topic.published().await, 100);

    let topic = topic.kill_and_start(&[]).await;
    topic.is_in_force("wal").await;
    topic.produce(100..120).await;
    assert_eq!((topic.high_watermarks().await, topic.published().await), (120, 100));
    let refused = siltstone(&["topic", "alter", "t", "--set", "durability=quorum", "--bootstrap", &topic.broker.bootstrap]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("use wal or object"));
    topic.broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_crash_right_after_an_alteration_takes_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut topic = Topic::create(directory.path()).await;
    for round in 0..6 {
        topic.produce(round * 10..round * 10 + 10).await;
        let acknowledged = topic.high_watermarks().await;
        topic.alter(if round % 2 == 0 { "object" } else { "wal" }).await;
        topic = topic.kill_and_start(&[]).await;
        assert_eq!((topic.high_watermarks().await, acknowledged), (round as i64 * 10 + 10, round as i64 * 10 + 10), "round {round}");
    }
    topic.is_in_force("wal").await;
    let consumed = siltstone_ok(&["consume", "t", "--bootstrap", &topic.broker.bootstrap]).await;
    let mut lines: Vec<usize> = consumed.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..60).collect::<Vec<_>>(), "every record once");
    topic.broker.kill().await;
}
