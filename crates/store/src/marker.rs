//! The mark that ties a prefix to one cluster (rule R7).
//!
//! Two clusters on one prefix, or a new cluster on an old one's, would each take the other's objects for garbage. So the first thing a
//! cluster writes is the object `meta/cluster`, created only if it is absent, and nothing is done in a prefix that carries another's:
//!
//! ```text
//! siltstone
//! format=1
//! cluster.id=5b6c…
//! ```

use bytes::Bytes;
use runtime::Random;
use types::ClusterId;

use crate::{Body, ObjectStore, StoreError, UPLOAD_BACKOFF, put_verified};

/// Where the marker lies.
pub const MARKER_KEY: &str = "meta/cluster";

/// The version of what lies below the prefix, as this program writes it.
pub const FORMAT_VERSION: u32 = 1;

/// A marker is far shorter; anything longer is not one.
const MARKER_LIMIT: u64 = 1024;

const TITLE: &str = "siltstone";

/// What the marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// Version of the formats below the prefix.
    pub format: u32,
    /// Whose prefix it is.
    pub cluster: ClusterId,
}

/// The prefix cannot be used by this cluster; nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is another cluster's.
    #[error(
        "the store belongs to cluster {found}, the data directory to cluster {ours}; correct store.url or data.dir, \
         or run siltstone store rebuild to make metadata of what the store holds"
    )]
    OtherCluster {
        /// This cluster.
        ours: ClusterId,
        /// The one on the marker.
        found: ClusterId,
    },
    /// Written by a newer program.
    #[error("the store has format {found}, this program knows up to {FORMAT_VERSION}; use a newer one")]
    NewerFormat {
        /// The version on the marker.
        found: u32,
    },
    /// Something is there, and no marker says whose.
    #[error(
        "the store holds objects ({example}) but no marker {MARKER_KEY}; use an empty directory or prefix, or run siltstone store rebuild"
    )]
    NotEmpty {
        /// One of them.
        example: String,
    },
    /// The marker cannot be read as one.
    #[error("the store's marker {MARKER_KEY} is damaged: {detail}")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the prefix this cluster's, if it is empty or has been claimed by the same cluster before.
pub async fn claim(store: &dyn ObjectStore, ours: ClusterId, random: &Random) -> Result<(), ClaimError> {
    if let Some(marker) = read_marker(store).await? {
        return check(marker, ours);
    }
    if let Some(object) = store.list("", None, 1).await?.first() {
        // Another broker of this cluster may have claimed it in between.
        return match read_marker(store).await? {
            Some(marker) => check(marker, ours),
            None => Err(ClaimError::NotEmpty { example: object.key.clone() }),
        };
    }
    let body = Body::new(vec![Marker { format: FORMAT_VERSION, cluster: ours }.encode()]);
    match put_verified(store, MARKER_KEY, &body, UPLOAD_BACKOFF, random).await {
        Err(StoreError::AlreadyExists { .. }) => match read_marker(store).await? {
            Some(marker) => check(marker, ours),
            None => Err(StoreError::NotFound { key: MARKER_KEY.to_owned() }.into()),
        },
        put => Ok(put?),
    }
}

/// What the marker says; `None` where there is none.
pub async fn read_marker(store: &dyn ObjectStore) -> Result<Option<Marker>, ClaimError> {
    match store.get(MARKER_KEY, MARKER_LIMIT).await {
        Ok(body) => Marker::decode(&body).map(Some).map_err(|detail| ClaimError::Damaged { detail }),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(StoreError::Corrupt { detail, .. }) => Err(ClaimError::Damaged { detail }),
        Err(error) => Err(error.into()),
    }
}

/// Whether no object has a key that begins with `prefix`. The marker counts as one.
pub async fn is_empty(store: &dyn ObjectStore, prefix: &str) -> Result<bool, StoreError> {
    Ok(store.list(prefix, None, 1).await?.is_empty())
}

fn check(marker: Marker, ours: ClusterId) -> Result<(), ClaimError> {
    if FORMAT_VERSION < marker.format {
        return Err(ClaimError::NewerFormat { found: marker.format });
    }
    if marker.cluster != ours {
        return Err(ClaimError::OtherCluster { ours, found: marker.cluster });
    }
    Ok(())
}

impl Marker {
    fn encode(self) -> Bytes {
        format!("{TITLE}\nformat={}\ncluster.id={}\n", self.format, self.cluster).into()
    }

    /// Lines that a newer format adds are not looked at, so that its number can be told.
    fn decode(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "not text".to_owned())?;
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(format!("its first line is not {TITLE:?}"));
        }
        let values: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
        let value = |key: &str| {
            values.iter().find(|(name, _)| *name == key).map(|(_, value)| *value).ok_or_else(|| format!("a line {key}=… is missing"))
        };
        let format = value("format")?.parse().map_err(|_| "its format is not a number".to_owned())?;
        let cluster = value("cluster.id")?.parse().map_err(|_| "its cluster.id is not an id".to_owned())?;
        Ok(Self { format, cluster: ClusterId(cluster) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runtime::ManualClock;

    use super::*;
    use crate::faults::{Fault, FaultyStore};
    use crate::{MemoryStore, Operation};

    const OURS: [u8; 16] = [1; 16];
    const THEIRS: [u8; 16] = [2; 16];

    fn store() -> FaultyStore {
        FaultyStore::new(Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0)))))
    }

    async fn claim_as(store: &dyn ObjectStore, id: [u8; 16]) -> Result<(), ClaimError> {
        claim(store, ClusterId::from_bytes(id), &Random::seeded(1)).await
    }

    async fn put(store: &dyn ObjectStore, key: &str, text: &str) {
        store.put(key, vec![Bytes::copy_from_slice(text.as_bytes())]).await.unwrap();
    }

    #[test]
    fn the_marker_is_written_as_documented() {
        let marker = Marker { format: 1, cluster: ClusterId::from_bytes(OURS) };
        let expected = "siltstone\nformat=1\ncluster.id=01010101-0101-0101-0101-010101010101\n";
        assert_eq!(marker.encode(), expected);
        assert_eq!(Marker::decode(expected.as_bytes()), Ok(marker));
    }

    #[tokio::test]
    async fn r7_an_empty_prefix_is_claimed_once_and_by_the_same_cluster_again() {
        let store = store();
        assert!(is_empty(&store, "").await.unwrap());
        claim_as(&store, OURS).await.unwrap();
        claim_as(&store, OURS).await.unwrap();
        assert_eq!(read_marker(&store).await.unwrap(), Some(Marker { format: 1, cluster: ClusterId::from_bytes(OURS) }));
    }

    #[tokio::test]
    async fn r7_another_clusters_prefix_is_refused_and_left_alone() {
        let store = store();
        claim_as(&store, THEIRS).await.unwrap();
        let before = store.get(MARKER_KEY, 1000).await.unwrap();
        let error = claim_as(&store, OURS).await.unwrap_err();
        assert!(matches!(error, ClaimError::OtherCluster { .. }), "{error}");
        assert!(error.to_string().contains("siltstone store rebuild"), "{error}");
        assert_eq!(store.get(MARKER_KEY, 1000).await.unwrap(), before);
        assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn r7_a_prefix_that_holds_something_without_a_marker_is_refused() {
        let store = store();
        put(&store, "shared/80/1-7-42", "x").await;
        let error = claim_as(&store, OURS).await.unwrap_err();
        assert!(matches!(&error, ClaimError::NotEmpty { example } if example == "shared/80/1-7-42"), "{error}");
        assert_eq!(read_marker(&store).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn r7_of_two_clusters_that_claim_at_once_one_gets_it() {
        let store = store();
        // The slower one looks, finds nothing, and puts after the other.
        store.script(Operation::Put, [Fault::Delay(std::time::Duration::from_secs(1))]);
        let (slow, fast) = tokio::join!(claim_as(&store, OURS), claim_as(&store, THEIRS));
        fast.unwrap();
        assert!(matches!(slow.unwrap_err(), ClaimError::OtherCluster { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_whose_answer_was_lost_is_recognised() {
        let store = store();
        store.script(Operation::Put, [Fault::LoseAnswer]);
        claim_as(&store, OURS).await.unwrap();
    }

    #[tokio::test]
    async fn a_newer_format_is_told_by_its_number_and_damage_by_what_is_wrong() {
        let newer = store();
        put(&newer, MARKER_KEY, "siltstone\nformat=2\ncluster.id=01010101-0101-0101-0101-010101010101\nmore=1\n").await;
        assert!(matches!(claim_as(&newer, OURS).await, Err(ClaimError::NewerFormat { found: 2 })));
        for text in ["", "silt", "siltstone\nformat=1\n", "siltstone\nformat=x\ncluster.id=1", &"x".repeat(2000)] {
            let damaged = store();
            put(&damaged, MARKER_KEY, text).await;
            assert!(matches!(claim_as(&damaged, OURS).await, Err(ClaimError::Damaged { .. })), "{text}");
        }
    }
}
