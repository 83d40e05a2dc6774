//! What a group coordinator saved. Whatever loads is worked with, by consumers of both protocols, and everything that is saved on the way
//! loads again and is what there is. An input is as the golden file of classic groups: keys and values, each after its length.
#![no_main]

mod driver;

use std::collections::BTreeMap;

use bytes::Bytes;
use driver::{Driver, TwoTopics, field, join_as, sync_as};
use group::{CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, HeartbeatRequest, LeaveRequest, LeavingMember, ListFilter};
use libfuzzer_sys::fuzz_target;
use types::TopicId;

/// Of a consumer, to `orders`.
const SUBSCRIPTION: &[u8] = b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\0";

fuzz_target!(|data: &[u8]| {
    let mut input = Bytes::copy_from_slice(data);
    let mut rows = BTreeMap::new();
    while !input.is_empty() {
        let key = field(&mut input);
        rows.insert(key, field(&mut input));
    }
    let Ok(mut driver) = Driver::new(rows) else { return };
    let groups = driver.coordinator.list(&ListFilter::default());
    for group_id in groups.iter().map(|listed| listed.group_id.as_str()).take(4) {
        work(&mut driver, group_id);
    }
    for millis in [5_000, 60_000, 600_000, 8 * 24 * 3_600_000] {
        pass(&mut driver, millis);
        driver.check();
    }
    driver.coordinator.topics_deleted(&["orders".to_owned()]);
    driver.settle();
    driver.reload();
});

fn work(driver: &mut Driver, group_id: &str) {
    commit(driver, group_id, "", -1);
    driver.check();
    let epoch = driver.beat(group_id, "m", 0);
    driver.check();
    if let Some(epoch) = epoch {
        driver.beat(group_id, "m", epoch);
        commit(driver, group_id, "m", epoch);
    }
    let members: Vec<String> = match driver.coordinator.describe(group_id) {
        Ok(described) => described.members.into_iter().map(|member| member.member_id).collect(),
        Err(_) => {
            let described = driver.coordinator.consumer_describe(group_id, &TwoTopics);
            described.map_or(Vec::new(), |described| described.members.into_iter().map(|member| member.member_id).collect())
        }
    };
    for member_id in members.iter().map(String::as_str).chain([""]).take(4) {
        if let Some(joined) = driver.join(join_as(group_id, member_id, Bytes::from_static(SUBSCRIPTION))) {
            driver.check();
            driver.sync(sync_as(group_id, &joined.member_id, joined.generation, Bytes::new()));
            let (generation, member_id) = (joined.generation, joined.member_id);
            let heartbeat = HeartbeatRequest { group_id: group_id.to_owned(), member_id, instance_id: None, generation };
            let _ = driver.coordinator.heartbeat(heartbeat, driver.now);
            driver.settle();
        }
        driver.check();
    }
    delete_offsets(driver, group_id);
    driver.reload();
    driver.beat(group_id, "m", -1);
    driver.check();
    let leaving = |member_id: &String| LeavingMember { member_id: member_id.clone(), instance_id: None, reason: None };
    let leave = LeaveRequest { group_id: group_id.to_owned(), members: members.iter().map(leaving).collect() };
    let _ = driver.coordinator.leave(leave, &TwoTopics, driver.now);
    driver.settle();
    driver.check();
    let _ = driver.coordinator.delete(group_id);
    driver.settle();
    driver.reload();
}

fn commit(driver: &mut Driver, group_id: &str, member_id: &str, epoch: i32) {
    let partitions = vec![CommitPartition { partition: 1, offset: 9, leader_epoch: -1, metadata: Some("note".to_owned()) }];
    let request = CommitRequest {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation_or_epoch: epoch,
        knows_member_epochs: true,
        retention_ms: None,
        topics: vec![CommitTopic { name: "orders".to_owned(), id: TopicId::from_bytes([1; 16]), partitions }],
    };
    let _ = driver.coordinator.commit_offsets(request, driver.now);
    driver.settle();
}

fn delete_offsets(driver: &mut Driver, group_id: &str) {
    let topics = vec![("orders".to_owned(), vec![0, 1]), ("other".to_owned(), vec![0])];
    let _ = driver.coordinator.delete_offsets(DeleteOffsetsRequest { group_id: group_id.to_owned(), topics });
    driver.settle();
}

fn pass(driver: &mut Driver, millis: u64) {
    driver.now.moment = driver.now.moment + millis;
    driver.now.wall.0 += millis as i64;
    while driver.coordinator.next_deadline().is_some_and(|at| at <= driver.now.moment) {
        driver.coordinator.expire(&TwoTopics, driver.now);
        driver.settle();
    }
}
