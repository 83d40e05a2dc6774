//! Retention: which log starts move because segments are too old or a partition is too large (`retention.ms`, `retention.bytes`).
//!
//! Whole segments go, from the front, as in Kafka. A segment's age is that of its largest timestamp; one in the future counts as
//! the time of the last append, so that one wrong clock does not keep a partition for ever. Only published segments are looked at:
//! what lies in a write-ahead log is not touched.

use types::{SegmentRef, Timestamp};

use super::command::{Answer, Rules};
use super::decision::{Decision, Reply};
use super::event::Event;
use super::{Partition, State, Topic};

/// Most partitions whose log start one event moves; the next round moves the rest.
const MAX_PARTITIONS: usize = 10_000;
/// How far ahead of the journal's clock a timestamp may be before it is thought wrong.
const FUTURE_MS: i64 = 3_600_000;

pub(super) fn decide(state: &State, rules: &Rules, now: Timestamp) -> Decision {
    if !rules.clock_trusted {
        return Decision::answer(Answer::Done);
    }
    let mut moved = Vec::new();
    for (id, topic) in &state.topics {
        if !deletes(topic) {
            continue;
        }
        for (partition, found) in state.partitions_of(*id, topic.partitions) {
            let limits = Limits::of(topic, state, found, rules);
            let log_start = limits.log_start(state, found, now);
            if found.log_start < log_start {
                moved.push((partition, log_start));
            }
        }
        if MAX_PARTITIONS <= moved.len() {
            break;
        }
    }
    if moved.is_empty() {
        return Decision::answer(Answer::Done);
    }
    let event = Event::LogStartsAdvanced { partitions: moved, not_before: rules.not_before(now) };
    Decision::event(Reply::Ready(Answer::Done), event)
}

struct Limits {
    ms: i64,
    bytes: i64,
}

/// Whether the topic's cleanup policy deletes.
fn deletes(topic: &Topic) -> bool {
    let policy = topic.configs.get("cleanup.policy").map_or("delete", String::as_str);
    policy.split(',').any(|policy| policy.trim() == "delete")
}

impl Limits {
    /// What the topic says, else what is set on the partition's leader or on all brokers, else the rules. A value that does not parse was
    /// let in by a broker that knew more: nothing is deleted by it.
    fn of(topic: &Topic, state: &State, partition: &Partition, rules: &Rules) -> Self {
        let value = |name: &str, broker: &str, default: i64| {
            let set = topic.configs.get(name).map(String::as_str).or_else(|| state.broker_config(partition.leader, broker));
            set.map_or(default, |value| value.trim().parse().unwrap_or(-1))
        };
        Self {
            ms: value("retention.ms", "log.retention.ms", rules.retention_ms),
            bytes: value("retention.bytes", "log.retention.bytes", rules.retention_bytes),
        }
    }

    fn log_start(&self, state: &State, partition: &Partition, now: Timestamp) -> types::Offset {
        if self.ms < 0 && self.bytes < 0 {
            return partition.log_start;
        }
        let old_before = state.stamped_before(now, self.ms);
        let mut log_start = partition.log_start;
        // The entry of a last segment that the log start has passed is still there; it holds nothing that counts.
        let mut live = partition.segments.from(log_start).peekable();
        let mut bytes = match live.peek() {
            Some(_) => i64::try_from(partition.segments.bytes()).unwrap_or(i64::MAX),
            None => 0,
        };
        for segment in live {
            let size = i64::try_from(segment.bytes).unwrap_or(i64::MAX);
            let is_old = 0 <= self.ms && stamp(segment, now) < old_before;
            let is_surplus = 0 <= self.bytes && self.bytes <= bytes - size;
            if !is_old && !is_surplus {
                break;
            }
            bytes -= size;
            log_start = segment.end;
        }
        log_start.min(partition.next_offset)
    }
}

/// The time that a segment's age counts from.
fn stamp(segment: &SegmentRef, now: Timestamp) -> Timestamp {
    let is_future = now.0.saturating_add(FUTURE_MS) < segment.max_timestamp.0;
    if segment.max_timestamp.0 < 0 || is_future { segment.append_times.1 } else { segment.max_timestamp }
}
