//! A bucket that is away when the broker starts: what is served from the data directory, and that all goes on unaided once it is back.

use std::path::Path;
use std::process::Output;

use runtime::Random;
use s3_server::{ACCESS_KEY, Quirks, S3Server, SECRET_KEY};

use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_in, siltstone_ok, siltstone_with_input};
use crate::proxy::Proxy;

const BUCKET: &str = "siltstone";
const URL: &str = "s3://siltstone/cluster";

/// For the S3 in this process, unless the environment names a user of another.
pub(crate) fn credentials() -> Vec<(&'static str, &'static str)> {
    match std::env::var_os("AWS_ACCESS_KEY_ID") {
        Some(_) => Vec::new(),
        None => vec![("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_REGION", "us-east-1")],
    }
}

/// `siltstone store check` of a bucket with the broker's metadata.
pub(crate) async fn check(broker: &Broker, url: &str, endpoint: &str) -> String {
    let endpoint = format!("store.s3.endpoint={endpoint}");
    let arguments = ["store", "check", "--metadata", &broker.metadata, "--store", url, "--set", &endpoint];
    let output = siltstone_in(&credentials(), &arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A bucket behind a proxy, and a data directory.
struct Site {
    server: S3Server,
    proxy: Proxy,
    directory: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let server = S3Server::start(&[BUCKET], Quirks::default()).await;
        let proxy = Proxy::before(&server.endpoint(), Random::seeded(1)).await;
        Self { server, proxy, directory: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> &Path {
        self.directory.path()
    }

    async fn try_start(&self, port: u16, url: &str) -> Result<Broker, Output> {
        let endpoint = self.proxy.endpoint();
        let settings = [
            ("store.url", url),
            ("store.s3.endpoint", endpoint.as_str()),
            ("metadata.snapshot.min.interval.ms", "100"),
            ("log.segment.delete.delay.ms", "0"),
            ("upload.max.age.ms", "100"),
            ("wal.generation.ms", "200"),
        ];
        Broker::try_start_in(&credentials(), Ports { kafka: port }, self.data(), &settings).await
    }

    async fn start(&self) -> Broker {
        self.start_on(0).await
    }

    async fn start_on(&self, port: u16) -> Broker {
        match self.try_start(port, URL).await {
            Ok(broker) => broker,
            Err(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

async fn create(broker: &Broker, topic: &str, durability: &str) {
    let config = format!("durability={durability}");
    siltstone_ok(&["topic", "create", topic, "--config", &config, "--bootstrap", &broker.bootstrap]).await;
}

async fn produce(broker: &Broker, topic: &str, acks: &str, lines: &str) {
    let arguments = ["produce", topic, "--partition", "0", "--acks", acks, "--bootstrap", &broker.bootstrap];
    let output = siltstone_with_input(&arguments, lines).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn consume(broker: &Broker, topic: &str) -> String {
    siltstone_ok(&["consume", topic, "--bootstrap", &broker.bootstrap]).await
}

/// Segment objects in the bucket.
fn objects(server: &S3Server) -> usize {
    server.keys(BUCKET).iter().filter(|key| key.contains("/shared/")).count()
}

/// Lines that say where they stand.
fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("{number:0>100}\n")).collect()
}

/// The journal is trimmed below its snapshots, so that a start takes the copy in the data directory.
async fn take_snapshots(site: &Site, broker: &Broker) {
    create(broker, "gone", "wal").await;
    produce(broker, "gone", "all", "x\n").await;
    eventually("the topic's object", async || objects(&site.server) == 1).await;
    siltstone_ok(&["topic", "delete", "gone", "--bootstrap", &broker.bootstrap]).await;
    eventually("its deletion, which two snapshots precede", async || objects(&site.server) == 0).await;
    let copies = std::fs::read_dir(site.data().join("metadata/snapshots/meta/manifest")).unwrap().count();
    assert_eq!(copies, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_starts_while_its_bucket_is_away_serves_its_log_and_uploads_it_unaided() {
    let site = Site::new().await;
    let broker = site.start().await;
    take_snapshots(&site, &broker).await;
    create(&broker, "lines", "wal").await;
    create(&broker, "uploaded", "object").await;
    produce(&broker, "uploaded", "all", "first\n").await;
    produce(&broker, "lines", "all", &lines(0, 1000)).await;
    eventually("the lines' object", async || {
        siltstone_ok(&["where", "lines", "0", "999", "--http", &broker.http]).await.contains("shared/")
    })
    .await;
    site.proxy.set_outage(true);
    produce(&broker, "lines", "all", &lines(1000, 2000)).await;
    broker.kill().await;

    let broker = site.start().await;
    let health = siltstone(&["health", "--http", &broker.http]).await;
    assert_eq!(health.status.code(), Some(1));
    let said = String::from_utf8(health.stderr).unwrap();
    assert!(said.starts_with("siltstone: not ready: store: no answer since the start "), "{said}");
    assert!(siltstone(&["health", "--live", "--http", &broker.http]).await.status.success());
    produce(&broker, "lines", "1", &lines(2000, 3000)).await;
    produce(&broker, "lines", "all", &lines(3000, 4000)).await;
    let kept = siltstone_ok(&["consume", "lines", "--from", "1000", "--max-records", "3000", "--bootstrap", &broker.bootstrap]).await;
    assert!(kept == lines(1000, 4000), "what the log holds is read");
    let bootstrap = broker.bootstrap.clone();
    let waits = tokio::spawn(async move {
        siltstone_with_input(&["produce", "uploaded", "--partition", "0", "--bootstrap", &bootstrap], "second\n").await
    });
    let in_the_log = async || siltstone(&["where", "uploaded", "0", "1", "--http", &broker.http]).await.status.success();
    eventually("the record's place in the log", in_the_log).await;
    assert!(!waits.is_finished(), "an object topic waits for the bucket");
    let before = site.server.keys(BUCKET);

    // Once more: what the outage left is found by the next start, too.
    let port = broker.port();
    broker.kill().await;
    let broker = site.start_on(port).await;
    assert_eq!(site.server.keys(BUCKET), before);
    site.proxy.set_outage(false);
    let waited = waits.await.unwrap();
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    eventually("being ready", async || siltstone(&["health", "--http", &broker.http]).await.status.success()).await;
    assert!(consume(&broker, "lines").await == lines(0, 4000), "everything once, in order");
    assert_eq!(consume(&broker, "uploaded").await, "first\nsecond\n");
    assert!(broker.terminate().await.status.success());
    // From the objects alone.
    let broker = site.start().await;
    assert!(consume(&broker, "lines").await == lines(0, 4000));
    let checked = check(&broker, URL, &site.proxy.endpoint()).await;
    assert!(checked.contains(" 0 problems"), "{checked}");
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_bucket_that_turns_out_to_be_anothers_ends_the_broker_and_is_left_alone() {
    let (site, other) = (Site::new().await, tempfile::tempdir().unwrap());
    site.start().await.kill().await;
    let elsewhere = "s3://siltstone/other";
    let endpoint = site.server.endpoint();
    let settings = [("store.url", elsewhere), ("store.s3.endpoint", endpoint.as_str())];
    let theirs = Broker::try_start_in(&credentials(), Ports::default(), other.path(), &settings).await;
    theirs.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr))).kill().await;
    let before = site.server.keys(BUCKET);

    site.proxy.set_outage(true);
    let broker = site.try_start(0, elsewhere).await.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    site.proxy.set_outage(false);
    let ended = broker.ended().await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("the store belongs to cluster"), "{stderr}");
    assert_eq!(site.server.keys(BUCKET), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_needs_its_bucket_and_a_bucket_that_does_not_exist_is_an_error() {
    let site = Site::new().await;
    let refused = async |url: &str, expected: &str| {
        let Err(output) = site.try_start(0, url).await else { panic!("it started") };
        let stderr = String::from_utf8(output.stderr).unwrap();
        let line = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(line.starts_with("siltstone: store s3://") && line.contains(expected), "{stderr}");
    };
    site.proxy.set_outage(true);
    refused(URL, "is not available").await;
    site.proxy.set_outage(false);
    site.start().await.kill().await;
    refused("s3://no-such-bucket/cluster", "does not exist; create it or correct store.url").await;
}
