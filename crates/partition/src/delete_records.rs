//! DeleteRecords: moves the log start, after making sure that it stays within what is published.

use async_trait::async_trait;
use metadata_api::AdvanceLogStart;
use types::{Lsn, Offset};

use crate::reader::out_of_range;
use crate::{DeleteRecordsError, Partition};

/// Gets entries of the write-ahead log published before their time: `offload`, as far as a partition needs it.
#[async_trait]
pub trait Flusher: Send + Sync {
    /// Returns once every entry below `below` is published and [`Partitions::published`](crate::Partitions::published) was told; else
    /// says why not.
    async fn flush(&self, below: Lsn) -> Result<(), String>;
}

impl Partition {
    /// Deletes what lies below `before`, `None` for everything consumers may see, and answers the log start. A `before` below the log
    /// start changes nothing. The log start never passes the published end (rule R21): what lies above it is published first, because
    /// a log start that only this broker knows would be lost with it.
    pub async fn delete_records(&self, before: Option<Offset>, flusher: &dyn Flusher) -> Result<Offset, DeleteRecordsError> {
        let (target, unpublished) = {
            let log = self.readable()?;
            let marks = crate::partition::offsets(&log);
            let target = before.unwrap_or(marks.high_watermark);
            if target < Offset::ZERO || marks.high_watermark < target {
                return Err(out_of_range(target, &marks).into());
            }
            if target <= marks.log_start {
                return Ok(marks.log_start);
            }
            let last = (marks.published_end < target).then(|| log.tail.get(log.tail.find(target + -1))).flatten();
            (target, last.map(|entry| entry.lsn))
        };
        if let Some(lsn) = unpublished {
            let flushed = flusher.flush(lsn.next()).await;
            let published = self.readable()?.published_end();
            if published < target {
                let detail = flushed.err().unwrap_or_else(|| "the flush has ended".to_owned());
                return Err(DeleteRecordsError::NotPublished { partition: self.id, published, before: target, detail });
            }
        }
        let request = AdvanceLogStart { broker: self.shared.broker, epoch: self.shared.epoch, partition: self.id, log_start: target };
        let log_start = self.shared.metadata.advance_log_start(request).await;
        let log_start = log_start.map_err(|source| DeleteRecordsError::Metadata { partition: self.id, source })?;
        self.advance_log_start(log_start);
        Ok(log_start)
    }
}
