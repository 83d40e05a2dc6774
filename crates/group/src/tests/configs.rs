//! Options that change while groups have members, and what is set on single groups.

use std::sync::Arc;

use super::harness::{GROUP, Harness};
use super::types::{beat, new, options};
use crate::{GroupConfig, GroupConfigs, GroupError, Options};

impl Harness {
    fn configure(&mut self, options: Options, groups: &[(&str, GroupConfig)]) {
        let groups: GroupConfigs = groups.iter().map(|(group, config)| ((*group).to_owned(), *config)).collect();
        self.coordinator.configure(Arc::new(options), Arc::new(groups));
    }
}

fn own(session: i32, heartbeat: i32) -> GroupConfig {
    GroupConfig {
        consumer_session_timeout_ms: Some(session),
        consumer_heartbeat_interval_ms: Some(heartbeat),
        consumer_assignment_interval_ms: None,
    }
}

#[test]
fn what_is_set_on_a_group_goes_before_the_options_for_all() {
    let mut group = new(options());
    group.configure(options(), &[(GROUP, own(50_000, 7_000)), ("other", own(60_000, 15_000))]);
    let joined = beat(&mut group, "a", 0).unwrap();
    assert_eq!(joined.heartbeat_interval_ms, 7_000);
    group.pass(49_999);
    assert_eq!(beat(&mut group, "a", joined.member_epoch).unwrap().heartbeat_interval_ms, 7_000);
    group.pass(50_000);
    assert!(matches!(beat(&mut group, "a", joined.member_epoch), Err(GroupError::UnknownMemberId { .. } | GroupError::GroupIdNotFound(_))));
}

#[test]
fn a_time_out_that_changes_counts_from_the_next_heartbeat() {
    let mut group = new(options());
    let epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    group.configure(options(), &[(GROUP, own(60_000, 5_000))]);
    group.pass(44_999);
    beat(&mut group, "a", epoch).unwrap();
    group.configure(options(), &[]);
    group.pass(59_999);
    let heartbeat = beat(&mut group, "a", epoch).expect("its last heartbeat gave it the longer time");
    assert_eq!(heartbeat.heartbeat_interval_ms, 5_000);
    group.pass(45_000);
    assert!(beat(&mut group, "a", epoch).is_err());
}

#[test]
fn what_lies_outside_the_bounds_of_now_counts_as_the_nearest() {
    let mut group = new(options());
    group.configure(options(), &[(GROUP, own(1, 20_000))]);
    let joined = beat(&mut group, "a", 0).unwrap();
    assert_eq!(joined.heartbeat_interval_ms, 15_000);
    group.pass(44_999);
    beat(&mut group, "a", joined.member_epoch).unwrap();
    group.configure(Options { consumer_heartbeat_intervals_ms: 1..=9, ..options() }, &[(GROUP, own(1, 20_000))]);
    assert_eq!(beat(&mut group, "a", joined.member_epoch).unwrap().heartbeat_interval_ms, 9);
}

#[test]
fn a_group_keeps_an_assignment_for_its_own_interval() {
    let interval = |ms| GroupConfig { consumer_assignment_interval_ms: Some(ms), ..GroupConfig::default() };
    for (ms, assigned_at_once) in [(0, true), (10_000, false)] {
        let mut group = new(options());
        group.configure(options(), &[(GROUP, interval(ms))]);
        beat(&mut group, "a", 0).unwrap();
        let second = beat(&mut group, "b", 0).unwrap();
        let third = beat(&mut group, "c", 0).unwrap();
        assert_eq!(second.member_epoch < third.member_epoch, assigned_at_once, "{second:?} {third:?}");
    }
}

#[test]
fn options_for_all_groups_may_change_while_there_are_members() {
    let mut group = new(options());
    let epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    group.configure(Options { consumer_heartbeat_interval_ms: 3, consumer_max_size: 1, ..options() }, &[]);
    assert_eq!(beat(&mut group, "a", epoch).unwrap().heartbeat_interval_ms, 3);
    assert_eq!(beat(&mut group, "b", 0), Err(GroupError::GroupMaxSizeReached { limit: 1 }));
}
