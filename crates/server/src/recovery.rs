//! From a write-ahead log on disk to partitions that serve: open, survey, register, replay.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use broker::TopicDefaults;
use broker::topic_config::TopicConfig;
use indicatif::{ProgressBar, ProgressStyle};
use metadata_api::{Endpoint, MetadataClient, MetadataError, RegisterBroker, Registration};
use offload::{PublishObserver, Published};
use partition::{LogConfig, Partitions, RecoverError, Recovered};
use runtime::{Clock, Random};
use types::{Lsn, Offset, Revision, TopicPartition};
use wal::{EntryKind, RocksDbWal, TailLimits, WriteAheadLog};

use crate::config::Config;
use crate::data_dir::DataDir;

/// Entries are read back in pieces of this size.
const READ_BYTES: usize = 8 << 20;
/// Besides what uploads under way take: space for the metadata journal and RocksDB itself.
const RESERVE_BYTES: u64 = 256 << 20;
/// Retention must be able to make room on a disk that is shared with the store.
const RESERVED_UPLOADS: u64 = 2;

/// Opens the log, showing how far its recovery is.
pub(crate) async fn open_wal(config: &Config, directory: PathBuf, clock: &Arc<dyn Clock>, random: &Arc<Random>) -> Result<Arc<RocksDbWal>> {
    let options = wal::Options {
        generation_bytes: config.wal.generation_bytes.min(config.memory.generation()),
        generation_age: config.wal.generation_age,
        max_bytes: config.wal.max_bytes,
        tail: TailLimits { keep_bytes: config.memory.tail / 3, max_bytes: config.memory.tail },
        memtable_bytes: usize::try_from(config.memory.memtables).unwrap_or(usize::MAX) as u64,
        recycle: config.wal.recycle,
        reserve_bytes: RESERVE_BYTES + RESERVED_UPLOADS * config.upload.max_bytes,
        ..wal::Options::new(Arc::clone(clock), Arc::clone(random))
    };
    let open = move || {
        let mut shown = Shown::default();
        let opened = RocksDbWal::open(&directory, options, &mut |done, total| shown.update(done, total));
        shown.finish();
        opened
    };
    let opened = tokio::task::spawn_blocking(open).await.context("open the write-ahead log")?;
    Ok(Arc::new(opened?))
}

/// Recovery progress: a bar on a terminal, a line per tenth in a log.
#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
    tenths: u64,
}

impl Shown {
    fn update(&mut self, done: u64, total: u64) {
        if total == 0 {
            return;
        }
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("reading the write-ahead log {bar:30} {bytes}/{total_bytes}");
                ProgressBar::new(total).with_style(style.expect("the template is valid"))
            });
            bar.set_position(done);
            return;
        }
        let tenths = done.saturating_mul(10) / total;
        if self.tenths < tenths {
            self.tenths = tenths;
            tracing::info!("reading the write-ahead log: {}0 % of {total} bytes", tenths);
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a log holds, published or not: only metadata knows which.
pub(crate) struct Survey {
    /// Partitions with entries, with the end of their log there.
    ends: BTreeMap<TopicPartition, Offset>,
    /// The highest metadata revision that this broker has seen.
    revision_seen: Revision,
}

/// Reads the whole log once.
pub(crate) fn survey(wal: &dyn WriteAheadLog) -> Result<Survey> {
    let mut survey = Survey { ends: BTreeMap::new(), revision_seen: Revision(0) };
    for_each_entry(wal, wal.start(), |_, entry| {
        match entry.kind {
            EntryKind::Batch { partition, last_offset, .. } => {
                let end = survey.ends.entry(partition).or_default();
                *end = (*end).max(last_offset + 1);
            }
            EntryKind::EpochStart(start) => survey.revision_seen = survey.revision_seen.max(start.metadata_revision),
        }
        Ok(())
    })?;
    Ok(survey)
}

/// Begins a broker epoch.
pub(crate) async fn register(
    config: &Config,
    endpoints: Vec<Endpoint>,
    data_dir: &DataDir,
    metadata: &dyn MetadataClient,
    wal: &RocksDbWal,
    survey: Survey,
) -> Result<Registration> {
    let request = RegisterBroker {
        broker: config.node_id,
        wal: wal.id(),
        cluster: data_dir.cluster(),
        endpoints,
        rack: config.rack.clone(),
        revision_seen: survey.revision_seen.max(data_dir.revision()),
        unpublished: survey.ends.into_iter().collect(),
    };
    let mut registration = match metadata.register_broker(request).await {
        Err(unknown @ (MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. })) => bail!(
            "the write-ahead log holds records of what metadata never had ({unknown}): metadata or the log was replaced; \
             restore the data directory as a whole, or move {} away to give up what only it holds",
            data_dir.folder("wal").display()
        ),
        registered => registered.context("register with the metadata service")?,
    };
    // What was trimmed had been published. Metadata that does not know of it was made of a store, where ranges of deleted topics leave
    // nothing; or it is older than the log.
    if registration.last_published.next() < wal.start() && registration.rebuilt {
        registration.last_published = Lsn(wal.start().0 - 1);
    }
    if registration.last_published.next() < wal.start() {
        bail!(
            "metadata knows the write-ahead log as published up to {}, and the log begins at {}: metadata was rolled back; \
             restore the newer metadata directory",
            registration.last_published,
            wal.start()
        );
    }
    Ok(registration)
}

/// Opens every partition this broker leads and puts back what is not published.
pub(crate) async fn replay(
    partitions: &Partitions,
    metadata: &dyn MetadataClient,
    wal: &dyn WriteAheadLog,
    registration: &Registration,
    defaults: &TopicDefaults,
) -> Result<()> {
    let mut images = metadata.image();
    let image = images.wait_for(|image| registration.revision <= image.revision).await.context("the metadata service stopped")?.clone();
    for state in &registration.partitions {
        let Some(topic) = image.topics.get(&state.partition.topic) else { continue };
        let timestamp_type = TopicConfig::new(defaults, &topic.configs).timestamp_type();
        partitions.open(state.clone(), LogConfig { timestamp_type });
    }
    let mut left_out = 0_u64;
    for_each_entry(wal, registration.last_published.next().max(wal.start()), |lsn, entry| {
        match partitions.recover(lsn, entry) {
            Ok(Recovered::Replayed | Recovered::NotABatch) => {}
            Ok(Recovered::KeptAside) | Err(RecoverError::UnknownTopic { .. }) => left_out += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    if 0 < left_out {
        tracing::warn!("{left_out} entries of the write-ahead log belong to partitions that are deleted or led elsewhere");
    }
    partitions.finish_recovery();
    Ok(())
}

fn for_each_entry(wal: &dyn WriteAheadLog, from: Lsn, mut f: impl FnMut(Lsn, &wal::Entry) -> Result<()>) -> Result<()> {
    let end = wal.progress().borrow().appended;
    let mut from = from;
    while from < end {
        let entries = wal.scan(from, end, READ_BYTES)?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let next = last.next();
        for (lsn, entry) in &entries {
            f(*lsn, entry)?;
        }
        from = next;
    }
    Ok(())
}

/// Tells partitions of publishes: `offload` knows no partitions, and `partition` no offload.
pub(crate) struct PublishedToPartitions(pub(crate) Arc<Partitions>);

impl PublishObserver for PublishedToPartitions {
    fn published(&self, revision: Revision, end_lsn: Lsn, partitions: &[Published]) {
        let parts: Vec<_> = partitions
            .iter()
            .map(|part| partition::Published { partition: part.partition, base: part.base, end: part.end, verdict: part.verdict.clone() })
            .collect();
        self.0.published(revision, end_lsn, &parts);
    }
}
