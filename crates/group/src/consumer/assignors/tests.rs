use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use types::TopicId;

use super::*;

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

/// A member: id, instance id, topics, and what it got last.
#[derive(Clone, Debug)]
struct Someone {
    member_id: String,
    instance_id: Option<String>,
    topics: BTreeSet<TopicId>,
    previous: Partitions,
}

fn member(member_id: &str, topics: &[u8]) -> Someone {
    Someone {
        member_id: member_id.to_owned(),
        instance_id: None,
        topics: topics.iter().map(|number| topic(*number)).collect(),
        previous: Partitions::new(),
    }
}

fn run(assignor: AssignorName, members: &[Someone], topics: &BTreeMap<TopicId, u32>) -> Vec<Partitions> {
    let members = members.iter().map(|member| Subscriber {
        member_id: &member.member_id,
        instance_id: member.instance_id.as_deref(),
        topics: &member.topics,
        previous: &member.previous,
    });
    assign(assignor, &Spec { members: members.collect(), topics: topics.clone() })
}

fn topics(counts: &[u32]) -> BTreeMap<TopicId, u32> {
    counts.iter().enumerate().map(|(index, count)| (topic(index as u8 + 1), *count)).collect()
}

fn count(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}

/// What the member has, as `topic:partition` numbers.
fn shown(partitions: &Partitions) -> String {
    let each = partitions
        .iter()
        .flat_map(|(topic, of_topic)| of_topic.iter().map(move |partition| format!("{}:{partition}", topic.as_bytes()[0])));
    each.collect::<Vec<_>>().join(" ")
}

fn check(assignor: AssignorName, members: &[Someone], counts: &[u32], expected: &[&str]) {
    let found: Vec<_> = run(assignor, members, &topics(counts)).iter().map(shown).collect();
    assert_eq!(found, expected);
}

/// Every partition of a topic with subscribers has one owner, who subscribes to it; nobody has anything else.
fn check_owners(members: &[Someone], topics: &BTreeMap<TopicId, u32>, assignments: &[Partitions]) {
    let mut owners = BTreeMap::new();
    for (member, assignment) in members.iter().zip(assignments) {
        for (topic, partitions) in assignment {
            assert!(member.topics.contains(topic) && !partitions.is_empty());
            for partition in partitions {
                assert!(owners.insert((*topic, *partition), &member.member_id).is_none(), "{topic}:{partition} has two owners");
            }
        }
    }
    for (topic, count) in topics {
        let is_subscribed = members.iter().any(|member| member.topics.contains(topic));
        for partition in 0..*count as i32 {
            assert_eq!(owners.remove(&(*topic, partition)).is_some(), is_subscribed, "{topic}:{partition}");
        }
    }
    assert!(owners.is_empty(), "partitions that do not exist: {owners:?}");
}

fn moved(members: &[Someone], assignments: &[Partitions]) -> usize {
    let kept = |member: &Someone, assignment: &Partitions| -> usize {
        member.previous.iter().map(|(topic, had)| assignment.get(topic).map_or(0, |has| has.intersection(had).count())).sum()
    };
    members.iter().zip(assignments).map(|(member, assignment)| count(assignment) - kept(member, assignment)).sum()
}

#[test]
fn ranges_are_neighbours_and_the_same_of_each_topic() {
    let members = [member("b", &[1, 2]), member("a", &[1, 2])];
    check(AssignorName::Range, &members, &[3, 3], &["1:2 2:2", "1:0 1:1 2:0 2:1"]);
    check(AssignorName::Range, &[member("a", &[1]), member("b", &[1]), member("c", &[1])], &[5], &["1:0 1:1", "1:2 1:3", "1:4"]);
    check(AssignorName::Range, &[member("a", &[1]), member("b", &[1])], &[1], &["1:0", ""]);
}

#[test]
fn ranges_go_to_subscribers_only() {
    let members = [member("a", &[1, 2]), member("b", &[2]), member("c", &[2, 3])];
    check(AssignorName::Range, &members, &[2, 3, 2], &["1:0 1:1 2:0", "2:1", "2:2 3:0 3:1"]);
}

#[test]
fn ranges_of_static_members_follow_instance_ids() {
    let with = |member_id: &str, instance_id: &str| Someone { instance_id: Some(instance_id.to_owned()), ..member(member_id, &[1]) };
    // The second member came back under another id: its range is what it was.
    check(AssignorName::Range, &[with("x", "i1"), with("y", "i2"), member("a", &[1])], &[3], &["1:0", "1:1", "1:2"]);
    check(AssignorName::Range, &[with("x", "i1"), with("b", "i2"), member("a", &[1])], &[3], &["1:0", "1:1", "1:2"]);
    check(AssignorName::Range, &[with("z", "i1"), with("b", "i2"), member("a", &[1])], &[3], &["1:0", "1:1", "1:2"]);
}

#[test]
fn nobody_and_nothing_can_be_assigned() {
    for assignor in [AssignorName::Uniform, AssignorName::Range] {
        check(assignor, &[], &[], &[]);
        check(assignor, &[member("a", &[])], &[], &[""]);
        check(assignor, &[member("a", &[1])], &[0], &[""]);
    }
}

#[test]
fn a_new_member_takes_only_its_share() {
    let mut members = vec![member("a", &[1]), member("b", &[1])];
    for (member, assignment) in members.clone().iter().zip(run(AssignorName::Uniform, &members, &topics(&[9]))) {
        let index = members.iter().position(|other| other.member_id == member.member_id).unwrap();
        members[index].previous = assignment;
    }
    members.push(member("c", &[1]));
    let assignments = run(AssignorName::Uniform, &members, &topics(&[9]));
    check_owners(&members, &topics(&[9]), &assignments);
    assert_eq!(moved(&members, &assignments), 3);
    assert!(assignments.iter().all(|assignment| count(assignment) == 3));
}

#[test]
fn one_more_stays_with_whom_it_was() {
    // Five partitions, two members: the one that has three keeps them, wherever it stands in the order.
    let mut members = [member("a", &[1]), member("b", &[1])];
    members[0].previous = Partitions::from([(topic(1), BTreeSet::from([0, 1]))]);
    members[1].previous = Partitions::from([(topic(1), BTreeSet::from([2, 3, 4]))]);
    check(AssignorName::Uniform, &members, &[5], &["1:0 1:1", "1:2 1:3 1:4"]);
}

#[test]
fn differing_subscriptions_are_evened_out() {
    // Who alone subscribes to the large topic gets none of the small one.
    let members = [member("a", &[1, 2]), member("b", &[2])];
    let assignments = run(AssignorName::Uniform, &members, &topics(&[4, 3]));
    assert_eq!(assignments.iter().map(count).collect::<Vec<_>>(), [4, 3]);
    // Also where it had some.
    let mut members = members;
    members[0].previous = Partitions::from([(topic(2), BTreeSet::from([0, 1, 2]))]);
    let assignments = run(AssignorName::Uniform, &members, &topics(&[4, 3]));
    check_owners(&members, &topics(&[4, 3]), &assignments);
    assert_eq!(assignments.iter().map(count).collect::<Vec<_>>(), [4, 3]);
}

fn members(topics: u8, same: bool) -> impl Strategy<Value = Vec<Someone>> {
    let choice = || prop::collection::btree_set(1..=topics, 0..=topics as usize);
    (choice(), prop::collection::vec((choice(), any::<bool>()), 1..12)).prop_map(move |(all, each)| {
        let each = each.into_iter().enumerate();
        each.map(|(index, (own, is_static))| {
            let numbers: Vec<u8> = if same { &all } else { &own }.iter().copied().collect();
            let instance_id = is_static.then(|| format!("i{index}"));
            Someone { instance_id, ..member(&format!("m{index:02}"), &numbers) }
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn every_partition_has_one_owner(
        counts in prop::collection::vec(0..20_u32, 4),
        later in prop::collection::vec(0..20_u32, 4),
        same: bool,
        (before, after) in any::<bool>().prop_flat_map(|same| (members(4, same), members(4, same))),
    ) {
        for assignor in [AssignorName::Uniform, AssignorName::Range] {
            let first = run(assignor, &before, &topics(&counts));
            check_owners(&before, &topics(&counts), &first);
            let mut after = after.clone();
            for (member, assignment) in after.iter_mut().zip(first) {
                member.previous = assignment;
            }
            let grown: Vec<u32> = counts.iter().zip(&later).map(|(a, b)| if same { *a } else { *a.max(b) }).collect();
            check_owners(&after, &topics(&grown), &run(assignor, &after, &topics(&grown)));
        }
    }

    #[test]
    fn equal_subscriptions_get_equal_shares_and_move_as_little_as_can_be(
        counts in prop::collection::vec(0..20_u32, 3),
        mut members in members(3, true),
        leaves: usize,
        joins in 0..3_usize,
    ) {
        let topics = topics(&counts);
        for (index, assignment) in run(AssignorName::Uniform, &members, &topics).into_iter().enumerate() {
            members[index].previous = assignment;
        }
        let again = run(AssignorName::Uniform, &members, &topics);
        prop_assert_eq!(moved(&members, &again), 0);

        let subscribed = members[0].topics.clone();
        if 1 < members.len() {
            members.remove(leaves % members.len());
        }
        for index in 0..joins {
            members.push(Someone { topics: subscribed.clone(), ..member(&format!("n{index}"), &[]) });
        }
        let assignments = run(AssignorName::Uniform, &members, &topics);
        check_owners(&members, &topics, &assignments);
        let total: usize = assignments.iter().map(count).sum();
        let (share, extra) = (total / members.len(), total % members.len());
        prop_assert!(assignments.iter().all(|assignment| share <= count(assignment) && count(assignment) <= share + 1));
        // What can stay is what the members have up to their share, and one more for as many as may have it.
        let had: Vec<usize> = members.iter().map(|member| count(&member.previous)).collect();
        let with_more = had.iter().filter(|had| share < **had).count().min(extra);
        let can_stay: usize = had.iter().map(|had| *had.min(&share)).sum::<usize>() + with_more;
        prop_assert_eq!(moved(&members, &assignments), total - can_stay);
    }

    #[test]
    fn subscribers_of_a_topic_differ_by_one_where_it_could_be_evened_out(
        counts in prop::collection::vec(0..20_u32, 3),
        members in members(3, false),
    ) {
        let topics = topics(&counts);
        let assignments = run(AssignorName::Uniform, &members, &topics);
        for (number, _) in counts.iter().enumerate() {
            let topic = topic(number as u8 + 1);
            let of_topic = || members.iter().zip(&assignments).filter(|(member, _)| member.topics.contains(&topic));
            let least = of_topic().map(|(_, assignment)| count(assignment)).min().unwrap_or(0);
            // Nobody who has some of the topic has two more than another subscriber.
            prop_assert!(of_topic().filter(|(_, has)| has.contains_key(&topic)).all(|(_, assignment)| count(assignment) <= least + 1));
        }
    }
}
