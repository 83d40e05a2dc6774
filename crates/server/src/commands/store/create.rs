//! `siltstone store create`: the bucket or directory, where there is none yet.

use std::sync::Arc;

use anyhow::Result;
use runtime::SystemClock;
use store::Created;

use crate::commands::print_line;
use crate::config::StoreConfig;

pub(super) async fn run(store: StoreConfig) -> Result<()> {
    let told = match store::create(&store.url, &store.s3_options(), Arc::new(SystemClock)).await? {
        Created::Made => "created",
        Created::WasThere => "is there already",
    };
    Ok(print_line(format_args!("{} {told}", store.url))?)
}
