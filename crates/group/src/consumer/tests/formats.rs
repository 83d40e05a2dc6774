//! The bytes of the rows stay what they are. `UPDATE_GOLDEN=1 cargo test -p group golden` writes the file of a new version; that of a
//! released one is never written again.

use std::fmt::Write;

use bytes::Bytes;
use proptest::prelude::*;
use types::TopicId;

use super::world::*;
use crate::consumer::Loaded;
use crate::consumer::assignment::{Held, Partitions};
use crate::consumer::member::{ClassicMember, Current, MemberState, Subscription};
use crate::consumer::rows;
use crate::row::Kind;
use crate::{AssignorName, Row, RowError};

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

fn held(partitions: &[(u8, i32, i32)]) -> Held {
    let mut held = Held::new();
    for (number, partition, since) in partitions {
        held.entry(topic(*number)).or_default().insert(*partition, *since);
    }
    held
}

/// Every kind of row, with every field set.
fn examples() -> Vec<Row> {
    let classic = ClassicMember { session_timeout_ms: 45_000, protocols: vec![("range".to_owned(), Bytes::from_static(&[0, 1]))] };
    let subscription = Subscription {
        instance_id: Some("instance".to_owned()),
        rack_id: Some("rack".to_owned()),
        client_id: "client".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        rebalance_timeout_ms: 300_000,
        topics: ["orders".to_owned(), "other".to_owned()].into(),
        regex: "o.*".to_owned(),
        assignor: Some(AssignorName::Range),
        classic: Some(classic),
    };
    let current = Current {
        state: MemberState::UnrevokedPartitions,
        epoch: 7,
        previous_epoch: 6,
        assigned: held(&[(1, 0, 5), (1, 1, 7), (2, 0, 7)]),
        revoking: held(&[(1, 300, 4)]),
    };
    let target = Partitions::from([(topic(1), [0, 1].into()), (topic(2), [0].into())]);
    let mut rows = vec![
        rows::group("group", 8, 0x0123_4567_89ab_cdef),
        rows::target_epoch("group", 7),
        rows::subscription("group", "member", &subscription),
        rows::current("group", "member", &current),
        rows::target("group", "member", &target),
        rows::regex("group", "o.*", &["orders".to_owned(), "other".to_owned()].into()),
    ];
    rows.extend(rows::no_member("group", "member"));
    rows.extend(rows::no_group("group"));
    rows.push(rows::no_regex("group", "o.*"));
    rows
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[test]
fn golden_rows_of_consumer_groups_stay_what_they_are() {
    let text: String = examples()
        .iter()
        .map(|row| format!("{} {}\n", hex(&row.key), row.value.as_ref().map_or("-".to_owned(), |value| hex(value))))
        .collect();
    let path = format!("{}/golden/consumer-v1.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn damaged_rows_are_refused() {
    for row in examples().into_iter().filter(|row| row.value.is_some()) {
        let value = row.value.unwrap();
        let read = |value: Bytes| {
            let (kind, _, key) = Kind::read(row.key.clone()).unwrap();
            Loaded::read(kind, key, value)
        };
        assert!(read(value.clone()).is_ok());
        for end in 0..value.len() {
            assert!(read(value.slice(..end)).is_err(), "{} cut at {end}", hex(&value));
        }
        assert!(read([value.as_ref(), &[0]].concat().into()).is_err());
    }
}

#[test]
fn a_group_without_its_epoch_or_with_two_owners_is_refused() {
    use crate::consumer::ConsumerGroupLoader;
    let mut world = World::new(&[]);
    let current = |epoch| Current { epoch, assigned: held(&[(1, 0, 1)]), ..Current::default() };
    for (epoch, owners, expected) in [(false, 1, "a consumer group has no epoch"), (true, 2, "a partition belongs to two members")] {
        let mut loader = ConsumerGroupLoader::default();
        if epoch {
            loader.add(Loaded::Group { epoch: 1, metadata_hash: 0 });
        }
        for member in 0..owners {
            let member_id = format!("m{member}");
            loader.add(Loaded::Subscription { member_id: member_id.clone(), subscription: Subscription::default() });
            loader.add(Loaded::Current { member_id, current: current(1) });
        }
        let error = world.call(|_, _, context| loader.finish("g".into(), context)).unwrap_err();
        assert_eq!(error, RowError::Damaged(expected));
    }
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    use crate::consumer::ConsumerGroupLoader;
    let mut world = World::new(&[]);
    let fine = Current { epoch: 1, assigned: held(&[(1, 0, 1)]), ..Current::default() };
    let both = Current { revoking: held(&[(1, 0, 1)]), ..fine.clone() };
    let member = |instance_id: &str| Subscription { instance_id: Some(instance_id.to_owned()), ..Subscription::default() };
    for (epoch, current, second, expected) in [
        (1, fine.clone(), "j", None),
        (1, fine.clone(), "i", Some("an instance id belongs to two members")),
        (1, both, "j", Some("a member both has a partition and gives it up")),
        (i32::MAX, fine.clone(), "j", Some("an epoch is one that no group comes to")),
        (-1, fine, "j", Some("an epoch is one that no group comes to")),
    ] {
        let mut loader = ConsumerGroupLoader::default();
        loader.add(Loaded::Group { epoch, metadata_hash: 0 });
        loader.add(Loaded::Subscription { member_id: "m1".to_owned(), subscription: member("i") });
        loader.add(Loaded::Current { member_id: "m1".to_owned(), current });
        loader.add(Loaded::Subscription { member_id: "m2".to_owned(), subscription: member(second) });
        let error = world.call(|_, _, context| loader.finish("g".into(), context)).err();
        assert_eq!(error, expected.map(RowError::Damaged));
    }
}

#[test]
fn a_group_that_ends_leaves_no_row() {
    let mut world = World::new(&[("a", 2)]);
    world.send(&join_regex("m1", "a")).unwrap();
    world.send(&by_instance("i", join("m2", &["a"]))).unwrap();
    assert!(!world.saved.is_empty());
    world.call(|group, _, context| std::mem::replace(group, crate::consumer::ConsumerGroup::new("g".into())).remove(context));
    assert!(world.saved.is_empty(), "{:?}", world.saved);
    assert_eq!(world.timers.next(), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(kind in 3..=8_u8, rest: Vec<u8>, mut value: Vec<u8>) {
        value.insert(0, 1);
        let mut key = vec![kind, 0];
        key.extend(rest);
        let (kind, _, key) = Kind::read(key.into()).unwrap();
        let _ = Loaded::read(kind, key, value.into());
    }
}
