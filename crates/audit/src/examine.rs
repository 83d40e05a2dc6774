//! From what was read to what is so.

use metadata_api::{MetadataClient, MetadataError};
use store::StoreError;
use types::ObjectKey;

use crate::object::ObjectReader;
use crate::problem::{Problem, Reference};

/// Nothing was found out about an object.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The store did not answer, or refused to.
    #[error("read the store: {0}")]
    Store(#[from] StoreError),
    /// The metadata service did not say whether a segment is still referenced.
    #[error("ask the metadata service: {0}")]
    Metadata(#[from] MetadataError),
}

/// What is surely wrong with `references`, which metadata had in the object `key` when it was asked. `length` is the object's if a
/// listing has told it.
///
/// What looks wrong is read a second time: it may have been the way from the store, or a listing that lags. After that metadata is
/// asked whether it still has the segment there, because retention, rewriting and the deletion of a topic take objects away, and
/// let go of them before they do.
///
/// # Errors
/// If the store or the metadata service does not answer.
pub async fn examine(
    reader: &ObjectReader<'_>,
    metadata: &dyn MetadataClient,
    key: ObjectKey,
    length: Option<u64>,
    references: &[Reference],
) -> Result<Vec<Problem>, ExamineError> {
    let suspected = reader.verify(key, length, references).await?;
    if suspected.is_empty() {
        return Ok(suspected);
    }
    let suspects: Vec<_> = suspected.into_iter().map(|problem| problem.reference).collect();
    let mut problems = Vec::new();
    for problem in reader.verify(key, None, &suspects).await? {
        if is_referenced(metadata, &problem.reference).await? {
            problems.push(problem);
        }
    }
    Ok(problems)
}

/// Whether metadata has the segment, in that object.
///
/// # Errors
/// If the service does not answer.
pub async fn is_referenced(metadata: &dyn MetadataClient, reference: &Reference) -> Result<bool, MetadataError> {
    let Reference { partition, segment } = reference;
    match metadata.segments(*partition, segment.base, 1).await {
        Ok(page) => Ok(page.segments.iter().any(|now| now.object == segment.object && now.base == segment.base)),
        Err(MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
