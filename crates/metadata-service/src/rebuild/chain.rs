//! Which objects of a write-ahead log were published, and which only uploaded. Pure.
//!
//! A log's publishes cover its LSNs without overlap and in order. The first range of a broker epoch begins where the publishes before
//! it ended, because the registration said so, finally; so an object of an older epoch that begins at or above it never was published.
//! Of the newest epoch the last few objects may be uploaded and not published: whatever continues the chain counts as published all the
//! same, since its entries stand in the log, were acknowledged by nothing but the log, and are told of as published when the log
//! comes back. What does not continue it is left out: the range before it is still in the log alone, and comes again.

use std::collections::{BTreeMap, BTreeSet};

use types::{BrokerEpoch, Lsn, PublishSequence, TopicPartition};

use super::FoundObject;

/// A log's objects that are published, in its order.
#[derive(Debug, Default)]
pub(super) struct Chain<'a> {
    pub(super) links: Vec<Link<'a>>,
    /// The LSN after the last publish.
    pub(super) end: Lsn,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) object: &'a FoundObject,
    /// Its writer knew the publish to be answered: what was not refused was accepted.
    pub(super) is_answered: bool,
}

/// Links `objects`, all of one log, to what ends before `start`, the first LSN that the snapshot does not know as published.
pub(super) fn link<'a>(objects: impl IntoIterator<Item = &'a FoundObject>, start: Lsn) -> Chain<'a> {
    let mut epochs: BTreeMap<BrokerEpoch, Vec<&FoundObject>> = BTreeMap::new();
    for object in objects {
        epochs.entry(object.key.writer().1).or_default().push(object);
    }
    let mut chain = Chain { links: Vec::new(), end: start };
    for objects in epochs.values_mut() {
        objects.sort_by_key(|object| object.sequence);
        link_epoch(&mut chain, objects, start);
    }
    chain
}

fn link_epoch<'a>(chain: &mut Chain<'a>, objects: &[&'a FoundObject], start: Lsn) {
    let answered = objects.iter().map(|object| object.answered_through).max().unwrap_or_default();
    let mut is_first = true;
    for object in objects.iter().filter(|object| start < object.end_lsn) {
        let is_answered = object.sequence <= answered;
        if is_first {
            let begins = object.sequence == PublishSequence(1) || object.answered_through.0 + 1 == object.sequence.0;
            let is_boundary =
                |chain: &Chain<'_>| object.first_lsn == start || chain.links.iter().any(|link| link.object.end_lsn == object.first_lsn);
            if !begins && !is_answered && !is_boundary(chain) {
                continue;
            }
            chain.links.retain(|link| link.object.first_lsn < object.first_lsn);
        } else if object.first_lsn != chain.end && !is_answered {
            continue;
        }
        is_first = false;
        chain.end = object.end_lsn;
        chain.links.push(Link { object, is_answered });
    }
}

/// What the writers knew to be refused, by epoch and publish.
pub(super) fn refusals<'a>(
    objects: impl IntoIterator<Item = &'a FoundObject>,
) -> BTreeMap<(BrokerEpoch, PublishSequence), BTreeSet<TopicPartition>> {
    let mut refusals: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (epoch, sequence, partitions) in objects.into_iter().flat_map(|object| &object.refused) {
        refusals.entry((*epoch, *sequence)).or_default().extend(partitions);
    }
    refusals
}
