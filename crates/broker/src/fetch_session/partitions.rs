//! What one session's client wants of each partition, and what it was last told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::messages::TopicName;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::{FetchedPartition, FetchedTopic, StrBytes};
use uuid::Uuid;

/// What a client was told of an offset that it was not told, or not without an error.
const UNTOLD: i64 = -1;

/// A session's partitions in the order of their turns.
#[derive(Default)]
pub(super) struct Partitions(Vec<Known>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    topic: Arc<TopicKey>,
    index: i32,
}

/// How requests name a topic: by its name up to version 12, by its id from then on; the other is empty.
#[derive(PartialEq, Eq, Hash)]
struct TopicKey {
    name: TopicName,
    id: Uuid,
}

impl TopicKey {
    /// The name is copied: as it comes, it holds its whole request in memory.
    fn new(name: &TopicName, id: Uuid) -> Arc<Self> {
        Arc::new(Self { name: TopicName(StrBytes::from_string(name.to_string())), id })
    }
}

/// Kept for every partition of every session, so it holds what versions after 6 and clients that are no replicas can say, and no more.
struct Known {
    key: Key,
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

struct Wanted {
    fetch_offset: i64,
    max_bytes: i32,
    current_leader_epoch: i32,
    last_fetched_epoch: i32,
}

impl Partitions {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what a request says: other offsets of known partitions, new partitions at the end, forgotten ones. Of a partition that
    /// is named twice the last naming counts; one that is both named and forgotten is forgotten, as in Kafka.
    pub(super) fn update(&mut self, topics: Vec<FetchTopic>, forgotten: &[ForgottenTopic]) {
        let forgotten: HashSet<Key> = forgotten
            .iter()
            .flat_map(|topic| {
                let key = TopicKey::new(&topic.topic, topic.topic_id);
                topic.partitions.iter().map(move |index| Key { topic: Arc::clone(&key), index: *index })
            })
            .collect();
        let mut order = Vec::new();
        let mut named = HashMap::new();
        for topic in topics {
            let key = TopicKey::new(&topic.topic, topic.topic_id);
            for partition in topic.partitions {
                let key = Key { topic: Arc::clone(&key), index: partition.partition };
                order.push(key.clone());
                named.insert(key, Wanted::new(&partition));
            }
        }
        if named.is_empty() && forgotten.is_empty() {
            return;
        }
        self.0.retain_mut(|known| {
            if let Some(wanted) = named.remove(&known.key) {
                known.wanted = wanted;
            }
            !forgotten.contains(&known.key)
        });
        for key in order {
            if let Some(wanted) = named.remove(&key)
                && !forgotten.contains(&key)
            {
                self.0.push(Known { key, wanted, high_watermark: UNTOLD, log_start_offset: UNTOLD });
            }
        }
    }

    /// The whole request that the session stands for; a topic may come several times.
    pub(super) fn topics(&self) -> Vec<FetchTopic> {
        let same_topic = |one: &Known, other: &Known| one.key.topic == other.key.topic;
        let topics = self.0.chunk_by(same_topic).map(|known| {
            let topic = &known[0].key.topic;
            FetchTopic::default()
                .with_topic(topic.name.clone())
                .with_topic_id(topic.id)
                .with_partitions(known.iter().map(Known::as_request).collect())
        });
        topics.collect()
    }

    /// Notes what the client is told by `topics`, which hold a part for each partition in the order of [`Self::topics`], and leaves out
    /// the parts that say nothing new unless `whole` is set.
    ///
    /// Partitions of which records are sent go to the end of the order. Kafka moves whatever is in the answer; but a partition may be
    /// there for its high watermark alone, because others took all the room, and must keep its place before them.
    pub(super) fn settle(&mut self, mut topics: Vec<FetchedTopic>, whole: bool) -> Vec<FetchedTopic> {
        let (mut waiting, mut served) = (Vec::with_capacity(self.0.len()), Vec::new());
        let mut in_order = std::mem::take(&mut self.0).into_iter();
        for topic in &mut topics {
            topic.partitions.retain(|told| {
                let mut known = in_order.next().expect("an answer has no partition that was not asked for");
                assert_eq!(told.partition_index, known.key.index, "an answer keeps the order of its request");
                let is_new = known.tell(told);
                let behind = if told.records.is_empty() { &mut waiting } else { &mut served };
                behind.push(known);
                is_new || whole
            });
        }
        waiting.append(&mut served);
        self.0 = waiting;
        topics.retain(|topic| !topic.partitions.is_empty());
        topics
    }
}

impl Known {
    fn as_request(&self) -> FetchPartition {
        let Wanted { fetch_offset, max_bytes, current_leader_epoch, last_fetched_epoch } = self.wanted;
        FetchPartition::default()
            .with_partition(self.key.index)
            .with_fetch_offset(fetch_offset)
            .with_partition_max_bytes(max_bytes)
            .with_current_leader_epoch(current_leader_epoch)
            .with_last_fetched_epoch(last_fetched_epoch)
    }

    /// Notes what the client is told, and returns whether any of it is new to it.
    fn tell(&mut self, told: &FetchedPartition) -> bool {
        let failed = !told.error_code.is_none();
        let is_new = failed
            || !told.records.is_empty()
            || told.high_watermark != self.high_watermark
            || told.log_start_offset != self.log_start_offset
            || told.diverging_epoch.is_some()
            || 0 <= told.preferred_read_replica;
        // So that the end of an error is news too.
        self.high_watermark = if failed { UNTOLD } else { told.high_watermark };
        self.log_start_offset = told.log_start_offset;
        is_new
    }
}

impl Wanted {
    fn new(partition: &FetchPartition) -> Self {
        Self {
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::{EpochEndOffset, ErrorCode};

    use super::*;

    fn topic(name: &str, partitions: &[(i32, i64)]) -> FetchTopic {
        let partitions = partitions.iter().map(|(index, offset)| {
            FetchPartition::default().with_partition(*index).with_fetch_offset(*offset).with_partition_max_bytes(*index + 100)
        });
        FetchTopic::default().with_topic(TopicName(StrBytes::from_string(name.to_owned()))).with_partitions(partitions.collect())
    }

    fn forgotten(name: &str, partitions: &[i32]) -> ForgottenTopic {
        ForgottenTopic::default().with_topic(TopicName(StrBytes::from_string(name.to_owned()))).with_partitions(partitions.to_vec())
    }

    /// Name, index and offset of every partition, in order.
    fn listed(partitions: &Partitions) -> Vec<(String, i32, i64)> {
        let topics = partitions.topics();
        let parts = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|part| (topic.topic.to_string(), part.partition, part.fetch_offset)));
        parts.collect()
    }

    fn of(topics: Vec<FetchTopic>) -> Partitions {
        let mut partitions = Partitions::default();
        partitions.update(topics, &[]);
        partitions
    }

    /// Settles an answer that tells of every partition what `tell` makes of it; indexes of what is left of it.
    fn settle(partitions: &mut Partitions, whole: bool, tell: impl Fn(FetchedPartition) -> FetchedPartition) -> Vec<i32> {
        let topics = partitions.topics().into_iter().map(|topic| {
            let parts = topic.partitions.iter().map(|part| {
                tell(FetchedPartition {
                    partition_index: part.partition,
                    high_watermark: 5,
                    log_start_offset: 0,
                    ..FetchedPartition::default()
                })
            });
            FetchedTopic { partitions: parts.collect(), name: topic.topic, ..FetchedTopic::default() }
        });
        let topics = topics.collect();
        partitions.settle(topics, whole).into_iter().flat_map(|topic| topic.partitions).map(|part| part.partition_index).collect()
    }

    #[test]
    fn requests_change_add_and_forget_and_the_rest_stays_as_it_was() {
        let mut partitions = of(vec![topic("a", &[(0, 10), (1, 11)]), topic("b", &[(0, 20)])]);
        let seen = |name: &str, index, offset| (name.to_owned(), index, offset);
        assert_eq!(listed(&partitions), [seen("a", 0, 10), seen("a", 1, 11), seen("b", 0, 20)]);
        partitions.update(vec![topic("b", &[(0, 21), (7, 1)])], &[forgotten("a", &[0, 99]), forgotten("c", &[0])]);
        assert_eq!(listed(&partitions), [seen("a", 1, 11), seen("b", 0, 21), seen("b", 7, 1)]);
        partitions.update(vec![topic("a", &[(2, 1), (2, 3)]), topic("a", &[(2, 2)])], &[forgotten("a", &[1])]);
        assert_eq!(listed(&partitions), [seen("b", 0, 21), seen("b", 7, 1), seen("a", 2, 2)]);
        partitions.update(vec![topic("b", &[(0, 1)])], &[forgotten("b", &[0, 7]), forgotten("a", &[2])]);
        assert!(partitions.is_empty());
    }

    #[test]
    fn what_a_request_says_comes_back_whole() {
        let wish = FetchPartition::default()
            .with_partition(3)
            .with_fetch_offset(9)
            .with_partition_max_bytes(77)
            .with_current_leader_epoch(4)
            .with_last_fetched_epoch(2);
        let asked = vec![FetchTopic::default().with_topic_id(Uuid::from_bytes([5; 16])).with_partitions(vec![wish])];
        assert_eq!(of(asked.clone()).topics(), asked);
    }

    #[test]
    fn a_partition_is_told_again_only_when_it_has_news() {
        let news: [fn(FetchedPartition) -> FetchedPartition; 6] = [
            |part| FetchedPartition { records: vec![Bytes::from_static(b"x")], ..part },
            |part| FetchedPartition { high_watermark: 6, ..part },
            |part| FetchedPartition { log_start_offset: 1, ..part },
            |part| FetchedPartition { diverging_epoch: Some(EpochEndOffset { epoch: 1, end_offset: 1 }), ..part },
            |part| FetchedPartition { preferred_read_replica: 3, ..part },
            |part| FetchedPartition::failed(part.partition_index, ErrorCode::NotLeaderOrFollower),
        ];
        for (number, tell) in news.into_iter().enumerate() {
            let mut partitions = of(vec![topic("a", &[(0, 0), (1, 0)])]);
            assert_eq!(settle(&mut partitions, true, |part| part), [0, 1], "a whole answer is whole");
            assert_eq!(settle(&mut partitions, false, |part| part), [0; 0]);
            let second = |part: FetchedPartition| if part.partition_index == 1 { tell(part) } else { part };
            assert_eq!(settle(&mut partitions, false, second), [1], "kind of news {number}");
        }
    }

    #[test]
    fn an_error_is_told_as_long_as_it_lasts_and_so_is_its_end() {
        let mut partitions = of(vec![topic("a", &[(0, 0)])]);
        settle(&mut partitions, true, |part| part);
        for _ in 0..2 {
            // Out of range comes with the marks of the log, which are what they were.
            assert_eq!(settle(&mut partitions, false, |part| FetchedPartition { error_code: ErrorCode::OffsetOutOfRange, ..part }), [0]);
        }
        assert_eq!(settle(&mut partitions, false, |part| part), [0]);
        assert_eq!(settle(&mut partitions, false, |part| part), [0; 0]);
    }

    #[test]
    fn partitions_that_were_served_go_behind_those_that_wait() {
        let mut partitions = of(vec![topic("a", &[(0, 0), (1, 0), (2, 0)])]);
        let mut turns = Vec::new();
        for round in 0..6 {
            // Room for one, while all have more every time.
            let first = partitions.topics()[0].partitions[0].partition;
            settle(&mut partitions, false, |part| {
                let records = if part.partition_index == first { vec![Bytes::from_static(b"x")] } else { Vec::new() };
                FetchedPartition { high_watermark: 10 + round, records, ..part }
            });
            turns.push(first);
        }
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }
}
