//! Building an object out of batches that are already in memory.

use bytes::Bytes;
use types::{ObjectKey, ObjectOrigin, Offset, ProducerId, ProducerWindow, Timestamp, TopicPartition};

use crate::contents::{ObjectContents, ObjectHeader, ProducerState, SegmentEntry};
use crate::footer;
use crate::summary::{LayoutFault, Placement, Summary};
use crate::trailer::{TRAILER_BYTES, Trailer, encode_head};

/// One segment to be: what its batches cannot tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentInput {
    /// Whose segment.
    pub partition: TopicPartition,
    /// First offset it answers for.
    pub base: Offset,
    /// First offset it no longer answers for; not below the end of its last batch.
    pub end: Offset,
    /// How the batches come into the object.
    pub origin: ObjectOrigin,
    /// Base offset of the oldest segment needed to rebuild the producer state at `end`.
    pub state_from: Offset,
    /// Producer windows as of `end`, each producer once, in any order.
    pub producers: Vec<(ProducerId, ProducerWindow)>,
    /// Whether `producers` are all of the partition's, and not only those that the segment touches.
    pub producers_full: bool,
}

/// The batches cannot become this object. The caller has mixed something up: nothing of it may be uploaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// A batch does not fit into its segment.
    #[error("segment {partition}: {source}")]
    Layout {
        /// Whose segment.
        partition: TopicPartition,
        /// Which rule is broken.
        source: LayoutFault,
    },
    /// Segments are added ascending by partition and offset.
    #[error("segment {partition} from offset {base} was added after a later one")]
    Order {
        /// Whose segment.
        partition: TopicPartition,
        /// Its base offset.
        base: Offset,
    },
    /// A producer has one window in a segment.
    #[error("segment {partition}: producer {producer} is given twice")]
    Producer {
        /// Whose segment.
        partition: TopicPartition,
        /// The producer id.
        producer: ProducerId,
    },
}

/// An object ready for upload. Its bytes are fixed: a retry sends these (rule R9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuiltObject {
    /// The object's bytes in order. Batches are the slices that were given, not copies.
    pub parts: Vec<Bytes>,
    /// Length of all parts.
    pub length: u64,
    /// CRC-32C of all parts.
    pub crc: u32,
    /// What to publish, ascending by partition.
    pub segments: Vec<SegmentEntry>,
}

/// Collects segments; the same input gives the same bytes.
#[derive(Debug)]
pub struct ObjectBuilder {
    header: ObjectHeader,
    parts: Vec<Bytes>,
    length: u64,
    crc: u32,
    segments: Vec<Pending>,
}

/// A segment whose object has no key yet.
#[derive(Debug)]
struct Pending {
    partition: TopicPartition,
    end: Offset,
    summary: Summary,
    placement: Placement,
    producers: ProducerState,
}

impl Pending {
    fn precedes(&self, partition: TopicPartition, base: Offset) -> bool {
        self.partition < partition || (self.partition == partition && self.end <= base)
    }

    fn keyed(self, object: ObjectKey) -> SegmentEntry {
        let segment = self.summary.segment(object, self.placement);
        SegmentEntry { partition: self.partition, segment, data_crc: self.summary.data_crc(), producers: self.producers }
    }
}

impl ObjectBuilder {
    /// An object without segments.
    pub fn new(header: ObjectHeader) -> Self {
        let mut builder = Self { header, parts: Vec::new(), length: 0, crc: 0, segments: Vec::new() };
        builder.push(Bytes::copy_from_slice(&encode_head()));
        builder
    }

    /// Bytes so far, without footer.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds one partition's batches, each with the broker's clock at its append, ascending by offset; partitions ascend too.
    ///
    /// # Errors
    /// See [`BuildError`]; the builder is of no use afterwards.
    pub fn add_segment(&mut self, input: SegmentInput, batches: impl IntoIterator<Item = (Bytes, Timestamp)>) -> Result<(), BuildError> {
        let SegmentInput { partition, base, end, origin, state_from, mut producers, producers_full } = input;
        let layout = |source| BuildError::Layout { partition, source };
        if self.segments.last().is_some_and(|last| !last.precedes(partition, base)) {
            return Err(BuildError::Order { partition, base });
        }
        producers.sort_unstable_by_key(|(producer, _)| *producer);
        if let Some(pair) = producers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(BuildError::Producer { partition, producer: pair[0].0 });
        }
        let mut summary = Summary::new(base, end).map_err(layout)?;
        let position = self.length;
        let mut append_times = None;
        for (batch, append_time) in batches {
            summary.add(&batch).map_err(layout)?;
            append_times = Some(append_times.map_or((append_time, append_time), |(first, _)| (first, append_time)));
            self.parts.push(batch);
        }
        self.length += summary.bytes();
        // The segment's checksum is known, so the object's need not go over its bytes again.
        self.crc = combine(self.crc, summary.data_crc(), summary.bytes());
        let index = summary.encode_index();
        let index_bytes = u32::try_from(index.len()).expect("4 GiB of index would be for 32 TiB of batches");
        self.push(index.into());
        let append_times = append_times.unwrap_or((Timestamp::NONE, Timestamp::NONE));
        self.segments.push(Pending {
            partition,
            end,
            summary,
            placement: Placement { position, index_bytes, append_times, state_from, origin },
            producers: ProducerState { full: producers_full, windows: producers },
        });
        Ok(())
    }

    /// Closes the object, to be stored under `key`.
    pub fn finish(mut self, key: ObjectKey) -> BuiltObject {
        let segments = std::mem::take(&mut self.segments).into_iter().map(|pending| pending.keyed(key)).collect();
        let contents = ObjectContents { key, header: self.header.clone(), segments };
        let mut end = footer::encode(&contents);
        let trailer = Trailer {
            object_bytes: self.length + (end.len() + TRAILER_BYTES) as u64,
            footer_position: self.length,
            footer_bytes: u32::try_from(end.len()).expect("a footer is shorter than 4 GiB"),
            footer_crc: crc32c::crc32c(&end),
        };
        end.extend_from_slice(&trailer.encode());
        self.push(end.into());
        BuiltObject { parts: self.parts, length: self.length, crc: self.crc, segments: contents.segments }
    }

    fn push(&mut self, part: Bytes) {
        self.length += part.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, &part);
        self.parts.push(part);
    }
}

fn combine(crc: u32, next: u32, next_bytes: u64) -> u32 {
    crc32c::crc32c_combine(crc, next, usize::try_from(next_bytes).expect("bytes in memory fit in usize"))
}
