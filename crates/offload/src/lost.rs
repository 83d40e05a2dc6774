//! Entries that can no longer be published: acknowledged by the log, refused by the metadata service.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use types::{Lsn, Offset, TopicPartition};
use wal::{Entry, EntryKind, WriteAheadLog};

/// Batch bytes asked of the log at once while refused entries are gathered.
const SCAN_BYTES: usize = 8 << 20;

/// Where the entries of a refused partition go before the log drops them: records that a producer was told are safe are never thrown
/// away, even when nobody may read them from the topic any more.
pub trait LostEntries: Send + Sync {
    /// Keeps `entries`, batches of `partition` in offset order. They must be durable when this returns: the log drops them next.
    /// May be called again with the same entries after a crash. Blocks on I/O.
    fn keep(&self, partition: TopicPartition, entries: &[Arc<Entry>]) -> io::Result<()>;
}

/// Keeps aside the batches from `from` to `below` that `wanted` tells by their partition and the offset after them. Answers how many
/// of each partition. Holds a piece of the log at a time: a stopped partition may fill all of it.
pub(crate) fn keep_aside(
    wal: &dyn WriteAheadLog,
    lost: &dyn LostEntries,
    from: Lsn,
    below: Lsn,
    wanted: impl Fn(TopicPartition, Offset) -> bool,
) -> io::Result<BTreeMap<TopicPartition, usize>> {
    let mut kept = BTreeMap::new();
    let mut from = from;
    while from < below {
        let entries = wal.scan(from, below, SCAN_BYTES).map_err(io::Error::other)?;
        let Some((last, _)) = entries.last() else { break };
        from = last.next();
        let mut found: BTreeMap<TopicPartition, Vec<Arc<Entry>>> = BTreeMap::new();
        for (_, entry) in entries {
            if let EntryKind::Batch { partition, last_offset, .. } = entry.kind
                && wanted(partition, last_offset + 1)
            {
                found.entry(partition).or_default().push(entry);
            }
        }
        for (partition, entries) in found {
            lost.keep(partition, &entries)?;
            *kept.entry(partition).or_default() += entries.len();
        }
    }
    Ok(kept)
}

/// Keeps aside what the metadata service refused of our own partitions when the process was killed before it could do so itself:
/// batches below the published end of the log that reach beyond the published end of their partition. Nothing else tells of them any
/// more (rule R13).
pub(crate) fn keep_refused(
    wal: &dyn WriteAheadLog,
    lost: &dyn LostEntries,
    published: &BTreeMap<TopicPartition, Offset>,
    below: Lsn,
) -> io::Result<()> {
    let refused = |partition, end| published.get(&partition).is_some_and(|published| *published < end);
    for (partition, batches) in keep_aside(wal, lost, wal.start(), below, refused)? {
        tracing::error!(%partition, batches, "refused before the start: metadata expected another offset; the entries are kept aside");
    }
    Ok(())
}

/// Keeps entries below a directory, as `<topic id>-<partition>/<base offset>.log`: the record batches one after another, which is
/// also the form of Kafka's own log files, so that its tools read them.
#[derive(Clone, Debug)]
pub struct LostDirectory {
    root: PathBuf,
}

impl LostDirectory {
    /// Files go below `root`, which is created with the first of them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl LostEntries for LostDirectory {
    fn keep(&self, partition: TopicPartition, entries: &[Arc<Entry>]) -> io::Result<()> {
        let Some(base) = entries.first().and_then(|entry| base_offset(entry)) else { return Ok(()) };
        let folder = self.root.join(partition.to_string());
        fs::create_dir_all(&folder)?;
        let (mut file, path) = create(&folder, base)?;
        for entry in entries {
            file.write_all(&entry.batch)?;
        }
        file.sync_all()?;
        // The name too must survive: the file's folder, and the folders that may have been made for it.
        for made in path.ancestors().skip(1).take_while(|made| made.starts_with(&self.root)).chain(self.root.parent()) {
            File::open(if made.as_os_str().is_empty() { Path::new(".") } else { made })?.sync_all()?;
        }
        Ok(())
    }
}

/// A file that is not there yet: what an earlier call kept is never overwritten, two ownerships may have used the same offsets.
fn create(folder: &Path, base: i64) -> io::Result<(File, PathBuf)> {
    let mut again = 0_u32;
    loop {
        let name = if again == 0 { format!("{base:020}.log") } else { format!("{base:020}.{again}.log") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && again < u32::MAX => again += 1,
            created => return created.map(|file| (file, path)),
        }
    }
}

fn base_offset(entry: &Entry) -> Option<i64> {
    match entry.kind {
        EntryKind::Batch { base_offset, .. } => Some(base_offset.0),
        EntryKind::EpochStart(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use types::{LeaderEpoch, Offset, Timestamp, TopicId};
    use wal::Origin;

    use super::*;

    fn entry(partition: TopicPartition, offset: i64, batch: &'static [u8]) -> Arc<Entry> {
        Arc::new(Entry {
            kind: EntryKind::Batch {
                partition,
                origin: Origin::Client,
                leader_epoch: LeaderEpoch(1),
                base_offset: Offset(offset),
                last_offset: Offset(offset),
            },
            append_time: Timestamp(0),
            batch: Bytes::from_static(batch),
        })
    }

    #[test]
    fn batches_are_kept_one_after_another_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let partition = TopicPartition::new(TopicId::from_bytes([7; 16]), 3);
        let lost = LostDirectory::new(folder.path().join("lost"));
        lost.keep(partition, &[entry(partition, 40, b"one"), entry(partition, 41, b"two")]).unwrap();
        lost.keep(partition, &[entry(partition, 40, b"other")]).unwrap();

        let kept = folder.path().join("lost").join("07070707-0707-0707-0707-070707070707-3");
        assert_eq!(fs::read(kept.join("00000000000000000040.log")).unwrap(), b"onetwo");
        assert_eq!(fs::read(kept.join("00000000000000000040.1.log")).unwrap(), b"other");
    }
}
