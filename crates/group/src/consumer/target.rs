//! The group's epoch follows its members, their subscriptions and the topics; the target assignment follows the group's epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use types::TopicId;

use super::assignors::{self, Spec, Subscriber};
use super::group::ConsumerGroup;
use super::{regexes, rows};
use crate::effects::Context;
use crate::{AssignorName, Topics};

impl ConsumerGroup {
    /// Resolves the group's regular expressions if there is a reason to, at most every ten seconds. Says whether they stand for other
    /// topics than before.
    pub(super) fn refresh_regexes(&mut self, topics: &dyn Topics, context: &mut Context<'_>) -> bool {
        self.drop_unused_regexes(context);
        if self.regexes.is_empty() {
            self.resolved_at = None;
            return false;
        }
        let now = context.now.moment;
        let due = match self.resolved_at {
            // With nothing resolved there is nothing to refresh: the first expression is resolved at once.
            Some((at, version)) if !self.resolved.is_empty() => {
                let changed = version != topics.version() || self.regexes.keys().any(|regex| !self.resolved.contains_key(regex));
                let old = at + context.options.consumer_regex_refresh_interval_ms < now;
                at + regexes::REFRESH_MIN_MS < now && (changed || old)
            }
            _ => true,
        };
        if !due {
            return false;
        }
        let mut changed = false;
        for expression in self.regexes.keys() {
            // It was checked when it came.
            let Ok(regex) = regexes::compile(expression) else { continue };
            let names = regexes::resolve(&regex, topics);
            if self.resolved.get(expression) != Some(&names) {
                // Also if it stands for nothing: its subscriber may have come from an expression that stood for something.
                changed = true;
                context.save(rows::regex(&self.id, expression, &names));
                self.resolved.insert(expression.clone(), names);
            }
        }
        self.resolved_at = Some((now, topics.version()));
        changed
    }

    /// Forgets what expressions stood for that nobody subscribes to any more.
    pub(super) fn drop_unused_regexes(&mut self, context: &mut Context<'_>) {
        let Self { resolved, regexes, id, .. } = self;
        resolved.retain(|regex, _| {
            let used = regexes.contains(regex);
            if !used {
                context.save(rows::no_regex(id, regex));
            }
            used
        });
    }

    /// Raises the group's epoch if that is asked for, or if the topics are not those that it was raised for.
    pub(super) fn follow_topics(&mut self, raise: bool, topics: &dyn Topics, context: &mut Context<'_>) {
        if !raise && self.checked_version == Some(topics.version()) {
            return;
        }
        self.checked_version = Some(topics.version());
        let hash = metadata_hash(&self.subscribed_names(), topics);
        if raise || hash != self.metadata_hash {
            self.metadata_hash = hash;
            self.epoch += 1;
            context.save(rows::group(&self.id, self.epoch, hash));
        }
    }

    /// Makes a target assignment for the group's epoch, if there is none. Once made it stands for a while, so that many changes in that
    /// time cost one assignment (KIP-1263); a group of one member does not wait.
    pub(super) fn follow_epoch(&mut self, topics: &dyn Topics, context: &mut Context<'_>) {
        let now = context.now.moment;
        let interval = context.consumer_assignment_interval_ms(&self.id);
        let wait = 1 < self.members.len() && self.assigned_at.is_some_and(|at| now < at + interval);
        if self.epoch <= self.assignment_epoch || wait {
            return;
        }
        let assignor = self.assignor(&context.options.consumer_assignors);
        for (member_id, target) in self.targets(assignor, topics) {
            context.save(rows::target(&self.id, &member_id, &target));
            if let Some(member) = self.members.get_mut(&member_id) {
                member.target = target;
            }
        }
        self.set_assignment_epoch(context);
        self.assigned_at = Some(now);
    }

    pub(super) fn set_assignment_epoch(&mut self, context: &mut Context<'_>) {
        self.assignment_epoch = self.epoch;
        context.save(rows::target_epoch(&self.id, self.assignment_epoch));
    }

    /// What changes for whom.
    fn targets(&self, assignor: AssignorName, topics: &dyn Topics) -> Vec<(std::sync::Arc<str>, super::assignment::Partitions)> {
        // Most members of a group say the same.
        let mut subscriptions: HashMap<(&BTreeSet<String>, &str), Rc<BTreeSet<TopicId>>> = HashMap::new();
        let mut subscribed = Vec::with_capacity(self.members.len());
        for member in self.members.values() {
            let key = (&member.subscription.topics, member.subscription.regex.as_str());
            let of_member = subscriptions.entry(key).or_insert_with(|| Rc::new(self.subscribed_topics(&member.subscription, topics)));
            subscribed.push(of_member.clone());
        }
        let counts: BTreeMap<TopicId, u32> = subscriptions
            .values()
            .flat_map(|topics| topics.iter())
            .filter_map(|id| topics.by_id(*id))
            .map(|topic| (topic.id, topic.partitions))
            .collect();
        let members = self.members.iter().zip(&subscribed).map(|((member_id, member), topics)| Subscriber {
            member_id,
            instance_id: member.subscription.instance_id.as_deref(),
            topics,
            previous: &member.target,
        });
        let spec = Spec { members: members.collect(), topics: counts };
        let targets = assignors::assign(assignor, &spec);
        let changed = self.members.iter().zip(targets).filter(|((_, member), target)| member.target != *target);
        changed.map(|((member_id, _), target)| (member_id.clone(), target)).collect()
    }
}

/// Stands for names, ids and partition counts of those topics that exist. FNV-1a: saved, so it must come out the same for ever.
fn metadata_hash(names: &BTreeSet<&str>, topics: &dyn Topics) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for topic in names.iter().filter_map(|name| topics.by_name(name)) {
        add(topic.id.as_bytes());
        add(&topic.partitions.to_le_bytes());
        add(topic.name.as_bytes());
        add(&[0]);
    }
    hash
}
