//! The publish call, one request repeated as it is until it is answered; and what the answer means for each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metadata_api::{MetadataClient, MetadataError, PartitionPublish, PartitionRefusal, PartitionVerdict, PublishAnswer, PublishRequest};
use runtime::{Backoff, Random};
use tokio::time::timeout;
use types::{Durability, Offset, TopicPartition};
use wal::WriteAheadLog;

use crate::handle::Change;
use crate::lost::keep_aside;
use crate::offload::Deps;
use crate::retry::Failing;
use crate::{Failpoints, LostEntries, OffloadError, Published, Step};

const AGAIN: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_secs(1), jitter: 0.5, budget: Duration::MAX };

/// How long one call may take. The client's own deadline should end it sooner; a call that nobody ends would end all publishing.
const DEADLINE: Duration = Duration::from_secs(10);

/// Publishes ranges, and keeps aside what is refused.
pub(crate) struct Publisher {
    metadata: Arc<dyn MetadataClient>,
    wal: Arc<dyn WriteAheadLog>,
    lost: Arc<dyn LostEntries>,
    failpoints: Arc<dyn Failpoints>,
    random: Random,
    failing: Failing,
}

impl Publisher {
    pub(crate) fn new(deps: &Deps, failing: Failing) -> Self {
        Self {
            metadata: Arc::clone(&deps.metadata),
            wal: Arc::clone(&deps.wal),
            lost: Arc::clone(&deps.lost),
            failpoints: Arc::clone(&deps.failpoints),
            random: deps.random.fork(),
            failing,
        }
    }

    /// Publishes `request` and keeps aside what must be. `held` are parts of the range that belong to stopped partitions.
    pub(crate) async fn publish(self: Arc<Self>, request: PublishRequest, held: Vec<PartitionPublish>) -> Result<Answered, OffloadError> {
        let answer = self.ask(&request).await?;
        if self.failpoints.stop_at(Step::PublishSent, request.sequence) {
            return Err(OffloadError::Killed(Step::PublishSent));
        }
        let mut answered = Answered {
            object_bytes: request.object.map_or(0, |object| object.length),
            parts: request.partitions.iter().zip(&answer.verdicts).map(|(part, verdict)| Part::of(part, verdict.clone())).collect(),
            held: held.iter().map(|part| (part.partition, part.segment.base, part.segment.end)).collect(),
            answer,
            kept: true,
        };
        answered.report();
        let aside = self.to_keep(&answered);
        if !aside.is_empty() {
            let (first, end) = (request.first_lsn, request.end_lsn);
            // The log still holds the range: it is trimmed after this.
            let keep = move || keep_aside(&*self.wal, &*self.lost, first, end, |partition, _| aside.contains(&partition));
            let kept = tokio::task::spawn_blocking(keep).await;
            if let Err(error) = kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                tracing::error!(%first, "refused entries could not be kept aside, the log is not trimmed past them: {error}");
                answered.kept = false;
            }
        }
        Ok(answered)
    }

    /// Sends the request until the service has answered it. "Unknown" and "not available" are no answers: the same sequence with the
    /// same content is recognised by the service, never redone, so only asking again tells what happened (rule R12). Without an end:
    /// whoever stops drops the future.
    async fn ask(&self, request: &PublishRequest) -> Result<PublishAnswer, OffloadError> {
        let mut retries = AGAIN.start();
        loop {
            let answer = timeout(DEADLINE, self.metadata.publish(request.clone())).await;
            let answer = answer.unwrap_or_else(|_| Err(MetadataError::Unknown { detail: format!("no answer within {DEADLINE:?}") }));
            let error = match answer {
                Ok(answer) if answer.verdicts.len() == request.partitions.len() => {
                    self.failing.over(request.sequence);
                    return Ok(answer);
                }
                Ok(answer) => {
                    let (got, asked) = (answer.verdicts.len(), request.partitions.len());
                    MetadataError::Invalid { detail: format!("{got} verdicts for {asked} partitions") }
                }
                Err(error) => error,
            };
            match error {
                MetadataError::Unknown { .. } | MetadataError::Unavailable { .. } => {
                    self.failing.report(request.sequence, retries.attempts(), &error);
                    retries.wait(&self.random).await;
                }
                MetadataError::Fenced { broker, epoch, current } => return Err(OffloadError::Fenced { broker, epoch, current }),
                source => {
                    return Err(OffloadError::Refused { first_lsn: request.first_lsn, end_lsn: request.end_lsn, source });
                }
            }
        }
    }

    /// Partitions whose entries must not go with the log: those of a stopped partition, and acknowledged ones of a partition that is
    /// not ours any more. Where the level is `object` nothing unpublished was acknowledged.
    fn to_keep(&self, answered: &Answered) -> BTreeSet<TopicPartition> {
        let image = self.metadata.image();
        let image = image.borrow();
        let refused = answered.parts.iter().filter(|part| match &part.verdict {
            PartitionVerdict::Refused(PartitionRefusal::NotOwned { .. }) => {
                image.partition(part.partition).is_none_or(|partition| partition.durability != Durability::Object)
            }
            PartitionVerdict::Refused(PartitionRefusal::WrongOffset { .. }) => true,
            PartitionVerdict::Refused(PartitionRefusal::Gone) | PartitionVerdict::Accepted { .. } => false,
        });
        refused.map(|part| part.partition).chain(answered.held.iter().map(|(partition, ..)| *partition)).collect()
    }
}

/// One partition's part of an answered publish.
struct Part {
    partition: TopicPartition,
    base: Offset,
    end: Offset,
    verdict: PartitionVerdict,
}

impl Part {
    fn of(part: &PartitionPublish, verdict: PartitionVerdict) -> Self {
        Self { partition: part.partition, base: part.segment.base, end: part.segment.end, verdict }
    }
}

/// A publish that was recorded, with its verdicts.
pub(crate) struct Answered {
    pub(crate) answer: PublishAnswer,
    /// Length of the object.
    pub(crate) object_bytes: u64,
    parts: Vec<Part>,
    /// Of stopped partitions: not asked for.
    held: Vec<(TopicPartition, Offset, Offset)>,
    /// Whether everything that had to be kept aside is.
    kept: bool,
}

impl Answered {
    /// Everything in the range, sorted by partition.
    pub(crate) fn published(
        &self,
        stopped: &BTreeMap<TopicPartition, Offset>,
        gone: &BTreeMap<TopicPartition, (Offset, Offset)>,
    ) -> Vec<Published> {
        let refused = |partition: &TopicPartition, base: Offset, end: Offset, why: PartitionRefusal| Published {
            partition: *partition,
            base,
            end,
            verdict: PartitionVerdict::Refused(why),
        };
        let answered = self.parts.iter().map(|part| Published {
            partition: part.partition,
            base: part.base,
            end: part.end,
            verdict: part.verdict.clone(),
        });
        let held = self.held.iter().map(|(partition, base, end)| {
            let next_offset = stopped.get(partition).copied().unwrap_or(*base);
            refused(partition, *base, *end, PartitionRefusal::WrongOffset { next_offset })
        });
        let gone = gone.iter().map(|(partition, (base, end))| refused(partition, *base, *end, PartitionRefusal::Gone));
        let mut published: Vec<Published> = answered.chain(held).chain(gone).collect();
        published.sort_by_key(|part| part.partition);
        published
    }

    /// Partitions that have a segment more.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = TopicPartition> {
        self.parts.iter().filter(|part| matches!(part.verdict, PartitionVerdict::Accepted { .. })).map(|part| part.partition)
    }

    /// Partitions that are not part of the object although it holds batches of theirs.
    pub(crate) fn refused(&self) -> impl Iterator<Item = TopicPartition> {
        let refused = self.parts.iter().filter(|part| matches!(part.verdict, PartitionVerdict::Refused(_)));
        refused.map(|part| part.partition).chain(self.held.iter().map(|(partition, ..)| *partition))
    }

    /// Partitions that stop here, with the offset that was expected.
    pub(crate) fn wrong_offsets(&self) -> impl Iterator<Item = (TopicPartition, Offset)> {
        self.parts.iter().filter_map(|part| match part.verdict {
            PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset }) => Some((part.partition, next_offset)),
            PartitionVerdict::Refused(PartitionRefusal::Gone | PartitionRefusal::NotOwned { .. }) | PartitionVerdict::Accepted { .. } => {
                None
            }
        })
    }

    /// Whether the log must keep the range: entries of a stopped partition are in it, or some that could not be kept aside.
    pub(crate) fn must_stay(&self) -> bool {
        !self.kept || !self.held.is_empty() || self.wrong_offsets().next().is_some()
    }

    /// Partitions that exist no more.
    pub(crate) fn forget(&self) -> impl Iterator<Item = Change> {
        let gone = self.parts.iter().filter(|part| part.verdict == PartitionVerdict::Refused(PartitionRefusal::Gone));
        gone.map(|part| Change::Forget(part.partition))
    }

    fn report(&self) {
        for Part { partition, base, end, verdict } in &self.parts {
            match verdict {
                PartitionVerdict::Accepted { .. } => {}
                PartitionVerdict::Refused(PartitionRefusal::Gone) => {
                    // As asked for, and a line for every partition of the topic.
                    tracing::debug!(%partition, %base, %end, "not published: the topic was deleted");
                }
                PartitionVerdict::Refused(PartitionRefusal::NotOwned { leader_epoch }) => {
                    tracing::warn!(%partition, %base, %end, %leader_epoch, "not published: the partition belongs to another log");
                }
                PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset }) => {
                    tracing::error!(
                        %partition, %base, %end, expected = %next_offset,
                        "not published: metadata expects another offset; the partition is stopped and its entries are kept"
                    );
                }
            }
        }
    }
}
