//! The program on a bucket, with nothing installed: an S3 in this process.

use s3_server::{ACCESS_KEY, Quirks, S3Server, SECRET_KEY};

use crate::harness::{Broker, Ports, eventually, siltstone_in, siltstone_with_input};

const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_REGION", "us-east-1")];

/// Runs a command with the credentials, expects success, returns its standard output.
async fn with_credentials(arguments: &[&str]) -> String {
    let output = siltstone_in(&CREDENTIALS, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command with the credentials, expects status 1 and one line, returns that.
async fn refused(arguments: &[&str]) -> String {
    let output = siltstone_in(&CREDENTIALS, arguments).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{arguments:?}: {stderr}");
    stderr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_on_a_bucket_keeps_everything_there() {
    let server = S3Server::start(&[], Quirks::default()).await;
    let endpoint = format!("store.s3.endpoint={}", server.endpoint());
    let url = "s3://bucket/a/prefix";
    let reach = ["--set", &endpoint];

    let absent = refused(&[&["store", "probe", url, "--quick"][..], &reach].concat()).await;
    assert!(absent.contains("bucket bucket does not exist"), "{absent}");
    let create = [&["store", "create", url][..], &reach].concat();
    assert_eq!(with_credentials(&create).await, format!("{url} created\n"));
    assert_eq!(with_credentials(&create).await, format!("{url} is there already\n"));
    let card = with_credentials(&[&["store", "probe", url, "--json"][..], &reach].concat()).await;
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    assert!(card["findings"].as_array().unwrap().iter().all(|finding| finding["verdict"] == "yes"), "{card:#}");
    assert!(!card["measurements"].as_array().unwrap().is_empty());
    assert_eq!(server.keys("bucket"), [""; 0], "what was probed is removed");

    let directory = tempfile::tempdir().unwrap();
    let address = server.endpoint();
    let settings = [
        ("store.url", url),
        ("store.s3.endpoint", address.as_str()),
        ("log.segment.delete.delay.ms", "100"),
        ("metadata.snapshot.min.interval.ms", "100"),
    ];
    let broker = Broker::try_start_in(&CREDENTIALS, Ports::default(), directory.path(), &settings).await.unwrap();
    let (bootstrap, metadata) = (broker.bootstrap.clone(), broker.metadata.clone());
    let lines: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    let written = siltstone_with_input(&["produce", "lines", "--partition", "0", "--bootstrap", &bootstrap], &lines).await;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(
        server.keys("bucket").iter().any(|key| key.starts_with("a/prefix/shared/")),
        "acknowledged is uploaded: {:?}",
        server.keys("bucket")
    );
    let check = [&["store", "check", "--metadata", &metadata, "--store", url][..], &reach].concat();
    let told = with_credentials(&check).await;
    assert!(told.contains("0 problems, 0 orphans"), "{told}");

    // The disk is lost but for the metadata: what is acknowledged is in the bucket.
    let ports = Ports { kafka: broker.port() };
    broker.kill().await;
    let broker = Broker::try_start_in(&CREDENTIALS, ports, directory.path(), &settings).await.unwrap();
    let read = with_credentials(&["consume", "lines", "--bootstrap", &bootstrap]).await;
    assert!(read == lines, "nothing lost, nothing twice");
    with_credentials(&["topic", "delete", "lines", "--bootstrap", &bootstrap]).await;
    eventually("the deletion of its objects", async || server.keys("bucket").iter().all(|key| !key.contains("/shared/"))).await;
    assert!(broker.terminate().await.status.success());
}

#[tokio::test]
async fn a_bucket_whose_puts_replace_is_refused_by_the_probe_and_at_start() {
    let server = S3Server::start(&["bucket"], Quirks { ignores_conditions: true, ..Quirks::default() }).await;
    let endpoint = format!("store.s3.endpoint={}", server.endpoint());
    let told = refused(&["store", "probe", "s3://bucket/a", "--quick", "--set", &endpoint]).await;
    assert!(told.contains("lacks what a broker relies on, or does not show it: put-if-absent, put-race"), "{told}");

    let directory = tempfile::tempdir().unwrap();
    let address = server.endpoint();
    let settings = [("store.url", "s3://bucket/a"), ("store.s3.endpoint", address.as_str())];
    let Err(output) = Broker::try_start_in(&CREDENTIALS, Ports::default(), directory.path(), &settings).await else {
        panic!("the broker started on a store that would replace its objects")
    };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(
        stderr.contains("use store s3://bucket/a: the store lacks what a broker relies on: a put where an object is already"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_directory_is_made_and_probed_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("a/b").display());
    assert!(refused(&["store", "probe", &url]).await.contains("there is no store in"));
    assert!(with_credentials(&["store", "create", &url]).await.contains("created"));
    let card = with_credentials(&["store", "probe", &url]).await;
    assert!(card.contains("put-if-absent") && card.contains("REQUEST"), "{card}");
    let twice = siltstone_in(&[], &["store", "probe", &url, "--store", &url]).await;
    assert_eq!(twice.status.code(), Some(2));
}
