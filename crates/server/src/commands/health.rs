//! `siltstone health`: for images without a shell.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{DEFAULT_HTTP, http_get, print_json, print_line};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The broker's http.listen
    #[arg(long, default_value = DEFAULT_HTTP)]
    http: String,
    /// Ask whether the process lives instead of whether it is ready
    #[arg(long)]
    live: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let path = if arguments.live { "/health/live" } else { "/health/ready" };
    let (status, body) = http_get(&arguments.http, path).await?;
    let body = body.trim_end();
    if arguments.json {
        print_json(&json!({"healthy": status == 200, "details": body.lines().collect::<Vec<_>>()}))?;
    }
    if status != 200 {
        bail!("not ready: {}", body.replace('\n', "; "));
    }
    if !arguments.json {
        print_line(body)?;
    }
    Ok(())
}
