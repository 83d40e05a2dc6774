//! Subscriptions and assignments of classic consumers, which the server reads when the group becomes a consumer group and writes from
//! then on. An input is a subscription and an assignment, each after its length. What was taken over once is so again.
#![no_main]

mod driver;

use std::collections::BTreeMap;

use bytes::Bytes;
use driver::{Driver, field, join_as, sync_as};
use libfuzzer_sys::fuzz_target;

const GROUP: &str = "group";

fuzz_target!(|data: &[u8]| {
    let mut input = Bytes::copy_from_slice(data);
    let (metadata, assignment) = (field(&mut input), field(&mut input));
    let mut driver = Driver::new(BTreeMap::new()).expect("nothing is loaded");
    let join = |member_id: &str| join_as(GROUP, member_id, metadata.clone());
    let joined = driver.join(join("")).expect("whatever a member offers, it joins");
    let member_id = joined.member_id.as_str();
    let synced = driver.sync(sync_as(GROUP, member_id, joined.generation, assignment.clone()));
    assert_eq!(synced, Some(assignment));
    driver.reload();

    let is_taken_over = driver.beat(GROUP, "m", 0).is_some();
    driver.check();
    if !is_taken_over {
        return;
    }
    for _ in 0..3 {
        let joined = driver.join(join(member_id)).expect("what was taken over may join again");
        driver.sync(sync_as(GROUP, member_id, joined.generation, Bytes::new()));
        driver.reload();
    }
    // The group goes back, with the assignment as the server writes it, and over again.
    driver.beat(GROUP, "m", -1).expect("a member may leave");
    driver.reload();
    driver.beat(GROUP, "n", 0).expect("what was taken over is so again");
    driver.reload();
});
