//! The disk fails, the store goes away: what the broker says, what it keeps, and that it goes on by itself where it can.

use std::fs;
use std::path::Path;

use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_ok, siltstone_with_input};

/// Numbered lines of about 100 bytes.
fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("{number:0>100}\n")).collect()
}

async fn write(bootstrap: &str, lines: &str) -> std::process::Output {
    siltstone_with_input(&["produce", "lines", "--partition", "0", "--bootstrap", bootstrap], lines).await
}

async fn read(bootstrap: &str) -> String {
    siltstone_ok(&["consume", "lines", "--bootstrap", bootstrap]).await
}

/// Rule R4: nothing restarts this by itself, and nothing acknowledged is given away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_failed_write_of_the_log_ends_the_process_with_status_3_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // One large generation, and objects below the limit.
    let settings = [("wal.generation.bytes", "256MiB"), ("upload.bytes", "1MiB"), ("upload.max.bytes", "1MiB")];
    let broker = Broker::start_with_file_limit(8 << 10, directory.path(), &settings).await;
    let acknowledged = lines(0, 1000);
    assert!(write(&broker.bootstrap, &acknowledged).await.status.success());
    let bootstrap = broker.bootstrap.clone();
    let rest = lines(1000, 200_000);
    let (mut broker, mut producer) = (Box::pin(broker.ended()), Box::pin(write(&bootstrap, &rest)));
    // A producer goes on asking for minutes; it is dropped with the broker.
    let output = tokio::select! {
        output = &mut broker => output,
        written = &mut producer => panic!("20 MB went into files of at most 8 MiB: {written:?}"),
    };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.lines().last().unwrap().ends_with("look at the disk before you start the broker again"), "{stderr}");
    drop(producer);

    let broker = Broker::start(directory.path(), &[]).await;
    let found = read(&broker.bootstrap).await;
    let all = format!("{acknowledged}{rest}");
    assert!(found.starts_with(&acknowledged), "what was acknowledged is there");
    assert!(all.starts_with(&found), "and the rest is what was sent, in order, up to some line");
    broker.kill().await;
}

/// Breaks a store directory, also for those who may do anything.
fn take_away(store: &Path) {
    fs::rename(store.join("shared"), store.join("elsewhere")).unwrap();
    fs::write(store.join("shared"), "in the way").unwrap();
}

fn give_back(store: &Path) {
    fs::remove_file(store.join("shared")).unwrap();
    fs::rename(store.join("elsewhere"), store.join("shared")).unwrap();
}

/// Rules R24 and R25, ten tests' number 10 in small: the log takes what it may, then producers wait; nothing is lost, readers go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r25_while_the_store_is_away_the_log_fills_producers_wait_and_all_goes_on_unaided() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let settings = [
        ("wal.max.bytes", "4MiB"),
        ("wal.generation.bytes", "1MiB"),
        ("wal.generation.ms", "200"),
        ("upload.bytes", "512KiB"),
        ("upload.max.bytes", "512KiB"),
        ("upload.max.age.ms", "100"),
    ];
    let broker = Broker::start(directory.path(), &settings).await;
    let (bootstrap, http) = (broker.bootstrap.clone(), broker.http.clone());
    let first = lines(0, 1000);
    assert!(write(&bootstrap, &first).await.status.success());
    eventually("the first object", async || store.join("shared").is_dir()).await;
    take_away(&store);

    let rest = lines(1000, 120_000);
    let producer = tokio::spawn({
        let (bootstrap, rest) = (bootstrap.clone(), rest.clone());
        async move { write(&bootstrap, &rest).await }
    });
    let metrics = async || reqwest::get(format!("http://{http}/metrics")).await.unwrap().text().await.unwrap();
    eventually("a full log", async || metrics().await.lines().any(|line| line.contains("NOT_ENOUGH_REPLICAS") && !line.ends_with(" 0")))
        .await;
    // The log may be full before the first upload has failed.
    let health = async || siltstone(&["health", "--http", &http]).await;
    eventually("not being ready", async || health().await.status.code() == Some(1)).await;
    assert!(String::from_utf8(health().await.stderr).unwrap().starts_with("siltstone: not ready: store: upload: "), "it says what fails");
    assert!(siltstone(&["health", "--live", "--http", &http]).await.status.success(), "a restart would help nobody");
    // What the store had may be nowhere else any more; what came since is in the log and nowhere else.
    let since = siltstone_ok(&["consume", "lines", "--from", "1000", "--max-records", "1000", "--bootstrap", &bootstrap]).await;
    assert!(since == lines(1000, 2000), "reads go on");
    assert!(!producer.is_finished());

    give_back(&store);
    let written = producer.await.unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(read(&bootstrap).await == format!("{first}{rest}"), "everything once, in order");
    eventually("being ready again", async || siltstone(&["health", "--http", &http]).await.status.success()).await;
    let ports = Ports { kafka: broker.port() };
    assert!(broker.terminate().await.status.success());
    // From the objects alone.
    let broker = Broker::start_on(ports, directory.path(), &settings).await;
    assert!(read(&bootstrap).await == format!("{first}{rest}"));
    broker.kill().await;
}
