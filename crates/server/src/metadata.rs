//! The metadata service within this process: its journal in the data directory, its gRPC port for inspection commands. It decides
//! whether the store is this cluster's; everybody else gets the store from it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use metadata_api::MetadataClient;
use metadata_service::{MetadataService, Options, RocksDbJournal, StartError};
use runtime::{Clock, Random, Shutdown};
use store::{DirectoryStore, ObjectStore, OpenError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;

/// Within the journal's folder, and not beside it: an older journal that is put back brings its own copies back.
const COPIES: &str = "snapshots";

/// A metadata service that leads and answers on `metadata.listen`.
pub(crate) struct Embedded {
    service: Arc<MetadataService>,
    stopped: watch::Receiver<Option<String>>,
}

impl Embedded {
    /// Opens the journal in `directory`, or makes one there, and takes over, also while a remote store is away if the directory has
    /// what that takes.
    pub(crate) async fn start(
        config: &Config,
        port: std::net::TcpListener,
        directory: &Path,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        random: &Arc<Random>,
    ) -> Result<Self> {
        let listener = TcpListener::from_std(port).context("take over the metadata port")?;
        let address = listener.local_addr().context("ask for the metadata port")?;
        let path = directory.to_owned();
        let journal = tokio::task::spawn_blocking(move || RocksDbJournal::open(&path)).await.context("open the metadata journal")??;
        let copies: Option<Arc<dyn ObjectStore>> = if config.store.is_remote {
            Some(Arc::new(DirectoryStore::open(&directory.join(COPIES), Arc::clone(random)).await?))
        } else {
            None
        };
        let started = MetadataService::start(options(config), Arc::new(journal), store, copies, clock, random.clone()).await;
        let service = Arc::new(started.map_err(|error| match error {
            StartError::Store(error) => OpenError::of_call(&config.store.url, error).into(),
            error => anyhow::Error::new(error),
        })?);
        let stopped = service.stopped();
        let serving = Arc::clone(&service);
        runtime::spawn("metadata-grpc", async move {
            if let Err(error) = serving.serve_grpc(listener, Shutdown::new()).await {
                tracing::error!("the metadata port {address} stopped: {error}");
            }
        });
        Ok(Self { service, stopped })
    }

    /// The broker's client.
    pub(crate) fn client(&self) -> Arc<dyn MetadataClient> {
        self.service.client()
    }

    /// The service's own figures.
    pub(crate) fn service(&self) -> Arc<MetadataService> {
        Arc::clone(&self.service)
    }

    /// The store; whatever belongs to the cluster is read and written through it.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.service.store()
    }

    /// Why the store has not answered since the start, as long as it has not.
    pub(crate) fn store_away(&self) -> Option<String> {
        self.service.store_away()
    }

    /// Resolves when the service ended by itself: it cannot write its journal, or the store turned out not to be its own. Nothing can
    /// be published any more.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.stopped.wait_for(Option::is_some).await {
            Ok(reason) => anyhow!("the metadata service stopped: {}", reason.as_deref().unwrap_or_default()),
            Err(_) => anyhow!("the metadata service ended"),
        }
    }

    /// Stops it; what is being written is finished first.
    pub(crate) async fn stop(&self) {
        self.service.stop().await;
    }
}

fn options(config: &Config) -> Options {
    let topics = &config.topics;
    let kept = |number: i64| u64::try_from(number).ok();
    Options {
        deletion_grace: topics.delete_delay,
        retention: kept(topics.retention_ms).map(Duration::from_millis),
        retention_bytes: kept(topics.retention_bytes),
        retention_interval: topics.retention_check,
        producer_expiration: topics.producer_id_expiration,
        max_segments: config.metadata_max_segments,
        snapshot_interval: config.metadata_snapshot_max_interval,
        garbage_snapshot_interval: config.metadata_snapshot_min_interval,
        remote_store: config.store.is_remote,
        ..Options::default()
    }
}
