//! What `deploy/` says of the program, held against the program: the dashboard's metrics and the configuration's keys. The images
//! themselves need a container engine.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::{Broker, eventually, siltstone, siltstone_ok, siltstone_with_input};

fn deploy(file: &str) -> String {
    let path = format!("{}/../../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words of `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').filter(move |word| word.starts_with(prefix))
}

/// Expressions of a dashboard's panels.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(|expression| expression.as_str()).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_metric_of_the_dashboard_is_one_that_the_broker_shows() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let bootstrap = broker.bootstrap.clone();
    // What is counted by topic, group or error shows once there is one.
    siltstone_with_input(&["produce", "watched", "--bootstrap", &bootstrap], "one\n").await;
    siltstone_ok(&["consume", "watched", "--group", "watchers", "--bootstrap", &bootstrap]).await;
    assert!(!siltstone(&["topic", "delete", "absent", "--bootstrap", &bootstrap]).await.status.success());
    let metrics = async || reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
    let mut dashboard = Vec::new();
    expressions(&serde_json::from_str(&deploy("grafana/dashboards/siltstone.json")).unwrap(), &mut dashboard);
    let named: BTreeSet<&str> =
        dashboard.iter().flat_map(|expression| words(expression, "siltstone_").chain(words(expression, "process_"))).collect();
    assert!(30 < named.len(), "{named:?}");
    let mut missing = named.clone();
    eventually("every metric of the dashboard", async || {
        let shown = metrics().await;
        let there: BTreeSet<&str> = shown.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
        missing.retain(|name| !there.contains(name));
        missing.is_empty()
    })
    .await;
    broker.kill().await;
}

#[tokio::test]
async fn every_setting_of_the_images_is_a_key_of_the_configuration() {
    let listed: serde_json::Value = serde_json::from_str(&siltstone_ok(&["config", "list", "--json"]).await).unwrap();
    let variable = |key: &str| format!("SILTSTONE_{}", key.to_uppercase().replace('.', "_"));
    let known: BTreeSet<String> = listed.as_array().unwrap().iter().map(|key| variable(key["key"].as_str().unwrap())).collect();
    for file in ["compose.yaml", "Dockerfile"] {
        let text = deploy(file);
        let set: BTreeSet<&str> = words(&text, "SILTSTONE_").collect();
        assert!(3 <= set.len(), "{file}: {set:?}");
        for name in set {
            assert!(known.contains(name), "{file} sets {name}, and there is no such key");
        }
    }
}
