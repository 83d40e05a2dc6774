//! The bytes of version 1 of what is saved: they stay what they are. `UPDATE_GOLDEN=1 cargo test -p group golden` writes the files of a
//! new version; those of a released one are never written again.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use types::TopicId;

use super::harness::{GROUP, Harness, commit_as, fetch_all, join_as, prompt, sync_as};
use crate::{CommitRequest, Coordinator, JoinRequest, Row, SyncRequest};

/// Compares with the file, byte for byte, and answers what it holds.
fn golden(name: &str, bytes: &[u8]) -> Bytes {
    let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let difference = golden.iter().zip(bytes).position(|(a, b)| a != b);
    assert_eq!((difference, bytes.len()), (None, golden.len()), "{name} changed");
    golden.into()
}

/// Keys and values one after the other, each after its length in four bytes.
fn written(group: &Harness) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for field in group.saved.iter().flat_map(|(key, value)| [key, value]) {
        bytes.put_u32_le(field.len() as u32);
        bytes.put_slice(field);
    }
    bytes.to_vec()
}

fn read(mut bytes: Bytes) -> Vec<Row> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let mut field = || {
            let length = bytes.get_u32_le();
            bytes.split_to(length as usize)
        };
        rows.push(Row { key: field(), value: Some(field()) });
    }
    rows
}

#[test]
fn classic_groups_and_offsets_of_version_1_are_written_and_read_as_ever() {
    let mut group = Harness::new(prompt());
    let ticket = group.join(JoinRequest { instance_id: Some("printer".to_owned()), ..join_as("") });
    let id = group.joined(ticket).member_id;
    let sync = group.sync(SyncRequest { assignments: vec![(id.clone(), Bytes::from_static(b"assigned"))], ..sync_as(&id, 1) });
    group.synced(sync);
    let mut commit = commit_as(&id, 1, "orders", 7, 1 << 40);
    commit.topics[0].id = TopicId::from_bytes([9; 16]);
    group.commit(commit).unwrap().remove(0).unwrap();
    let other = |partition| CommitRequest { group_id: "other".to_owned(), ..commit_as("", -1, "orders", partition, 5) };
    group.commit(CommitRequest { retention_ms: Some(1_000), ..other(1) }).unwrap().remove(0).unwrap();
    // Of a group that was left only the shell is saved.
    let ticket = group.join(JoinRequest { group_id: "left".to_owned(), ..join_as("") });
    let leaving = group.joined(ticket).member_id;
    let request = crate::LeaveRequest {
        group_id: "left".to_owned(),
        members: vec![crate::LeavingMember { member_id: leaving, instance_id: None, reason: None }],
    };
    group.coordinator.leave(request, &super::harness::NoTopics, group.now).unwrap();
    group.settle();

    let file = golden("classic.bin", &written(&group));
    let loaded = Coordinator::load(prompt(), Arc::default(), read(file), group.now).unwrap();
    for name in [GROUP, "other", "left"] {
        assert_eq!(loaded.describe(name), group.coordinator.describe(name));
        assert_eq!(fetch_all(&loaded, name), fetch_all(&group.coordinator, name));
    }
}

#[test]
fn a_row_that_was_cut_or_changed_is_refused_or_read_but_never_more_than_that() {
    let mut group = Harness::new(prompt());
    group.new_group(2);
    group.commit(CommitRequest { group_id: "other".to_owned(), ..commit_as("", -1, "orders", 0, 5) }).unwrap().remove(0).unwrap();
    let load = |key: Bytes, value: Bytes| Coordinator::load(prompt(), Arc::default(), [Row { key, value: Some(value) }], group.now);
    for (key, value) in &group.saved {
        for end in 0..value.len() {
            assert!(load(key.clone(), value.slice(..end)).is_err(), "cut at {end}");
        }
        for end in 0..key.len() {
            assert!(load(key.slice(..end), value.clone()).is_err(), "key cut at {end}");
        }
        for position in 0..value.len() {
            let mut changed = value.to_vec();
            changed[position] ^= 0xff;
            drop(load(key.clone(), changed.into()));
        }
    }
}
