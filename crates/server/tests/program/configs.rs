//! Configs of a running broker and of groups through the program: they take effect at once and survive the broker.

use std::path::Path;

use crate::harness::{Broker, Ports, siltstone, siltstone_ok, siltstone_with_input};

async fn run(broker: &Broker, arguments: &[&str]) -> String {
    siltstone_ok(&[arguments, &["--bootstrap", &broker.bootstrap]].concat()).await
}

async fn refused(broker: &Broker, arguments: &[&str]) -> String {
    let output = siltstone(&[arguments, &["--bootstrap", &broker.bootstrap]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

/// Whether the broker takes a record of a thousand bytes.
async fn takes_a_thousand_bytes(broker: &Broker) -> bool {
    let line = "x".repeat(1000);
    siltstone_with_input(&["produce", "t", "--bootstrap", &broker.bootstrap], &line).await.status.success()
}

/// Key, value and source of what is not the default.
async fn described(broker: &Broker, of: &[&str]) -> Vec<(String, String, String)> {
    let text = run(broker, &[&["config", "describe", "--json"], of].concat()).await;
    let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let word = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = listed.as_array().unwrap().iter();
    entries.map(|entry| (word(entry, "key"), word(entry, "value"), word(entry, "source"))).collect()
}

fn entry(key: &str, value: &str, source: &str) -> (String, String, String) {
    (key.to_owned(), value.to_owned(), source.to_owned())
}

async fn killed_and_started(broker: Broker, directory: &Path) -> Broker {
    let ports = Ports { kafka: broker.port() };
    broker.kill().await;
    Broker::start_on(ports, directory, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_on_brokers_acts_at_once_and_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    run(&broker, &["topic", "create", "t", "--partitions", "1"]).await;
    assert!(takes_a_thousand_bytes(&broker).await);
    let set = ["config", "alter", "--all-brokers", "--set", "message.max.bytes=500", "--set", "num.io.threads=9"];
    assert_eq!(run(&broker, &set).await, "changed 2 configs of all brokers\n");
    assert!(!takes_a_thousand_bytes(&broker).await);
    let all = [entry("message.max.bytes", "500", "all brokers"), entry("num.io.threads", "9", "all brokers")];
    assert_eq!(described(&broker, &["--all-brokers"]).await, all);
    assert!(described(&broker, &["--broker", "1"]).await.contains(&all[0]));

    let broker = killed_and_started(broker, directory.path()).await;
    assert!(!takes_a_thousand_bytes(&broker).await);
    run(&broker, &["config", "alter", "--broker", "1", "--set", "message.max.bytes=1MiB"]).await;
    assert!(takes_a_thousand_bytes(&broker).await);
    assert!(described(&broker, &["--broker", "1"]).await.contains(&entry("message.max.bytes", "1048576", "broker")));

    let broker = killed_and_started(broker, directory.path()).await;
    assert!(takes_a_thousand_bytes(&broker).await);
    run(&broker, &["config", "alter", "--broker", "1", "--unset", "message.max.bytes"]).await;
    assert!(!takes_a_thousand_bytes(&broker).await);
    run(&broker, &["config", "alter", "--all-brokers", "--unset", "message.max.bytes", "--unset", "num.io.threads"]).await;
    assert!(takes_a_thousand_bytes(&broker).await);
    assert_eq!(described(&broker, &["--all-brokers"]).await, []);
    broker.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_of_a_group_are_kept_and_what_cannot_be_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let session = "consumer.session.timeout.ms";
    let set = ["config", "alter", "--group", "g", "--set", "consumer.session.timeout.ms=50000"];
    assert_eq!(run(&broker, &set).await, "changed 1 configs of group g\n");
    let broker = killed_and_started(broker, directory.path()).await;
    assert_eq!(described(&broker, &["--group", "g"]).await, [entry(session, "50000", "group")]);
    assert_eq!(described(&broker, &["--group", "other"]).await, []);
    for (of, set, expected) in [
        (&["--group", "g"][..], "consumer.session.timeout.ms=1000", "must be in the range 45000 to 60000 inclusive."),
        (&["--broker", "1"], "data.dir=/tmp", "Cannot update these configs dynamically: [data.dir]"),
        (&["--broker", "1"], "group.max.session.timeout.ms=5s", "must be at least group.min.session.timeout.ms, which is 6000"),
        (&["--all-brokers"], "message.max.byte=1", "Unknown broker config name: message.max.byte"),
    ] {
        let refused = refused(&broker, &[&["config", "alter", "--set", set], of].concat()).await;
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(refused(&broker, &["config", "describe", "--broker", "7"]).await.contains("broker 7"));
    broker.terminate().await;
}
