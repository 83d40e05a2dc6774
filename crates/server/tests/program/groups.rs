//! Consumer groups through the program: what a group has committed is where it goes on, whatever happened in between.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Broker, Ports, siltstone, siltstone_ok, siltstone_with_input};

/// The group does not wait for more members.
const AT_ONCE: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "4")];

struct Cluster {
    broker: Broker,
    bootstrap: String,
}

impl Cluster {
    async fn start(directory: &Path) -> Self {
        let broker = Broker::start(directory, AT_ONCE).await;
        Self { bootstrap: broker.bootstrap.clone(), broker }
    }

    async fn killed_and_started(self, directory: &Path) -> Self {
        let ports = Ports { kafka: self.broker.port() };
        self.broker.kill().await;
        Self { broker: Broker::start_on(ports, directory, AT_ONCE).await, bootstrap: self.bootstrap }
    }

    async fn run(&self, arguments: &[&str]) -> String {
        siltstone_ok(&[arguments, &["--bootstrap", &self.bootstrap]].concat()).await
    }

    async fn refused(&self, arguments: &[&str]) -> String {
        let output = siltstone(&[arguments, &["--bootstrap", &self.bootstrap]].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    }

    async fn produce(&self, numbers: std::ops::Range<u32>, more: &[&str]) {
        let lines: String = numbers.map(|number| format!("{number}\n")).collect();
        let output = siltstone_with_input(&[&["produce", "t", "--bootstrap", &self.bootstrap], more].concat(), &lines).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the group has not read yet. Nothing comes twice.
    async fn consume(&self, more: &[&str]) -> BTreeSet<u32> {
        let text = self.run(&[&["consume", "t", "--group", "g"], more].concat()).await;
        let numbers: BTreeSet<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.len(), text.lines().count(), "a record came twice");
        numbers
    }

    async fn described(&self) -> serde_json::Value {
        serde_json::from_str(&self.run(&["group", "describe", "g", "--json"]).await).unwrap()
    }

    /// How far the group lies behind, over all partitions.
    async fn lag(&self) -> i64 {
        self.described().await["offsets"].as_array().unwrap().iter().map(|offset| offset["lag"].as_i64().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_where_it_has_committed_also_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    cluster.produce(0..1000, &[]).await;
    assert_eq!(cluster.consume(&[]).await, (0..1000).collect());
    assert_eq!(cluster.consume(&[]).await, BTreeSet::new());
    cluster.produce(1000..1100, &[]).await;
    assert_eq!(cluster.lag().await, 100);
    let some = cluster.consume(&["--max-records", "30"]).await;
    assert_eq!(some.len(), 30);
    assert_eq!(cluster.lag().await, 70);

    let cluster = cluster.killed_and_started(directory.path()).await;
    assert_eq!(cluster.lag().await, 70, "commits survive the broker");
    let rest = cluster.consume(&[]).await;
    assert_eq!(some.union(&rest).copied().collect::<BTreeSet<_>>(), (1000..1100).collect());
    assert!(some.is_disjoint(&rest));
    assert!(cluster.run(&["group", "list"]).await.lines().any(|line| line.starts_with("g ") && line.contains("Empty")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_groups_offsets_are_reset_and_a_group_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    cluster.produce(0..100, &["--partition", "1"]).await;
    assert_eq!(cluster.consume(&[]).await.len(), 100);
    cluster.run(&["group", "reset", "g", "t", "--to", "beginning", "--dry-run"]).await;
    assert_eq!(cluster.lag().await, 0, "only shown");
    cluster.run(&["group", "reset", "g", "t", "--to", "beginning"]).await;
    assert_eq!(cluster.consume(&[]).await, (0..100).collect());
    cluster.run(&["group", "reset", "g", "t", "--to", "beginning", "--partition", "0,2"]).await;
    assert_eq!(cluster.consume(&[]).await, BTreeSet::new(), "partition 1 is as it was");
    cluster.run(&["group", "reset", "g", "t", "--to", "-3", "--partition", "1"]).await;
    assert_eq!(cluster.consume(&[]).await, (97..100).collect());
    cluster.run(&["group", "delete", "g"]).await;
    for arguments in [&["group", "describe", "g"][..], &["group", "delete", "g"]] {
        let refusal = cluster.refused(arguments).await;
        assert!(refusal.contains("group 'g' does not exist; `siltstone group list` shows those that do"), "{refusal}");
    }
    assert_eq!(cluster.consume(&["--from", "end"]).await, BTreeSet::new(), "the group begins anew");
}
