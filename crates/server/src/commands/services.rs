//! What commands that look behind a broker ask: its metadata service, and its store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use metadata_api::{GrpcClient, MetadataClient, SegmentPage};
use runtime::{Random, SystemClock};
use store::ObjectStore;
use types::{Offset, SegmentRef, TopicPartition};

use super::WrongUse;
use crate::config::{Config, StoreConfig, metadata_url};
use crate::{Place, Settings};

/// Segments asked for at once.
const PAGE: u32 = 1000;
/// How long the metadata service may take for one answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Which metadata service.
#[derive(Args)]
pub(crate) struct Metadata {
    /// The metadata service's URL; if not given, metadata.url of the configuration, or else where metadata.listen is
    #[arg(long, value_name = "URL")]
    metadata: Option<String>,
}

impl Metadata {
    /// A client that has the cluster's image. The service is that of a broker at `place` if no other is named.
    pub(crate) async fn connect(&self, place: &Place) -> Result<Box<dyn MetadataClient>> {
        let url = match &self.metadata {
            Some(url) => url.clone(),
            None => metadata_url(&Settings::from(place.clone()).raw()?)?,
        };
        let client = GrpcClient::connect(url.clone(), DEADLINE)?;
        client.ready().await.with_context(|| {
            format!("no metadata service answers on {url}; start a broker with `siltstone serve`, or name it with --metadata")
        })?;
        Ok(Box::new(client))
    }
}

/// Which store: that of a broker with this configuration.
#[derive(Args)]
pub(crate) struct Store {
    #[command(flatten)]
    place: Place,
}

impl Store {
    /// Where that broker is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// How to reach it, at `url` if one is given beside the configuration.
    pub(crate) fn named(mut self, url: Option<String>) -> Result<StoreConfig> {
        if url.is_some() && self.place.store.is_some() {
            return Err(WrongUse("the store is named twice; leave --store out".to_owned()).into());
        }
        self.place.store = url.or(self.place.store);
        Ok(Config::resolve(&Settings::from(self.place).raw()?)?.store)
    }

    /// Opens it, and its URL. One that is not there is not made.
    pub(crate) async fn open(self) -> Result<(Arc<dyn ObjectStore>, String)> {
        let config = self.named(None)?;
        must_be_there(&config)?;
        let opened = store::open(&config.url, &config.s3_options(), Arc::new(SystemClock), Arc::new(Random::from_os())).await?;
        Ok((opened, config.url))
    }
}

/// Refuses a directory that opening would make.
pub(crate) fn must_be_there(store: &StoreConfig) -> Result<()> {
    match store.url.strip_prefix("file://") {
        Some(directory) if !Path::new(directory).is_dir() => {
            bail!("there is no store in {directory}; name it with --store, or give the broker's --data-dir or --config")
        }
        _ => Ok(()),
    }
}

/// A partition's segments, and what it says of its ends.
pub(crate) struct Listed {
    /// As of the first page, whose segments begin there.
    pub(crate) log_start: Offset,
    /// As of the last page, whose segments end there.
    pub(crate) published_end: Offset,
    pub(crate) segments: Vec<SegmentRef>,
}

/// Asks for all of a partition's segments, page by page.
pub(crate) async fn list_segments(client: &dyn MetadataClient, partition: TopicPartition) -> Result<Listed> {
    let ask = async |from| {
        let page = client.segments(partition, from, PAGE).await;
        page.with_context(|| format!("list segments of {partition}"))
    };
    let SegmentPage { log_start, mut next_offset, mut segments, mut more, .. } = ask(Offset::ZERO).await?;
    while more && let Some(last) = segments.last() {
        let page = ask(last.end).await?;
        next_offset = page.next_offset;
        more = page.more;
        segments.extend(page.segments);
    }
    Ok(Listed { log_start, published_end: next_offset, segments })
}
