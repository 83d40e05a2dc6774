//! `siltstone where`: memory, write-ahead log, or object and byte range of an offset's record.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{DEFAULT_HTTP, http_get, print_json, print_line};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Topic name
    topic: String,
    /// Partition index
    partition: i32,
    /// Offset of the record
    offset: i64,
    /// The broker's http.listen
    #[arg(long, default_value = DEFAULT_HTTP)]
    http: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { topic, partition, offset, http, json } = arguments;
    // A topic's name holds nothing that a query would have to escape.
    if !topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        bail!("'{topic}' is not a topic's name");
    }
    let (status, body) = http_get(&http, &format!("/inspect/where?topic={topic}&partition={partition}&offset={offset}")).await?;
    if status != 200 {
        bail!("{}", body.trim_end());
    }
    let found: serde_json::Value = serde_json::from_str(&body).context("read the broker's answer")?;
    if json {
        print_json(&found)?;
        return Ok(());
    }
    let members = found.as_object().context("read the broker's answer")?;
    let (answer, details): (Vec<_>, Vec<_>) = members.iter().partition(|(name, _)| *name == "place");
    for (name, value) in answer.into_iter().chain(details) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        print_line(format_args!("{:<13}{value}", format!("{name}:")))?;
    }
    Ok(())
}
