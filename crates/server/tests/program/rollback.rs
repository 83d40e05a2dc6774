//! One half of a broker put back, copied or lost while the other half went on: the program refuses in one line that says what to do,
//! and deletes nothing (rules R7, R8 and R11).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Broker, Ports, eventually, siltstone_ok, siltstone_with_input};

/// A broker's directory, with what two lives of it wrote. Every object stays: nothing is retained away, no garbage is due.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn aside(&self) -> PathBuf {
        self.directory.path().join("aside")
    }

    /// One life: writes lines to `topic` and stops in order, so that everything is published.
    async fn live(&self, topic: &str, lines: &str) {
        let broker = Broker::start(&self.data(), &[]).await;
        write(&broker, topic, lines).await;
        let stopped = broker.terminate().await;
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    }

    /// Copies a folder of the data directory aside.
    fn keep(&self, folder: &str) {
        copy(&self.data().join(folder), &self.aside().join(folder));
    }

    /// Swaps it with the one that was kept.
    fn swap(&self, folder: &str) {
        let (used, kept, between) = (self.data().join(folder), self.aside().join(folder), self.directory.path().join("between"));
        fs::rename(&used, &between).unwrap();
        fs::rename(&kept, &used).unwrap();
        fs::rename(&between, &kept).unwrap();
    }

    /// Starting must fail with `status` and one line that holds `expected`, and must leave every object alone.
    async fn refused(&self, status: i32, expected: &str) {
        let objects = files(&self.data().join("store"));
        assert!(!objects.is_empty());
        let Err(output) = Broker::try_start(Ports::default(), &self.data(), &[]).await else { panic!("it started") };
        let stderr = String::from_utf8(output.stderr).unwrap();
        let line = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(line.starts_with("siltstone: ") && line.contains(expected), "{stderr}");
        let mut left = files(&self.data().join("store"));
        // A broker that is refused because of its log has registered by then, which is written down beside the metadata's snapshots.
        left.retain(|path, _| objects.contains_key(path) || !path.to_string_lossy().contains("/meta/topics/"));
        assert_eq!(left, objects, "nothing in the store is touched");
    }
}

async fn write(broker: &Broker, topic: &str, lines: &str) {
    let output = siltstone_with_input(&["produce", topic, "--partition", "0", "--bootstrap", &broker.bootstrap], lines).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn read(broker: &Broker, topic: &str) -> String {
    siltstone_ok(&["consume", topic, "--bootstrap", &broker.bootstrap]).await
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Names and lengths of all files below.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let length = path.metadata().unwrap().len();
            found.insert(path, length);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_an_older_metadata_directory_is_refused_and_the_newer_one_serves_again() {
    let site = Site::new();
    site.live("first", "a\n").await;
    site.keep("metadata");
    site.live("second", "b\n").await;
    site.swap("metadata");
    site.refused(1, "metadata was rolled back").await;
    site.swap("metadata");
    let broker = Broker::start(&site.data(), &[]).await;
    assert_eq!((read(&broker, "first").await.as_str(), read(&broker, "second").await.as_str()), ("a\n", "b\n"));
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_empty_metadata_on_a_store_in_use_is_refused() {
    let site = Site::new();
    site.live("first", "a\n").await;
    fs::rename(site.data().join("metadata"), site.directory.path().join("metadata")).unwrap();
    site.refused(1, "siltstone store rebuild").await;
    // Nor with nothing left but the store.
    fs::rename(site.data().join("wal"), site.directory.path().join("wal")).unwrap();
    fs::remove_file(site.data().join("identity")).unwrap();
    fs::remove_dir_all(site.data().join("metadata")).unwrap();
    site.refused(1, "siltstone store rebuild").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_an_older_log_is_refused_until_the_loss_is_accepted() {
    let site = Site::new();
    site.live("first", "a\n").await;
    site.keep("wal");
    let broker = Broker::start(&site.data(), &[]).await;
    write(&broker, "first", "b\nc\n").await;
    broker.terminate().await;
    site.swap("wal");
    site.refused(4, "siltstone wal accept-loss").await;
    let accepted = siltstone_ok(&["wal", "accept-loss", "--data-dir", site.data().to_str().unwrap()]).await;
    assert!(accepted.contains("the log goes on at"), "{accepted}");
    let broker = Broker::start(&site.data(), &[]).await;
    write(&broker, "first", "d\n").await;
    assert_eq!(read(&broker, "first").await, "a\nb\nc\nd\n", "what was published is not lost with the log");
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_closes_the_wal_partitions_that_it_may_have_held_and_no_others() {
    let site = Site::new();
    site.live("first", "a\n").await;
    // After an orderly stop the log held nothing that only it had.
    fs::remove_dir_all(site.data().join("wal")).unwrap();
    let broker = Broker::start(&site.data(), &[]).await;
    write(&broker, "first", "b\n").await;
    assert_eq!(read(&broker, "first").await, "a\nb\n");
    broker.kill().await;

    fs::remove_dir_all(site.data().join("wal")).unwrap();
    let broker = Broker::start(&site.data(), &[]).await;
    let described = siltstone_ok(&["topic", "describe", "first", "--json", "--bootstrap", &broker.bootstrap]).await;
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert!(described["partitions"][0]["leader"].is_null(), "nobody leads what only the lost log may hold: {described}");
    write(&broker, "second", "c\n").await;
    assert_eq!(read(&broker, "second").await, "c\n", "a new topic works");

    // What only the lost log held is given up, and nothing else; the partition is served without another start, and after one.
    let elected = siltstone_ok(&["topic", "elect", "first", "0", "--unclean", "--bootstrap", &broker.bootstrap]).await;
    assert_eq!(elected, "elected a leader of first-0\n");
    // The log ends 2^32 offsets above its last record: whoever reads up to its end gets there all the same.
    assert_eq!(read(&broker, "first").await, "a\n");
    write(&broker, "first", "d\n").await;
    assert_eq!(read(&broker, "first").await, "a\nd\n");
    broker.kill().await;
    let broker = Broker::start(&site.data(), &[]).await;
    assert_eq!(read(&broker, "first").await, "a\nd\n");
    broker.kill().await;
}

#[tokio::test]
async fn a_broker_that_cannot_note_a_revision_says_so_and_goes_on() {
    let site = Site::new();
    let broker = Broker::start(&site.data(), &[]).await;
    let said = async || siltstone_ok(&["health", "--http", &broker.http]).await;
    // Not even root writes a file where a directory is.
    let staged = site.data().join("revision.staged");
    fs::create_dir(&staged).unwrap();
    write(&broker, "first", "1\n").await;
    eventually("a note", async || said().await.contains("data directory: write ")).await;
    fs::remove_dir(&staged).unwrap();
    write(&broker, "second", "2\n").await;
    eventually("no note", async || !said().await.contains("data directory")).await;
}
