//! How far groups are behind, as a metric: for each group and topic the records between what the group has committed and the high
//! watermark, which is what `siltstone group describe` shows by partition. Counted are partitions that this broker leads, of groups that
//! it coordinates; a group or topic without committed offsets has no series.
//!
//! It costs nothing while nobody looks. A scrape shows what was reckoned last and keeps the reckoning going, about once a second, until
//! there was none for a while; then what is known is forgotten, so that the next scrape shows nothing rather than something old. The first
//! look loads the coordinators of all slots that are this broker's: a group that nobody has asked for since the start has its lag too.
//!
//! Bounds: the series with the largest lag are shown, and counted how many are not; a coordinator that does not answer soon has no series
//! in that round; reckoning rests longer than it takes.

use std::cmp::Reverse;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use group::Coordinator;
use metadata_api::ClusterImage;
use parking_lot::Mutex;
use partition::{Isolation, Partitions};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use runtime::Shutdown;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use types::{TopicId, TopicPartition};

use crate::coordinator::Coordinators;

/// Series shown at most.
const MOST_SERIES: usize = 1000;
/// From one round to the next, or more where a round takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many times as long as a round took nothing is reckoned after it.
const REST: u32 = 9;
/// Rounds without a scrape after which nobody is taken to look any more.
const UNSEEN_ROUNDS: u32 = 120;
/// How long a coordinator has to tell what its groups have committed.
const SLOT_WAIT: Duration = Duration::from_secs(2);

/// How many records one group is behind in one topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Lag {
    /// First, so that lags are ordered by it.
    records: Reverse<i64>,
    group: String,
    topic: String,
}

/// The largest of many lags, and how many others there are.
#[derive(PartialEq, Eq, Debug, Default)]
struct Lags {
    largest: Vec<Lag>,
    left_out: usize,
}

impl Lags {
    /// Of the groups of one coordinator. `high_watermark` knows the partitions that count.
    fn of(coordinator: &Coordinator, image: &ClusterImage, high_watermark: impl Fn(TopicPartition) -> Option<i64>) -> Self {
        let mut lags: Vec<Lag> = Vec::new();
        for it in coordinator.committed().filter(|it| 0 <= it.offset) {
            let Some(topic) = image.topic_named(it.topic) else { continue };
            // What was committed in an older topic of that name says nothing about this one.
            if it.topic_id != topic.id && it.topic_id != TopicId::default() {
                continue;
            }
            let Some(end) = high_watermark(TopicPartition::new(topic.id, it.partition)) else { continue };
            // Commits from outside may lie anywhere.
            let behind = end.saturating_sub(it.offset).max(0);
            match lags.last_mut() {
                Some(last) if last.group == it.group_id && last.topic == it.topic => {
                    last.records.0 = last.records.0.saturating_add(behind);
                }
                Some(_) | None => {
                    lags.push(Lag { records: Reverse(behind), group: it.group_id.to_owned(), topic: it.topic.to_owned() });
                }
            }
        }
        let mut lags = Self { largest: lags, left_out: 0 };
        lags.keep(MOST_SERIES);
        lags
    }

    fn add(&mut self, other: Self) {
        self.largest.extend(other.largest);
        self.left_out += other.left_out;
        self.keep(MOST_SERIES);
    }

    fn keep(&mut self, most: usize) {
        self.largest.sort_unstable();
        self.left_out += self.largest.len().saturating_sub(most);
        self.largest.truncate(most);
    }
}

/// The metric, and the reckoning that is behind it.
pub(crate) struct GroupLag {
    known: Mutex<Lags>,
    /// Somebody looked.
    scraped: Notify,
}

impl GroupLag {
    /// Makes the metric known; it shows nothing before [`Self::follow`] runs.
    pub(crate) fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let lag = Arc::new(Self { known: Mutex::default(), scraped: Notify::new() });
        let records = Opts::new(
            "siltstone_group_lag_records",
            "Records between what a group has committed and the high watermark, by group and topic; of partitions that this broker leads.",
        );
        registry.register(Box::new(LagCollector {
            lag: Arc::clone(&lag),
            records: IntGaugeVec::new(records, &["group", "topic"])?,
            left_out: IntGauge::new(
                "siltstone_group_lag_left_out",
                "Groups and topics whose lag is not shown because that of so many others is as large.",
            )?,
        }))?;
        Ok(lag)
    }

    /// Reckons for as long as somebody looks, until the shutdown.
    pub(crate) async fn follow(
        self: Arc<Self>,
        coordinators: Arc<Coordinators>,
        partitions: Arc<Partitions>,
        images: watch::Receiver<Arc<ClusterImage>>,
        shutdown: Shutdown,
    ) {
        let reckon = || reckon(Arc::clone(&coordinators), Arc::clone(&partitions), images.borrow().clone());
        self.keep_known(reckon, &shutdown).await;
    }

    async fn keep_known<F: Future<Output = Lags>>(&self, reckon: impl Fn() -> F, shutdown: &Shutdown) {
        while let Some(()) = shutdown.or(self.scraped.notified()).await {
            shutdown.or(self.while_scraped(&reckon)).await;
            *self.known.lock() = Lags::default();
        }
    }

    async fn while_scraped<F: Future<Output = Lags>>(&self, reckon: impl Fn() -> F) {
        let mut unseen = 0;
        while unseen < UNSEEN_ROUNDS {
            let began = Instant::now();
            let lags = reckon().await;
            *self.known.lock() = lags;
            tokio::time::sleep(INTERVAL.max(began.elapsed() * REST)).await;
            let seen = self.scraped.notified().now_or_never().is_some();
            unseen = if seen { 0 } else { unseen + 1 };
        }
    }
}

/// Asks the coordinators of all slots that are this broker's.
async fn reckon(coordinators: Arc<Coordinators>, partitions: Arc<Partitions>, image: Arc<ClusterImage>) -> Lags {
    let slots = coordinators.owned().into_iter().map(|slot| {
        let (partitions, image) = (Arc::clone(&partitions), Arc::clone(&image));
        let lags = move |coordinator: &mut Coordinator, _: &dyn group::Topics, _| {
            Ok(Lags::of(coordinator, &image, |partition| high_watermark(&partitions, partition)))
        };
        tokio::time::timeout(SLOT_WAIT, coordinators.ask_slot(slot, lags))
    });
    let mut lags = Lags::default();
    // A coordinator that does not answer has nothing that can be shown.
    join_all(slots).await.into_iter().flatten().flatten().for_each(|of_slot| lags.add(of_slot));
    lags
}

/// What ListOffsets answers as the latest offset to whoever does not ask for committed records only.
fn high_watermark(partitions: &Partitions, partition: TopicPartition) -> Option<i64> {
    let offsets = partitions.get(partition).ok()?.readable_offsets().ok()?;
    Some(offsets.visible_end(Isolation::ReadUncommitted).0)
}

/// Shows what is known, and tells that somebody looks.
struct LagCollector {
    lag: Arc<GroupLag>,
    records: IntGaugeVec,
    left_out: IntGauge,
}

impl Collector for LagCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.records.desc(), self.left_out.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.lag.scraped.notify_one();
        // Held until the families are made, so that of two who look at the same time each sees all of it.
        let known = self.lag.known.lock();
        // Groups come and go: what is not there any more is not shown any more.
        self.records.reset();
        for Lag { records, group, topic } in &known.largest {
            self.records.with_label_values(&[group, topic]).set(records.0);
        }
        self.left_out.set(i64::try_from(known.left_out).unwrap_or(i64::MAX));
        [self.records.collect(), self.left_out.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use group::{CommitPartition, CommitRequest, CommitTopic, Now, Options};
    use metadata_api::TopicImage;
    use types::Revision;

    use super::*;

    fn id(byte: u8) -> TopicId {
        TopicId::from_bytes([byte; 16])
    }

    fn image() -> ClusterImage {
        let mut image = ClusterImage::default();
        for (id, name) in [(id(1), "orders"), (id(2), "bills")] {
            let topic = TopicImage {
                id,
                name: name.to_owned(),
                replication_factor: 1,
                configs: [].into(),
                config_revision: Revision(1),
                partitions: Vec::new(),
            };
            image.insert_topic(Arc::new(topic));
        }
        image
    }

    fn commit(coordinator: &mut Coordinator, group_id: &str, topic: &str, id: TopicId, partition: i32, offset: i64) {
        let partition = CommitPartition { partition, offset, leader_epoch: -1, metadata: None };
        let request = CommitRequest {
            group_id: group_id.to_owned(),
            member_id: String::new(),
            instance_id: None,
            generation_or_epoch: -1,
            knows_member_epochs: true,
            retention_ms: None,
            topics: vec![CommitTopic { name: topic.to_owned(), id, partitions: vec![partition] }],
        };
        coordinator.commit_offsets(request, Now::default()).unwrap();
    }

    fn shown(lags: &Lags) -> Vec<(&str, &str, i64)> {
        lags.largest.iter().map(|lag| (lag.group.as_str(), lag.topic.as_str(), lag.records.0)).collect()
    }

    #[test]
    fn a_groups_lag_in_a_topic_is_the_sum_over_the_partitions_that_count() {
        let mut coordinator = Coordinator::new(Options::default());
        for (group_id, topic, id, partition, offset) in [
            ("g", "orders", id(1), 0, 90),
            ("g", "orders", TopicId::default(), 1, 60),
            // Beyond the end, of an older topic, led elsewhere, of a topic that is gone.
            ("g", "orders", id(1), 2, 101),
            ("g", "orders", id(7), 3, 0),
            ("g", "orders", id(1), 9, 0),
            ("g", "gone", id(1), 0, 0),
            ("g", "bills", id(2), 0, 100),
            ("h", "orders", id(1), 0, 0),
        ] {
            commit(&mut coordinator, group_id, topic, id, partition, offset);
        }
        let lags = Lags::of(&coordinator, &image(), |partition| (partition.partition < 9).then_some(100));
        assert_eq!(shown(&lags), [("h", "orders", 100), ("g", "orders", 50), ("g", "bills", 0)]);
        assert_eq!(lags.left_out, 0);
    }

    #[test]
    fn of_too_many_lags_the_largest_are_kept_and_the_others_counted() {
        let lag = |group: &str, records| Lag { records: Reverse(records), group: group.to_owned(), topic: "t".to_owned() };
        let mut lags = Lags { largest: vec![lag("a", 1), lag("c", 3), lag("b", 3), lag("d", 9)], left_out: 2 };
        lags.keep(2);
        assert_eq!(shown(&lags), [("d", "t", 9), ("b", "t", 3)]);
        assert_eq!(lags.left_out, 4);
        let many = |from: usize| Lags { largest: (from..from + MOST_SERIES).map(|n| lag("g", n as i64)).collect(), left_out: 1 };
        let mut both = many(0);
        both.add(many(MOST_SERIES));
        assert_eq!((both.largest.len(), both.left_out), (MOST_SERIES, 2 + MOST_SERIES));
        assert_eq!(both.largest[MOST_SERIES - 1].records.0, MOST_SERIES as i64);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reckoned_unless_somebody_looks_and_nothing_old_is_shown_afterwards() {
        let registry = Registry::new();
        let lag = GroupLag::register(&registry).unwrap();
        let rounds = Cell::new(0);
        let reckon = || {
            rounds.set(rounds.get() + 1);
            let lag = Lag { records: Reverse(5), group: "g".to_owned(), topic: "t".to_owned() };
            std::future::ready(Lags { largest: vec![lag], left_out: 0 })
        };
        let series = || registry.gather().iter().filter(|family| family.name() == "siltstone_group_lag_records").count();
        let shutdown = Shutdown::new();
        let mut keeping = Box::pin(lag.keep_known(reckon, &shutdown));
        let mut pass = async |time| tokio::time::timeout(time, &mut keeping).await;
        assert!(pass(Duration::from_secs(3600)).await.is_err());
        assert_eq!((rounds.get(), series()), (0, 0));
        assert!(pass(INTERVAL / 2).await.is_err());
        assert_eq!((rounds.get(), series()), (1, 1));
        assert!(pass(Duration::from_secs(3600)).await.is_err());
        // The second look kept it going for one more round than the first alone had.
        assert_eq!((rounds.get(), series()), (UNSEEN_ROUNDS + 1, 0));
    }
}
