//! The stream of image deltas to everybody who watches.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use metadata_api::wire::{apply_delta, whole_image};
use metadata_api::{ClusterImage, proto};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

/// Deltas that a slow watcher may be behind before it has to begin again.
const DELTAS: usize = 1024;

/// Holds the image after the last committed step, and tells every change of it.
pub(crate) struct ImageFeed {
    current: Mutex<ClusterImage>,
    deltas: broadcast::Sender<Arc<proto::ImageDelta>>,
}

impl ImageFeed {
    pub(crate) fn new(image: ClusterImage) -> Self {
        Self { current: Mutex::new(image), deltas: broadcast::channel(DELTAS).0 }
    }

    /// A step changed the image.
    pub(crate) fn send(&self, delta: proto::ImageDelta) {
        let mut current = self.current.lock();
        apply_delta(&mut current, delta.clone()).expect("a delta made here is well formed");
        // Nobody may be watching.
        let _ = self.deltas.send(Arc::new(delta));
    }

    /// The whole image, then every change. Fails when the watcher is too slow.
    pub(crate) fn watch(&self) -> BoxStream<'static, Result<proto::ImageDelta, Status>> {
        let current = self.current.lock();
        let first = whole_image(&current);
        let deltas = BroadcastStream::new(self.deltas.subscribe());
        drop(current);
        let deltas = deltas.map(|delta| match delta {
            Ok(delta) => Ok(proto::ImageDelta::clone(&delta)),
            Err(lagged) => Err(Status::resource_exhausted(format!("too slow: {lagged}"))),
        });
        stream::once(async { Ok(first) }).chain(deltas).boxed()
    }
}
