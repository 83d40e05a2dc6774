//! The pages of the documentation that the program itself prints.

use crate::harness::siltstone_ok;

#[tokio::test]
async fn the_configuration_page_is_what_the_program_prints() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let printed = siltstone_ok(&["config", "list", "--markdown"]).await;
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(written == printed, "docs/configuration.md is out of date: siltstone config list --markdown > docs/configuration.md");
}

#[tokio::test]
async fn keys_of_brokers_and_of_topics_are_listed() {
    let listed: serde_json::Value = serde_json::from_str(&siltstone_ok(&["config", "list", "--topics", "--json"]).await).unwrap();
    let retention = listed.as_array().unwrap().iter().find(|key| key["key"] == "retention.ms").unwrap();
    assert_eq!((retention["default"].as_str(), retention["unit"].as_str()), (Some("604800000"), Some("ms")));
}

#[tokio::test]
async fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(siltstone_ok(&["completions", shell]).await.contains("consume"), "{shell}");
    }
}
