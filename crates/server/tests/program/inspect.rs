//! The commands that look behind a broker: topics' configs, the log on disk, objects, and the store against metadata.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Broker, eventually, siltstone, siltstone_in, siltstone_ok, siltstone_with_input};

/// Whatever is written is uploaded soon.
const SOON: &[(&str, &str)] = &[("upload.max.age.ms", "100")];

async fn json(arguments: &[&str]) -> Value {
    let text = siltstone_ok(&[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

async fn write(broker: &Broker, topic: &str, lines: usize) {
    let input: String = (0..lines).map(|number| format!("line {number}\n")).collect();
    let output = siltstone_with_input(&["produce", topic, "--bootstrap", &broker.bootstrap], &input).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_altered_and_described() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let at = ["--bootstrap", broker.bootstrap.as_str()];
    siltstone_ok(&[&["topic", "create", "t", "--config", "retention.ms=1000", "--config", "segment.ms=5"][..], &at].concat()).await;
    let alter = ["topic", "alter", "t", "--set", "max.message.bytes=2000", "--unset", "segment.ms", "--partitions", "3"];
    siltstone_ok(&[&alter[..], &at].concat()).await;
    let described = json(&[&["topic", "describe", "t"][..], &at].concat()).await;
    assert_eq!(described["configs"], serde_json::json!({"max.message.bytes": "2000", "retention.ms": "1000"}));
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert!(siltstone_ok(&[&["topic", "describe", "t"][..], &at].concat()).await.contains("retention.ms=1000\n"));

    for (arguments, expected) in [
        (&["topic", "alter", "t", "--set", "retention.ms=soon"][..], "retention.ms"),
        (&["topic", "alter", "t", "--partitions", "2"], "growing topic t to 2 partitions"),
        (&["topic", "elect", "t", "0", "--unclean"], "t-0 has a leader; nothing is to be given up"),
    ] {
        let output = siltstone(&[arguments, &at].concat()).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(expected) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_dumped_by_partition_and_sequence_number() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let broker = Broker::start(directory.path(), &[("upload.max.age.ms", "1h")]).await;
    for topic in ["a", "b"] {
        write(&broker, topic, 3).await;
    }
    let topics = json(&["topic", "list", "--bootstrap", &broker.bootstrap]).await;
    let id = topics[1]["id"].as_str().unwrap().to_owned();
    let rows = async |arguments: &[&str]| {
        let text = siltstone_ok(&[&["wal", "dump", "--data-dir", data, "--json"], arguments].concat()).await;
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let all = rows(&[]).await;
    let of_b = rows(&["--topic", &id]).await;
    assert!(!of_b.is_empty() && of_b.len() < all.len(), "{all:?}");
    assert!(of_b.iter().all(|row| row["entry"]["topic"] == id.as_str()), "{of_b:?}");
    let second = all[1]["lsn"].as_u64().unwrap().to_string();
    assert_eq!(rows(&["--from", &second]).await, all[1..]);
    assert_eq!(rows(&["--until", &second]).await, all[..1]);
    assert!(rows(&["--partition", "7"]).await.is_empty());
    let text = siltstone_ok(&["wal", "dump", "--data-dir", data]).await;
    assert!(text.contains("offsets 0 to "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_store_checks_and_every_damage_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let broker = Broker::start(directory.path(), SOON).await;
    let metadata = broker.metadata.as_str();
    let objects = async |topic: &str| {
        let listed = json(&["segment", "list", topic, "--metadata", metadata]).await;
        listed.as_array().unwrap().iter().map(|row| row["object"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for topic in ["a", "b", "c"] {
        write(&broker, topic, 10).await;
        eventually("an upload", async || !objects(topic).await.is_empty()).await;
    }
    let key = objects("a").await.remove(0);
    let dumped = json(&["segment", "dump", &key, "--records", "--data-dir", data]).await;
    assert_eq!(dumped["key"], key.as_str());
    assert_eq!(dumped["segments"][0]["batches"][0]["content"][0]["value"], "line 0");
    let text = siltstone_ok(&["segment", "dump", &key, "--records", "--data-dir", data]).await;
    assert!(text.contains("batch 0 to ") && text.contains("line 0"), "{text}");

    let check = ["store", "check", "--metadata", metadata, "--data-dir", data];
    let sound = json(&check).await;
    assert_eq!((sound["problems"].as_array().unwrap().len(), sound["orphans"].as_array().unwrap().len()), (0, 0), "{sound}");
    assert!(3 <= sound["objects"].as_u64().unwrap());

    let file = |key: &str| -> PathBuf { directory.path().join("store").join(key) };
    let orphan = "shared/00/1-1-999999";
    std::fs::create_dir_all(file(orphan).parent().unwrap()).unwrap();
    std::fs::copy(file(&key), file(orphan)).unwrap();
    std::fs::remove_file(file(&key)).unwrap();
    damage(&file(&objects("b").await[0]));
    let output = siltstone(&[&check[..], &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = |topic: &str| {
        let problems = found["problems"].as_array().unwrap();
        problems.iter().find(|problem| problem["topic"] == topic).map(|problem| problem["problem"].as_str().unwrap().to_owned())
    };
    assert_eq!(problem("a").as_deref(), Some("the object is missing"));
    assert!(problem("b").unwrap().contains("checksum"), "{found}");
    assert_eq!(problem("c"), None, "{found}");
    assert_eq!(found["orphans"][0]["object"], orphan);

    assert_eq!((&problems_of(&found, "a"), &problems_of(&found, "b")), (&vec!["missing"], &vec!["damage"]));

    // Without reading, what is missing shows and what is damaged does not; a sample of all is all. A seed repeats its choice.
    let sampled = async |sample: &str, seed: &str| -> Value {
        let output = siltstone(&[&check[..], &["--sample", sample, "--seed", seed, "--json"]].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let listed = sampled("0", "1").await;
    assert_eq!((&problems_of(&listed, "a"), &problems_of(&listed, "b")), (&vec!["missing"], &vec![]), "{listed}");
    assert_eq!((&listed["segments"], &listed["orphans"][0]["object"]), (&found["segments"], &Value::from(orphan)));
    let all = sampled("1000", "1").await;
    assert_eq!((&all["problems"], &all["read_segments"], &all["seed"]), (&found["problems"], &found["segments"], &Value::from(1)));
    let (one, again) = (sampled("1", "7").await, sampled("1", "7").await);
    assert_eq!((&one["problems"], &one["read_bytes"]), (&again["problems"], &again["read_bytes"]));
    // One of three segments: it is found by some seeds and not by others.
    let (mut found_by, mut seed) = ([false; 2], 0);
    while found_by != [true; 2] {
        seed += 1;
        assert!(seed <= 100, "every seed chooses the same");
        let found = sampled("1", &seed.to_string()).await;
        found_by[usize::from(problems_of(&found, "b").is_empty())] = true;
    }
    let output = siltstone(&[&check[..], &["--seed", "7"]].concat()).await;
    assert_eq!(output.status.code(), Some(2), "a seed without a sample");

    let text = siltstone(&check).await;
    let (stdout, stderr) = (String::from_utf8(text.stdout).unwrap(), String::from_utf8(text.stderr).unwrap());
    assert!(stdout.contains("the object is missing") && stdout.contains(orphan), "{stdout}");
    assert!(stderr.contains("delete nothing there") && stderr.lines().count() == 1, "{stderr}");

    let damaged = file(&objects("b").await[0]);
    let output = siltstone(&["segment", "dump", damaged.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is damaged"));
}

/// Kinds of the problems of a topic.
fn problems_of<'a>(found: &'a Value, topic: &str) -> Vec<&'a str> {
    let problems = found["problems"].as_array().unwrap().iter();
    problems.filter(|problem| problem["topic"] == topic).map(|problem| problem["kind"].as_str().unwrap()).collect()
}

/// Turns a bit in the first segment's batches.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[16 + 70] ^= 1;
    // An object may be read-only.
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_configuration_says_where_its_metadata_is() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    write(&broker, "t", 1).await;
    let (url, address) = (broker.metadata.as_str(), broker.metadata.strip_prefix("http://").unwrap());
    let file = directory.path().join("siltstone.properties");
    let check = ["store", "check", "--config", file.to_str().unwrap()];
    let nowhere = "127.0.0.1:1";
    for (listen, more, arguments) in
        [(address, String::new(), &[][..]), (nowhere, format!("metadata.url={url}\n"), &[]), (nowhere, String::new(), &["--metadata", url])]
    {
        std::fs::write(&file, format!("data.dir={}\nmetadata.listen={listen}\n{more}", directory.path().display())).unwrap();
        let told = siltstone_ok(&[&check[..], arguments].concat()).await;
        assert!(told.contains("0 problems"), "{told}");
    }
    let output = siltstone(&check).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("no metadata service answers on http://127.0.0.1:1;"), "{stderr}");

    let listed = siltstone_in(&[("SILTSTONE_METADATA_LISTEN", address)], &["segment", "list", "t"]).await;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

#[tokio::test]
async fn another_clusters_store_is_not_checked() {
    let directory = tempfile::tempdir().unwrap();
    let folders = ["one", "two"].map(|name| directory.path().join(name));
    let one = Broker::start(&folders[0], &[]).await;
    let _two = Broker::start(&folders[1], &[]).await;
    let store = format!("file://{}", folders[1].join("store").display());
    let output = siltstone(&["store", "check", "--metadata", &one.metadata, "--store", &store]).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("name the right one with --store"), "{stderr}");
}
