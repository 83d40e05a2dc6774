//! Client quotas through the program: they take effect at once and are there after a crash.

use std::path::Path;

use crate::harness::{Broker, Ports, siltstone, siltstone_ok, siltstone_with_input};

async fn run(broker: &Broker, arguments: &[&str]) -> String {
    siltstone_ok(&[arguments, &["--bootstrap", &broker.bootstrap]].concat()).await
}

async fn killed_and_started(broker: Broker, directory: &Path) -> Broker {
    let ports = Ports { kafka: broker.port() };
    broker.kill().await;
    Broker::start_on(ports, directory, &[]).await
}

/// Whether the broker asks who writes 20,000 bytes to pause.
async fn pauses_a_producer(broker: &Broker) -> bool {
    let throttled = async || {
        let page = reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
        let sample = page.lines().find_map(|line| line.strip_prefix("siltstone_throttled_seconds_total{api=\"Produce\"} "));
        sample.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    let before = throttled().await;
    let written = siltstone_with_input(&["produce", "t", "--bootstrap", &broker.bootstrap], &"x".repeat(20_000)).await;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    before < throttled().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_acts_at_once_is_there_after_a_crash_and_is_gone_when_it_is_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    run(&broker, &["topic", "create", "t", "--partitions", "1"]).await;
    assert!(!pauses_a_producer(&broker).await);
    let set = ["quota", "alter", "--default-client-id", "--set", "producer_byte_rate=1000", "--set", "request_percentage=12.5"];
    assert_eq!(run(&broker, &set).await, "changed 2 quotas of default client-id\n");
    assert!(pauses_a_producer(&broker).await);

    let broker = killed_and_started(broker, directory.path()).await;
    assert!(pauses_a_producer(&broker).await);
    run(&broker, &["quota", "alter", "--user", "ANONYMOUS", "--default-client-id", "--set", "producer_byte_rate=1000000"]).await;
    assert!(!pauses_a_producer(&broker).await, "the more specific one counts");
    let listed = run(&broker, &["quota", "list"]).await;
    let lines: Vec<_> =
        listed.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>()).collect();
    assert_eq!(
        lines,
        [
            ["OF", "KEY", "VALUE"],
            ["default client-id", "producer_byte_rate", "1000"],
            ["default client-id", "request_percentage", "12.5"],
            ["user ANONYMOUS, default client-id", "producer_byte_rate", "1000000"],
        ]
    );

    run(&broker, &["quota", "alter", "--user", "ANONYMOUS", "--default-client-id", "--unset", "producer_byte_rate"]).await;
    assert!(pauses_a_producer(&broker).await);
    let unset = ["quota", "alter", "--default-client-id", "--unset", "producer_byte_rate", "--unset", "request_percentage"];
    run(&broker, &unset).await;
    let broker = killed_and_started(broker, directory.path()).await;
    assert!(!pauses_a_producer(&broker).await);
    assert_eq!(run(&broker, &["quota", "list", "--json"]).await.trim(), "[]");
    broker.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_cannot_be_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    for (arguments, status, expected) in [
        (
            &["--client-id", "a", "--set", "bytes=1"][..],
            1,
            "altering quotas of client-id a: INVALID_REQUEST (Invalid configuration key bytes)",
        ),
        (&["--ip", "here", "--set", "connection_creation_rate=1"], 1, "here is not a valid IP; give the address"),
        (&["--user", "u", "--set", "producer_byte_rate=1.5"], 1, "producer_byte_rate cannot be a fractional value."),
        (&["--user", "u", "--set", "producer_byte_rate=fast"], 2, "--set producer_byte_rate=fast: write --set KEY=NUMBER"),
        (&["--user", "u"], 2, "nothing to change; give --set KEY=VALUE or --unset KEY"),
        (&["--set", "producer_byte_rate=1"], 2, "--help says more"),
        (&["--ip", "::1", "--user", "u", "--set", "producer_byte_rate=1"], 2, "cannot be used with"),
    ] {
        let output = siltstone(&[&["quota", "alter", "--bootstrap", &broker.bootstrap], arguments].concat()).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(status), 1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(run(&broker, &["quota", "list"]).await, "OF  KEY  VALUE\n");
    broker.terminate().await;
}
