//! Where the record at an offset lies at this moment: what `siltstone where` prints.

use types::{Lsn, Offset, SegmentRef, Timestamp};
use wal::ReadFrom;

use crate::{Partition, ReadError};

/// Where an offset is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// In the write-ahead log.
    Wal {
        /// Which entry.
        lsn: Lsn,
        /// Its bytes are still in memory.
        in_memory: bool,
        /// First offset of the batch.
        base: Offset,
        /// Last offset of the batch.
        last: Offset,
        /// The broker's clock at its append.
        append_time: Timestamp,
        /// The segment that holds it too, once it is published.
        segment: Option<SegmentRef>,
    },
    /// In a segment object only.
    Segment(SegmentRef),
    /// Between two batches or segments: a read gets what begins here.
    Gap {
        /// First offset of the next batch or segment.
        next: Offset,
    },
    /// Below the log start: deleted.
    Deleted {
        /// First offset that may be read.
        log_start: Offset,
    },
    /// At or above the log's end: not written yet.
    NotWritten {
        /// Next offset to be assigned.
        log_end: Offset,
    },
}

impl Partition {
    /// Where `offset` is, whether consumers may see it or not.
    pub async fn where_is(&self, offset: Offset) -> Result<Location, ReadError> {
        let (entry, marks) = {
            let log = self.readable()?;
            (log.tail.get(log.tail.find(offset)).copied(), crate::partition::offsets(&log))
        };
        if offset < marks.log_start {
            return Ok(Location::Deleted { log_start: marks.log_start });
        }
        if marks.log_end <= offset {
            return Ok(Location::NotWritten { log_end: marks.log_end });
        }
        let page = self.shared.segments.fresh_page(self.id, offset).await?;
        let segment = page.segments.first();
        let holding = segment.filter(|segment| segment.contains(offset)).cloned();
        if let Some(entry) = entry.filter(|entry| entry.base <= offset)
            && let Some((_, from)) = self.shared.wal.read(entry.lsn).map_err(|source| ReadError::Log { partition: self.id, source })?
        {
            return Ok(Location::Wal {
                lsn: entry.lsn,
                in_memory: from == ReadFrom::Memory,
                base: entry.base,
                last: entry.last(),
                append_time: entry.append_time,
                segment: holding,
            });
        }
        let next_in_wal = entry.map(|entry| entry.base);
        Ok(match (holding, segment) {
            (Some(segment), _) => Location::Segment(segment),
            (None, Some(next)) => Location::Gap { next: next.base },
            (None, None) => Location::Gap { next: next_in_wal.unwrap_or(marks.log_end) },
        })
    }
}
