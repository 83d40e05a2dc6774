//! Coordinator slots: who may read and save, what is saved once, and what a save copies.

use std::sync::Arc;

use metadata_api::{MAX_SAVE_BYTES, MAX_SLOT_BYTES, ROW_OVERHEAD, SaveRows, SlotOwner, SlotRows, SlotTaken, TakeSlot};
use runtime::{ManualClock, Random};
use store::MemoryStore;
use types::{SaveSequence, SlotEpoch};

use super::*;
use crate::snapshot;
use crate::state::RowsSaved;

const SLOT: fn() -> CoordinatorSlot = || group_slot(7);

impl World {
    /// Brokers 1 and 2 are registered, and broker 1 took the slot.
    fn with_slot() -> Self {
        let mut world = Self::empty();
        world.register(register(1, 1)).unwrap();
        world.register(register(2, 2)).unwrap();
        assert_eq!(world.take(1, SLOT()).unwrap().slot_epoch, SlotEpoch(1));
        world
    }

    fn take(&mut self, broker: i32, slot: CoordinatorSlot) -> Result<SlotTaken, MetadataError> {
        let epoch = self.epoch(broker);
        match self.run(Command::TakeSlot(TakeSlot { broker: BrokerId(broker), epoch, slot }))? {
            Answer::SlotTaken(taken) => Ok(taken),
            other => panic!("{other:?}"),
        }
    }

    /// The next save of a broker in the slot epoch in force; rows without value are removed.
    fn next_save(&self, broker: i32, rows: &[(&str, Option<&str>)]) -> SaveRows {
        let slot = &self.state.slots[&SLOT()];
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        SaveRows {
            broker: BrokerId(broker),
            epoch: self.epoch(broker),
            slot: SLOT(),
            slot_epoch: slot.epoch,
            sequence: SaveSequence(slot.last_save.map_or(1, |last| last.sequence.0 + 1)),
            rows: rows.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect(),
        }
    }

    fn save(&mut self, request: SaveRows) -> Result<Revision, MetadataError> {
        match self.run(Command::SaveRows(request))? {
            Answer::Revision(revision) => Ok(revision),
            other => panic!("{other:?}"),
        }
    }

    fn page(&mut self, slot_epoch: i32, after: Option<&str>, limit_bytes: u32) -> Result<(Vec<(String, String)>, bool), MetadataError> {
        let after_key = after.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let request = SlotRows { slot: SLOT(), slot_epoch: SlotEpoch(slot_epoch), after_key, limit_bytes };
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match self.run(Command::SlotRows(request))? {
            Answer::RowPage(page) => {
                assert_eq!(page.revision, self.state.revision);
                Ok((page.rows.into_iter().map(|(key, value)| (text(key), text(value))).collect(), page.more))
            }
            other => panic!("{other:?}"),
        }
    }

    fn rows(&mut self) -> Vec<(String, String)> {
        let epoch = self.state.slots[&SLOT()].epoch.0;
        self.page(epoch, None, u32::MAX).unwrap().0
    }
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn fenced(epoch: i32, current: i32) -> MetadataError {
    MetadataError::SlotFenced { slot: SLOT(), epoch: SlotEpoch(epoch), current: SlotEpoch(current) }
}

#[test]
fn any_live_broker_takes_any_slot_and_each_time_the_epoch_rises() {
    let mut world = World::with_slot();
    for (broker, slot, epoch) in [(2, SLOT(), 2), (2, SLOT(), 3), (1, SLOT(), 4), (1, group_slot(0), 1), (2, group_slot(49), 1)] {
        let taken = world.take(broker, slot).unwrap();
        assert_eq!(taken, SlotTaken { slot_epoch: SlotEpoch(epoch), revision: world.state.revision });
        assert_eq!(world.image.slots[&slot], SlotOwner { broker: BrokerId(broker), epoch: SlotEpoch(epoch) });
    }
    let same_number = CoordinatorSlot::new(CoordinatorKind::Transaction, 7).unwrap();
    assert_eq!(world.take(2, same_number).unwrap().slot_epoch, SlotEpoch(1), "each kind has its own slots");
    assert_eq!(world.image.slots.len(), 4, "a slot nobody took has no owner");
}

#[test]
fn a_broker_that_is_fenced_or_dead_takes_and_saves_nothing() {
    let mut world = World::with_slot();
    let former = world.epoch(1);
    let save = world.next_save(1, &[("a", Some("1"))]);
    world.register(register(1, 1)).unwrap();
    let take = |epoch| Command::TakeSlot(TakeSlot { broker: BrokerId(1), epoch, slot: SLOT() });
    let current = world.epoch(1);
    let stale = MetadataError::Fenced { broker: BrokerId(1), epoch: former, current };
    assert_eq!(world.run(take(former)), Err(stale.clone()));
    assert_eq!(world.save(save.clone()), Err(stale));
    // The new process did not take it: it cannot have read the rows.
    let invalid = invalid(world.save(SaveRows { epoch: current, ..save }));
    assert!(invalid.contains("was taken by broker 1 in its epoch"), "{invalid}");
    world.expire(1);
    assert!(matches!(world.run(take(current)), Err(MetadataError::Fenced { .. })));
    assert_eq!(world.rows(), []);
}

#[test]
fn the_slot_epoch_of_another_broker_is_no_leave_to_save() {
    let mut world = World::with_slot();
    let detail = invalid(world.save(world.next_save(2, &[("a", Some("1"))])));
    assert!(detail.contains("group slot 7 was taken by broker 1"), "{detail}");
    assert_eq!(world.rows(), []);
}

#[test]
fn once_a_slot_is_taken_older_epochs_read_and_save_nothing() {
    let mut world = World::with_slot();
    let first = world.next_save(1, &[("a", Some("1"))]);
    world.save(first.clone()).unwrap();
    let in_flight = world.next_save(1, &[("a", Some("2"))]);
    world.take(2, SLOT()).unwrap();
    assert_eq!(world.save(in_flight), Err(fenced(1, 2)));
    assert_eq!(world.save(first), Err(fenced(1, 2)), "not even its repeat is answered");
    assert_eq!(world.page(1, None, 1), Err(fenced(1, 2)));
    assert_eq!(world.page(3, None, 1), Err(fenced(3, 2)), "an epoch that was not given yet");
    assert_eq!(world.page(2, None, 1).unwrap().0, pairs(&[("a", "1")]));
    world.save(world.next_save(2, &[("b", Some("1"))])).unwrap();
    assert_eq!(world.rows(), pairs(&[("a", "1"), ("b", "1")]));
}

#[test]
fn a_slot_that_nobody_took_is_read_and_saved_by_nobody() {
    let mut world = World::with_slot();
    let save = SaveRows { slot: group_slot(8), ..world.next_save(1, &[]) };
    for epoch in [0, 1] {
        let expected = MetadataError::SlotFenced { slot: group_slot(8), epoch: SlotEpoch(epoch), current: SlotEpoch(0) };
        assert_eq!(world.save(SaveRows { slot_epoch: SlotEpoch(epoch), ..save.clone() }).as_ref(), Err(&expected));
        let read = SlotRows { slot: group_slot(8), slot_epoch: SlotEpoch(epoch), after_key: None, limit_bytes: 1 };
        assert_eq!(world.run(Command::SlotRows(read)), Err(expected));
    }
}

#[test]
fn a_session_that_ends_leaves_its_slots_as_they_are() {
    let mut world = World::with_slot();
    world.save(world.next_save(1, &[("a", Some("1"))])).unwrap();
    let owner = SlotOwner { broker: BrokerId(1), epoch: SlotEpoch(1) };
    world.expire(1);
    assert_eq!(world.image.slots[&SLOT()], owner);
    world.happen(&[Event::LeaderStarted]);
    assert_eq!(world.image.slots[&SLOT()], owner);
    assert_eq!(world.rows(), pairs(&[("a", "1")]));
    world.take(2, SLOT()).unwrap();
    assert_eq!(world.image.slots[&SLOT()], SlotOwner { broker: BrokerId(2), epoch: SlotEpoch(2) });
}

/// Rows to save, and the rows that there are afterwards.
type Save<'a> = (&'a [(&'a str, Option<&'a str>)], &'a [(&'a str, &'a str)]);

#[test]
fn a_save_puts_and_removes_rows_and_the_last_value_of_a_key_counts() {
    let mut world = World::with_slot();
    let saves: [Save<'_>; 5] = [
        (&[("b", Some("1")), ("a", Some("1")), ("c", Some(""))], &[("a", "1"), ("b", "1"), ("c", "")]),
        (&[("a", None), ("z", None)], &[("b", "1"), ("c", "")]),
        (&[("b", Some("2")), ("b", Some("3")), ("c", None), ("c", Some("3"))], &[("b", "3"), ("c", "3")]),
        (&[("d", Some("4")), ("d", None), ("b", Some("4")), ("b", None)], &[("c", "3")]),
        (&[], &[("c", "3")]),
    ];
    for (save, expected) in saves {
        let before = world.events.len();
        world.save(world.next_save(1, save)).unwrap();
        assert_eq!(world.rows(), pairs(expected));
        assert_eq!(world.events.len(), before + 1, "a save is one event");
    }
    assert_eq!(world.state.slots[&SLOT()].rows.bytes(), (ROW_OVERHEAD + 2) as u64);
}

#[test]
fn a_repeat_of_the_last_save_is_answered_and_not_redone() {
    let mut world = World::with_slot();
    let request = world.next_save(1, &[("a", Some("1")), ("b", None)]);
    let revision = world.save(request.clone()).unwrap();
    assert_eq!(revision, world.state.revision);
    world.create(2, create("other", 1)).unwrap();
    let before = world.state.clone();
    assert_eq!(world.save(request.clone()), Ok(revision));
    assert!(world.state == before);
    let changed = SaveRows { rows: vec![(Bytes::from_static(b"a"), None)], ..request };
    assert!(invalid(world.save(changed)).contains("save 1 of group slot 7 was sent before with other content"));
}

#[test]
fn a_save_that_arrives_again_after_a_later_one_does_not_undo_it() {
    let mut world = World::with_slot();
    let first = world.next_save(1, &[("a", Some("1"))]);
    world.save(first.clone()).unwrap();
    world.save(world.next_save(1, &[("a", Some("2"))])).unwrap();
    assert!(invalid(world.save(first)).contains("save 1 of group slot 7 follows save 2"));
    assert_eq!(world.rows(), pairs(&[("a", "2")]));
}

#[test]
fn saves_are_numbered_without_gaps_and_anew_in_each_slot_epoch() {
    let mut world = World::with_slot();
    let numbered = |world: &World, sequence| SaveRows { sequence: SaveSequence(sequence), ..world.next_save(1, &[("a", Some("1"))]) };
    for sequence in [0, 2, u64::MAX] {
        assert!(invalid(world.save(numbered(&world, sequence))).contains("follows save 0"), "{sequence}");
    }
    world.save(numbered(&world, 1)).unwrap();
    world.save(numbered(&world, 2)).unwrap();
    world.take(1, SLOT()).unwrap();
    assert!(invalid(world.save(numbered(&world, 3))).contains("follows save 0"));
    world.save(numbered(&world, 1)).unwrap();
}

#[test]
fn a_save_has_a_bound_and_every_row_counts() {
    let mut world = World::with_slot();
    let fits = "v".repeat(MAX_SAVE_BYTES - 2 * (ROW_OVERHEAD + 1));
    let before = world.state.clone();
    let detail = invalid(world.save(world.next_save(1, &[("a", Some(&fits)), ("bb", None)])));
    assert!(detail.contains("split it"), "{detail}");
    let nameless = invalid(world.save(world.next_save(1, &[("a", Some("1")), ("", None)])));
    assert!(nameless.contains("a row without a key"), "{nameless}");
    assert!(world.state == before);
    world.save(world.next_save(1, &[("a", Some(&fits)), ("b", None)])).unwrap();
}

#[test]
fn a_full_slot_takes_only_what_makes_it_no_larger() {
    let mut world = World::with_slot();
    let large = "v".repeat(MAX_SAVE_BYTES - ROW_OVERHEAD - 3);
    // As many as fit, put there without a save for each.
    let count = usize::try_from(MAX_SLOT_BYTES).unwrap() / MAX_SAVE_BYTES;
    let rows = &mut world.state.slots.get_mut(&SLOT()).unwrap().rows;
    let value = large.as_bytes().into();
    for number in 0..count {
        rows.put(&format!("{number:03}").as_bytes().into(), Some(&value), Revision(1));
    }
    assert_eq!(rows.bytes(), MAX_SLOT_BYTES);
    let refused = world.save(world.next_save(1, &[("x", Some("")), ("000", Some(&large[..100]))]));
    assert_eq!(refused.as_ref().err(), None, "it grows by one row and shrinks by more");
    let refused = world.save(world.next_save(1, &[("y", Some(&large))]));
    assert!(matches!(&refused, Err(MetadataError::Unavailable { detail }) if detail.contains("group slot 7 would hold")), "{refused:?}");
    world.save(world.next_save(1, &[("y", None), ("001", None)])).unwrap();
    world.save(world.next_save(1, &[("y", Some(&large))])).unwrap();
}

#[test]
fn pages_are_in_the_order_of_keys_and_no_larger_than_asked() {
    let mut world = World::with_slot();
    let keys: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
    let saved: Vec<_> = keys.iter().rev().map(|key| (key.as_str(), Some("v"))).collect();
    world.save(world.next_save(1, &saved)).unwrap();
    let row = u32::try_from(ROW_OVERHEAD + 3).unwrap();
    for (limit, rows_in_page) in [(0, 1), (1, 1), (row, 1), (row * 2 - 1, 1), (row * 2, 2), (row * 7, 7), (u32::MAX, 100)] {
        let mut read: Vec<String> = Vec::new();
        loop {
            let (page, more) = world.page(1, read.last().cloned().as_deref(), limit).unwrap();
            assert_eq!(page.len(), rows_in_page.min(100 - read.len()), "limit {limit}");
            read.extend(page.into_iter().map(|(key, _)| key));
            assert_eq!(more, read.len() < 100, "limit {limit}");
            if !more {
                break;
            }
        }
        assert_eq!(read, keys, "limit {limit}");
    }
    let (after_a_key_that_is_not_there, _) = world.page(1, Some("97x"), u32::MAX).unwrap();
    assert_eq!(after_a_key_that_is_not_there, pairs(&[("98", "v"), ("99", "v")]));
    assert_eq!(world.page(1, Some("99"), 1).unwrap(), (Vec::new(), false));
}

#[test]
fn a_save_after_a_snapshot_copies_the_shards_it_touches_and_nothing_else() {
    let mut world = World::with_slot();
    let keys: Vec<_> = (0..1000).map(|number| format!("group {number}")).collect();
    let saved: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
    world.save(world.next_save(1, &saved)).unwrap();
    let snapshot = world.state.clone();
    world.save(world.next_save(1, &[("group 1", Some("w")), ("group 2", None)])).unwrap();
    let (before, after) = (&snapshot.slots[&SLOT()].rows, &world.state.slots[&SLOT()].rows);
    let copied = before.shards().iter().zip(after.shards()).filter(|(before, after)| !Arc::ptr_eq(before, after)).count();
    assert_eq!(copied, 2);
    assert!(snapshot.shards.iter().zip(&world.state.shards).all(|(before, after)| Arc::ptr_eq(before, after)));
    assert_eq!(before.get(b"group 1").map(AsRef::as_ref), Some(&b"v"[..]), "the snapshot is as it was");
    let rows = before.shards().iter().map(|shard| shard.rows.len());
    assert!(rows.clone().max() <= Some(100) && rows.sum::<usize>() == 1000, "spread over the shards");
}

#[tokio::test]
async fn a_snapshot_names_unchanged_rows_again_and_gives_everything_back() {
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
    let random = Random::seeded(1);
    let mut world = World::with_slot();
    let keys: Vec<_> = (0..1000).map(|number| format!("group {number}")).collect();
    let saved: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
    let request = world.next_save(1, &saved);
    let revision = world.save(request.clone()).unwrap();
    world.take(2, CoordinatorSlot::new(CoordinatorKind::Transaction, 49).unwrap()).unwrap();
    let (taken, first) = snapshot::write(&store, &random, &world.state, 1, None).await.unwrap();
    let (loaded, _) = snapshot::load(&store, &taken.manifest).await.unwrap();
    assert!(loaded == world.state);

    let mut after = World { state: loaded, ..world.clone() };
    assert_eq!(after.save(request.clone()), Ok(revision), "a repeat is known after a restart too");
    assert!(invalid(after.save(SaveRows { sequence: SaveSequence(3), ..request })).contains("follows save 1"));

    after.save(after.next_save(1, &[("group 1", None)])).unwrap();
    let (taken, second) = snapshot::write(&store, &random, &after.state, 2, Some(&first)).await.unwrap();
    let again = second.shards.iter().filter(|piece| first.shards.contains(piece)).count();
    assert_eq!((first.shards.len(), second.shards.len(), again), (32, 32, 31));
    let (loaded, _) = snapshot::load(&store, &taken.manifest).await.unwrap();
    assert!(loaded == after.state);
}

#[tokio::test]
async fn a_program_that_knows_no_slots_reads_no_snapshot_with_slots() {
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
    let random = Random::seeded(1);
    let mut world = World::empty();
    world.register(register(1, 1)).unwrap();
    for (has_slots, version) in [(false, 1), (true, 2)] {
        if has_slots {
            world.take(1, SLOT()).unwrap();
        }
        let (taken, _) = snapshot::write(&store, &random, &world.state, 1, None).await.unwrap();
        let manifest = store::ObjectStore::get(&store, &taken.manifest, 1 << 20).await.unwrap();
        assert_eq!(u16::from_le_bytes([manifest[4], manifest[5]]), version);
    }
}

/// 10,000 groups with offsets of 100 partitions each.
#[tokio::test]
async fn a_million_rows_are_held_read_and_written() {
    let mut state = World::with_slot().state;
    for number in 0..50 {
        let epoch = SlotEpoch(state.slots.get(&group_slot(number)).map_or(1, |slot| slot.epoch.0 + 1));
        let (broker, broker_epoch) = (BrokerId(1), BrokerEpoch(4));
        state.apply(&Event::SlotTaken { slot: group_slot(number), epoch, broker, broker_epoch }, Timestamp(NOW));
    }
    for group in 0..10_000_u32 {
        let slot = group_slot(u8::try_from(group % 50).unwrap());
        let row = |partition| (format!("offset/group-{group:05}/some-topic/{partition}").as_bytes().into(), Some([7; 24][..].into()));
        let sequence = SaveSequence(u64::from(group / 50) + 1);
        let saved = RowsSaved { slot, epoch: state.slots[&slot].epoch, sequence, digest: 0, rows: (0..100).map(row).collect() };
        state.apply(&Event::RowsSaved(Box::new(saved)), Timestamp(NOW));
    }
    let rows = |state: &State| state.slots.values().flat_map(|slot| slot.rows.shards()).map(|shard| shard.rows.len()).sum::<usize>();
    assert_eq!(rows(&state), 1_000_000);
    let largest = state.slots.values().flat_map(|slot| slot.rows.shards()).map(|shard| shard.rows.len()).max();
    assert!(largest < Some(1000), "{largest:?}");
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
    let (taken, manifest) = snapshot::write(&store, &Random::seeded(1), &state, 1, None).await.unwrap();
    assert_eq!(manifest.shards.len(), 50 * 32);
    let (loaded, _) = snapshot::load(&store, &taken.manifest).await.unwrap();
    assert!(loaded == state);
}
