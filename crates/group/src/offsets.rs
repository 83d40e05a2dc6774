//! The offsets that a group has committed. They change by commits, deletions and expiry, and by nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{Timestamp, TopicId};

use crate::effects::Context;
use crate::row::{Kind, Reader, Writer};
use crate::{
    CommitPartition, CommitRequest, CommitTopic, CommittedOffset, DeleteOffsetsRequest, FetchOffsetsRequest, FetchTopic, FetchedOffsets,
    FetchedPartition, FetchedTopic, GroupError, PartitionResults, Row, RowError, TopicResults, Topics,
};

const VERSION: u8 = 1;

/// What the rows of one commit may come to: they are saved together, and each repeats the group id, which the request has once.
pub(crate) const MAX_COMMIT_BYTES: usize = 8 << 20;

/// What a row takes besides its strings, at most.
pub(crate) const ROW_OVERHEAD: usize = 66;

/// By topic and partition.
#[derive(Default, Debug)]
pub(crate) struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, Committed>>,
}

/// One committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Committed {
    offset: i64,
    /// -1 if it was not said.
    leader_epoch: i32,
    metadata: String,
    at: Timestamp,
    /// When it ends, if its commit said so (OffsetCommit 2 to 4); otherwise as the broker's retention says.
    expires: Option<Timestamp>,
    /// All zero if it was not known.
    topic_id: TopicId,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Refuses a commit whose rows would come to too much, before anything is changed.
    pub(crate) fn check_size(request: &CommitRequest) -> Result<(), GroupError> {
        let of_partition = |it: &CommitPartition| it.metadata.as_ref().map_or(0, String::len) + ROW_OVERHEAD + request.group_id.len();
        let of_topic = |topic: &CommitTopic| topic.partitions.iter().map(|it| of_partition(it) + topic.name.len()).sum::<usize>();
        let bytes: usize = request.topics.iter().map(of_topic).sum();
        if bytes <= MAX_COMMIT_BYTES { Ok(()) } else { Err(GroupError::CommitTooLarge { limit: MAX_COMMIT_BYTES }) }
    }

    /// Commits what the group has let pass.
    pub(crate) fn commit(&mut self, request: CommitRequest, cx: &mut Context<'_>) -> PartitionResults {
        let CommitRequest { group_id, retention_ms, topics, .. } = request;
        let at = cx.now.wall;
        let expires = retention_ms.map(|retention| Timestamp(at.0.saturating_add(retention)));
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for CommitPartition { partition, offset, leader_epoch, metadata } in topic.partitions {
                let metadata = metadata.unwrap_or_default();
                if is_too_long(&metadata, cx.options.offset_metadata_max_bytes) {
                    partitions.push((partition, Err(GroupError::OffsetMetadataTooLarge)));
                    continue;
                }
                let committed = Committed { offset, leader_epoch, metadata, at, expires, topic_id: topic.id };
                cx.save(Row { key: key(&group_id, &topic.name, partition), value: Some(committed.value()) });
                self.insert(&topic.name, partition, committed);
                partitions.push((partition, Ok(())));
            }
            results.push(TopicResults { name: topic.name, id: topic.id, partitions });
        }
        PartitionResults { topics: results }
    }

    fn insert(&mut self, topic: &str, partition: i32, committed: Committed) {
        match self.topics.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, committed);
            }
            None => {
                self.topics.insert(topic.to_owned(), BTreeMap::from([(partition, committed)]));
            }
        }
    }

    /// All of them, as those of `group_id`.
    pub(crate) fn iter<'a>(&'a self, group_id: &'a str) -> impl Iterator<Item = CommittedOffset<'a>> {
        self.topics.iter().flat_map(move |(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| CommittedOffset {
                group_id,
                topic,
                topic_id: committed.topic_id,
                partition: *partition,
                offset: committed.offset,
            })
        })
    }

    /// What is asked for, or all of it.
    pub(crate) fn fetch(&self, request: &FetchOffsetsRequest) -> FetchedOffsets {
        let topics = match &request.topics {
            Some(topics) => topics.iter().map(|topic| self.fetch_topic(topic)).collect(),
            None => self.topics.iter().map(|(name, partitions)| fetch_all(name, partitions)).collect(),
        };
        FetchedOffsets { topics }
    }

    fn fetch_topic(&self, topic: &FetchTopic) -> FetchedTopic {
        let committed = self.topics.get(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let committed = committed.and_then(|partitions| partitions.get(partition));
            fetched(*partition, committed.filter(|committed| committed.is_of(topic.id)))
        });
        FetchedTopic { name: topic.name.clone(), id: topic.id, partitions: partitions.collect() }
    }

    /// Deletes what the group is not subscribed to. Offsets that do not exist are deleted all the same.
    pub(crate) fn delete(
        &mut self,
        request: DeleteOffsetsRequest,
        is_subscribed: impl Fn(&str) -> bool,
        cx: &mut Context<'_>,
    ) -> PartitionResults {
        let mut results = Vec::with_capacity(request.topics.len());
        for (name, partitions) in request.topics {
            let refused = is_subscribed(&name);
            let mut delete = |partition| {
                if refused {
                    return (partition, Err(GroupError::GroupSubscribedToTopic));
                }
                self.remove(&request.group_id, &name, |found, _| found == partition, cx);
                (partition, Ok(()))
            };
            let partitions = partitions.into_iter().map(&mut delete).collect();
            results.push(TopicResults { name, id: TopicId::default(), partitions });
        }
        PartitionResults { topics: results }
    }

    /// The topic is gone.
    pub(crate) fn delete_topic(&mut self, group_id: &str, topic: &str, cx: &mut Context<'_>) {
        self.remove(group_id, topic, |_, _| true, cx);
    }

    /// Keeps offsets of topics that exist only. A topic that came again under the name of another is another.
    pub(crate) fn keep_existing(&mut self, group_id: &str, topics: &dyn Topics, cx: &mut Context<'_>) {
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for name in names {
            let existing = topics.by_name(&name);
            let is_gone = |_, committed: &Committed| existing.as_ref().is_none_or(|topic| !committed.is_of(topic.id));
            self.remove(group_id, &name, is_gone, cx);
        }
    }

    /// The group is gone.
    pub(crate) fn delete_all(&mut self, group_id: &str, cx: &mut Context<'_>) {
        let names: Vec<_> = self.topics.keys().cloned().collect();
        names.iter().for_each(|topic| self.delete_topic(group_id, topic, cx));
    }

    /// Deletes what is past its time (KIP-211). `retained_since` says from when on the retention of an offset counts, by its topic and
    /// the time of its commit; `None` keeps it.
    pub(crate) fn expire(&mut self, group_id: &str, retained_since: impl Fn(&str, Timestamp) -> Option<Timestamp>, cx: &mut Context<'_>) {
        let (now, retention) = (cx.now.wall, cx.options.offsets_retention_ms);
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for topic in names {
            let is_expired = |_, committed: &Committed| {
                let since = retained_since(&topic, committed.at);
                since.is_some_and(|since| committed.expires.unwrap_or(Timestamp(since.0.saturating_add(retention))) <= now)
            };
            self.remove(group_id, &topic, is_expired, cx);
        }
    }

    fn remove(&mut self, group_id: &str, topic: &str, is_gone: impl Fn(i32, &Committed) -> bool, cx: &mut Context<'_>) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        partitions.retain(|partition, committed| {
            let gone = is_gone(*partition, committed);
            if gone {
                cx.save(Row { key: key(group_id, topic, *partition), value: None });
            }
            !gone
        });
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Takes up a row. `key` is what follows the group.
    pub(crate) fn read(&mut self, mut key: Reader, value: Bytes) -> Result<(), RowError> {
        let topic = key.string()?;
        let partition = key.i32()?;
        key.end()?;
        self.insert(&topic, partition, Committed::read(value)?);
        Ok(())
    }
}

impl Committed {
    fn value(&self) -> Bytes {
        let mut value = Writer::value(VERSION);
        value.i64(self.offset);
        value.i32(self.leader_epoch);
        value.string(&self.metadata);
        value.i64(self.at.0);
        value.bool(self.expires.is_some());
        if let Some(expires) = self.expires {
            value.i64(expires.0);
        }
        value.topic_id(self.topic_id);
        value.finish()
    }

    fn read(value: Bytes) -> Result<Self, RowError> {
        let mut reader = Kind::Offset.open(value, VERSION)?;
        let committed = Self {
            offset: reader.i64()?,
            leader_epoch: reader.i32()?,
            metadata: reader.string()?,
            at: Timestamp(reader.i64()?),
            expires: if reader.bool()? { Some(Timestamp(reader.i64()?)) } else { None },
            topic_id: reader.topic_id()?,
        };
        reader.end()?;
        Ok(committed)
    }

    /// Not of a topic that had the name before. Where an id is not known the name decides.
    fn is_of(&self, id: TopicId) -> bool {
        self.topic_id == id || self.topic_id == TopicId::default() || id == TopicId::default()
    }
}

fn key(group_id: &str, topic: &str, partition: i32) -> Bytes {
    let mut key = Kind::Offset.key(group_id);
    key.string(topic);
    key.i32(partition);
    key.finish()
}

/// Counted as Kafka counts, in UTF-16 units, of which a string has at most as many as bytes.
fn is_too_long(metadata: &str, limit: usize) -> bool {
    limit < metadata.len() && limit < metadata.encode_utf16().count()
}

fn fetched(partition: i32, committed: Option<&Committed>) -> FetchedPartition {
    match committed {
        Some(Committed { offset, leader_epoch, metadata, .. }) => {
            FetchedPartition { partition, offset: *offset, leader_epoch: *leader_epoch, metadata: metadata.clone() }
        }
        None => FetchedPartition { partition, offset: -1, leader_epoch: -1, metadata: String::new() },
    }
}

fn fetch_all(name: &str, partitions: &BTreeMap<i32, Committed>) -> FetchedTopic {
    let last = partitions.values().max_by_key(|committed| committed.at);
    FetchedTopic {
        name: name.to_owned(),
        id: last.map(|committed| committed.topic_id).unwrap_or_default(),
        partitions: partitions.iter().map(|(partition, committed)| fetched(*partition, Some(committed))).collect(),
    }
}
