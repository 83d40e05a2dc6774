//! The program's own log: lines on stderr, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// What says in many lines what our own errors say in one; `log.level` may ask for it again.
const QUIET: &str = "aws_config=error,rustls=warn";

/// Sets the log up for the rest of the process. Fails if `level` is not a filter.
pub(crate) fn init(format: &str, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|_| "must be error, warn, info, debug, trace, or filters such as info,offload=debug")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        "json" => builder.json().flatten_event(true).init(),
        _ => builder.with_ansi(stderr().is_terminal()).with_target(false).init(),
    }
    Ok(())
}
