//! Producer ids, taken from metadata in blocks so that a new producer does not cost a write there.

use std::ops::Range;

use metadata_api::{MetadataClient, MetadataError};
use types::ProducerId;

/// Ids per block. What is left of a block when the broker stops is never given out.
const BLOCK: u32 = 1000;

/// The rest of the block in use.
pub(crate) struct ProducerIds(tokio::sync::Mutex<Range<ProducerId>>);

impl ProducerIds {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::Mutex::new(0..0))
    }

    /// An id that nobody had and nobody will have. Callers that find the block empty wait for one request to metadata together.
    pub(crate) async fn next(&self, metadata: &dyn MetadataClient) -> Result<ProducerId, MetadataError> {
        let mut block = self.0.lock().await;
        if block.is_empty() {
            *block = metadata.allocate_producer_ids(BLOCK).await?;
        }
        block.next().ok_or_else(|| MetadataError::Unavailable { detail: "an empty block of producer ids was given out".to_owned() })
    }
}
