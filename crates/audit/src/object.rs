//! One object against the segments that metadata has in it: head, trailer and footer, that the footer has each segment as metadata has
//! it, and every byte of each segment, its batches and its index. Bytes that belong to no such segment are not looked at.

use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use segment::{
    HEAD_BYTES, ObjectContents, ObjectError, SegmentEntry, SegmentVerifier, TRAILER_BYTES, Trailer, check_head, data_range, index_range,
};
use store::{ObjectStore, StoreError};
use types::{ClusterId, ObjectKey, Revision, SegmentRef};

use crate::problem::{Problem, ProblemKind, Reference};

/// Most bytes of one request. A smaller object is read whole.
const BLOCK_BYTES: u64 = 4 << 20;
/// Read of a larger object's end in the hope that its footer is in it.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes between two wanted pieces that are read along rather than asked for around.
const GAP_BYTES: u64 = 64 << 10;

/// Told of every request before it is sent, so that it can wait, and of what came, so that it can count.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Returns when a request for `bytes` may be sent; 0 for one that only asks for an object's length.
    async fn request(&self, bytes: u64);

    /// So many bytes came.
    fn received(&self, bytes: u64);
}

/// Reads objects and verifies them. Bytes come from the store itself and from no cache; one request at a time, so that the memory needed is
/// a block, the largest batch, the footer and the largest index.
pub struct ObjectReader<'a> {
    /// Where the objects are.
    pub store: &'a dyn ObjectStore,
    /// Whose they must be.
    pub cluster: ClusterId,
    /// Asked before each request.
    pub pace: &'a dyn Pace,
}

/// Why an object's verification ends before its end.
enum Stop {
    /// All of its segments have this problem.
    Problem(ProblemKind, String),
    /// Nothing is known: the store did not answer.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Self::Problem(ProblemKind::Missing, "the object is missing".to_owned()),
            StoreError::Corrupt { detail, .. } => Self::Problem(ProblemKind::Damage, detail),
            error @ (StoreError::AlreadyExists { .. }
            | StoreError::Unknown { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Refused { .. }) => Self::Store(error),
        }
    }
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        Self::Problem(ProblemKind::of(&error), error.to_string())
    }
}

impl ObjectReader<'_> {
    /// What is wrong with `references`, all of which metadata has in the object `key`; at most one problem each. `length` is the
    /// object's if a listing has told it.
    ///
    /// # Errors
    /// If the store does not answer, or refuses to. An object that is missing or damaged is no error but the answer.
    pub async fn verify(&self, key: ObjectKey, length: Option<u64>, references: &[Reference]) -> Result<Vec<Problem>, StoreError> {
        match self.try_verify(key, length, references).await {
            Ok(problems) => Ok(problems),
            Err(Stop::Problem(kind, detail)) => {
                Ok(references.iter().map(|reference| Problem { reference: reference.clone(), kind, detail: detail.clone() }).collect())
            }
            Err(Stop::Store(error)) => Err(error),
        }
    }

    async fn try_verify(&self, key: ObjectKey, length: Option<u64>, references: &[Reference]) -> Result<Vec<Problem>, Stop> {
        let name = key.to_string();
        let length = match length {
            Some(length) => length,
            None => {
                self.pace.request(0).await;
                self.store.head(&name).await?.length
            }
        };
        let needed = shortest_object(references);
        if length < needed {
            return Err(Stop::Problem(ProblemKind::Length, format!("the object has {length} bytes, its segments need {needed} at least")));
        }
        let end_range = if length <= BLOCK_BYTES { 0..length } else { length - TAIL_BYTES..length };
        let end = ObjectEnd { bytes: self.get(&name, end_range.clone()).await?, range: end_range };
        let contents = self.contents(&name, length, &end).await?;
        if contents.key != key {
            return Err(Stop::Problem(ProblemKind::Mismatch, format!("the object is a copy of {}", contents.key)));
        }
        if contents.header.cluster != self.cluster {
            return Err(Stop::Problem(ProblemKind::Mismatch, format!("the object is of cluster {}", contents.header.cluster)));
        }
        let mut problems = Vec::new();
        let mut held = Vec::new();
        for reference in references {
            match entry_of(&contents, reference) {
                Ok(entry) => held.push((reference, entry)),
                Err(detail) => problems.push(Problem { reference: reference.clone(), kind: ProblemKind::Mismatch, detail }),
            }
        }
        held.sort_by_key(|(_, entry)| entry.segment.position);
        self.verify_segments(&name, &end, &held, &mut problems).await?;
        Ok(problems)
    }

    /// What the footer says; it is in the object's end, or begins before it.
    async fn contents(&self, name: &str, length: u64, end: &ObjectEnd) -> Result<ObjectContents, Stop> {
        let trailer = Trailer::parse(&end.bytes)?;
        if trailer.object_bytes != length {
            let detail = format!("the object has {length} bytes, {} by its trailer", trailer.object_bytes);
            return Err(Stop::Problem(ProblemKind::Length, detail));
        }
        let footer = self.piece(name, end, trailer.footer_range()).await?;
        Ok(ObjectContents::parse(&footer, &trailer)?)
    }

    /// Reads the head and the segments in the order in which they lie, and checks them as they come.
    async fn verify_segments(
        &self,
        name: &str,
        end: &ObjectEnd,
        held: &[(&Reference, &SegmentEntry)],
        problems: &mut Vec<Problem>,
    ) -> Result<(), Stop> {
        let segments = held.iter().map(|(_, entry)| data_range(&entry.segment).start..index_range(&entry.segment).end);
        let pieces: Vec<_> = std::iter::once(0..HEAD_BYTES as u64).chain(segments).collect();
        let (mut at, mut head, mut verifier) = (0, BytesMut::new(), None);
        for block in blocks(&pieces) {
            let bytes = self.piece(name, end, block.clone()).await?;
            while let Some(piece) = pieces.get(at).filter(|piece| piece.start < block.end) {
                let part = piece.start.max(block.start)..piece.end.min(block.end);
                let part = bytes.slice((part.start - block.start) as usize..(part.end - block.start) as usize);
                let is_whole = piece.end <= block.end;
                if at == 0 {
                    head.extend_from_slice(&part);
                    if is_whole {
                        check_head(&head)?;
                    }
                } else {
                    let (reference, entry) = held[at - 1];
                    let begun: Result<_, ObjectError> = verifier.take().unwrap_or_else(|| SegmentVerifier::new(entry));
                    let pushed = begun.and_then(|mut verifier| verifier.push(part).map(|()| verifier));
                    if !is_whole {
                        verifier = Some(pushed);
                    } else if let Err(error) = pushed.and_then(SegmentVerifier::finish) {
                        let (kind, detail) = (ProblemKind::of(&error), error.to_string());
                        problems.push(Problem { reference: reference.clone(), kind, detail });
                    }
                }
                if !is_whole {
                    break;
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Bytes of the object, from its end if they are there.
    async fn piece(&self, name: &str, end: &ObjectEnd, range: Range<u64>) -> Result<Bytes, StoreError> {
        match range.start.checked_sub(end.range.start) {
            Some(start) => Ok(end.bytes.slice(start as usize..(range.end - end.range.start) as usize)),
            None => self.get(name, range).await,
        }
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.pace.request(range.end - range.start).await;
        let bytes = self.store.get_range(name, range).await?;
        self.pace.received(bytes.len() as u64);
        Ok(bytes)
    }
}

/// The last bytes of an object, all of them if it is small.
struct ObjectEnd {
    bytes: Bytes,
    range: Range<u64>,
}

/// No object that holds `references` is shorter.
pub fn shortest_object(references: &[Reference]) -> u64 {
    let ends = references.iter().map(|reference| index_range(&reference.segment).end);
    ends.max().unwrap_or(HEAD_BYTES as u64).saturating_add(TRAILER_BYTES as u64)
}

/// The footer's entry of a segment, which must say of it what metadata says.
fn entry_of<'a>(contents: &'a ObjectContents, reference: &Reference) -> Result<&'a SegmentEntry, String> {
    let Reference { partition, segment } = reference;
    let (base, end) = (segment.base, segment.end);
    let found = contents.segments.binary_search_by_key(&(*partition, base), |entry| (entry.partition, entry.segment.base));
    let entry = found.map(|index| &contents.segments[index]).map_err(|_| format!("the object holds no segment from offset {base}"))?;
    if entry.segment.end != end {
        return Err(format!("the object's segment from offset {base} ends at {}, metadata has {end}", entry.segment.end));
    }
    // Only the publish says in which revision a segment was added.
    let written = SegmentRef { added: Revision::default(), ..segment.clone() };
    if entry.segment == written {
        Ok(entry)
    } else {
        Err(format!("the object's footer and metadata do not agree on the segment from offset {base}"))
    }
}

/// Requests that cover `pieces`, which ascend: what lies close together is one, up to a block.
fn blocks(pieces: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for piece in pieces {
        match runs.last_mut() {
            Some(run) if piece.start <= run.end.saturating_add(GAP_BYTES) => run.end = run.end.max(piece.end),
            _ => runs.push(piece.clone()),
        }
    }
    let cut = |run: Range<u64>| {
        let starts = (run.start..run.end).step_by(BLOCK_BYTES as usize);
        starts.map(move |start| start..run.end.min(start.saturating_add(BLOCK_BYTES)))
    };
    runs.into_iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_one_request_and_what_is_long_is_several() {
        let (gap, block) = (GAP_BYTES, BLOCK_BYTES);
        for (pieces, expected) in [
            (&[(0, 16), (16, 100), (100, 200)][..], &[(0, 200)][..]),
            (&[(0, 16), (16, 100), (100 + gap, 200 + gap)], &[(0, 200 + gap)]),
            (&[(0, 16), (16, 100), (101 + gap, 102 + gap)], &[(0, 100), (101 + gap, 102 + gap)]),
            (&[(0, 16), (16, block)], &[(0, block)]),
            (&[(0, 16), (16, 2 * block + 1)], &[(0, block), (block, 2 * block), (2 * block, 2 * block + 1)]),
        ] {
            let pieces: Vec<_> = pieces.iter().map(|(start, end)| *start..*end).collect();
            let found: Vec<_> = blocks(&pieces).into_iter().map(|block| (block.start, block.end)).collect();
            assert_eq!(found, expected, "{pieces:?}");
        }
    }
}
