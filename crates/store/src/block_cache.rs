//! Blocks of immutable objects in memory, in two shares: one for readers of the tail, one for those of history.
//!
//! Each share is sure of half the bytes, and what the other does not use is lent to it. So history alone has the whole cache, and however
//! much of it is read, it takes nothing from a tail that keeps to its half. Within a share blocks go first that somebody has read to their
//! end, then the least recently used: of readers in order, each next in turn would else find dropped what was fetched for it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::ReadClass;

/// A byte range of an object. The object never changes, so neither does what this names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockId {
    pub(crate) key: Arc<str>,
    pub(crate) range: Range<u64>,
}

/// Whose half of a cache a block lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    Tail,
    History,
}

impl Share {
    /// Where a block goes that `class` has fetched; rewrites keep none.
    pub(crate) fn of(class: ReadClass) -> Option<Self> {
        match class {
            ReadClass::Tail => Some(Self::Tail),
            ReadClass::CatchUp => Some(Self::History),
            ReadClass::Rewrite => None,
        }
    }

    /// Which share gives way when `share` needs `more` bytes of a full cache: itself if it would have more than its half.
    pub(crate) fn gives_way(share: Self, held: u64, more: u64, capacity: u64) -> Self {
        if capacity / 2 < held + more { share } else { share.other() }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Tail => Self::History,
            Self::History => Self::Tail,
        }
    }
}

/// At most `capacity` bytes of blocks.
#[derive(Debug)]
pub(crate) struct BlockCache {
    capacity: u64,
    /// Counts uses; a block's number is that of its last use.
    uses: u64,
    blocks: HashMap<BlockId, Block>,
    shares: [Order; 2],
}

#[derive(Debug)]
struct Block {
    bytes: Bytes,
    last_use: u64,
    share: Share,
    /// Somebody read it to its end, and nobody has read of it since.
    is_passed: bool,
}

/// The blocks of a share by their last use.
#[derive(Debug, Default)]
struct Order {
    held: u64,
    /// Go first.
    passed: BTreeMap<u64, BlockId>,
    others: BTreeMap<u64, BlockId>,
}

impl Order {
    fn of(&mut self, block: &Block) -> &mut BTreeMap<u64, BlockId> {
        if block.is_passed { &mut self.passed } else { &mut self.others }
    }

    fn pop(&mut self) -> Option<BlockId> {
        self.passed.pop_first().or_else(|| self.others.pop_first()).map(|(_, id)| id)
    }
}

impl BlockCache {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, uses: 0, blocks: HashMap::new(), shares: Default::default() }
    }

    /// The block, which counts as used unless it is for a rewrite. What the tail uses is the tail's from then on.
    pub(crate) fn get(&mut self, id: &BlockId, class: ReadClass) -> Option<Bytes> {
        let block = self.blocks.get_mut(id)?;
        if let Some(share) = Share::of(class) {
            let from = &mut self.shares[block.share as usize];
            let id = from.of(block).remove(&block.last_use).expect("every block has its last use in the order");
            from.held -= block.bytes.len() as u64;
            self.uses += 1;
            block.last_use = self.uses;
            block.is_passed = false;
            if share == Share::Tail {
                block.share = share;
            }
            let to = &mut self.shares[block.share as usize];
            to.held += block.bytes.len() as u64;
            to.others.insert(self.uses, id);
        }
        Some(block.bytes.clone())
    }

    /// Somebody has read the block to its end: it goes before those that are still to be read.
    pub(crate) fn pass(&mut self, id: &BlockId) {
        let Some(block) = self.blocks.get_mut(id).filter(|block| !block.is_passed) else { return };
        let order = &mut self.shares[block.share as usize];
        let id = order.others.remove(&block.last_use).expect("every block has its last use in the order");
        order.passed.insert(block.last_use, id);
        block.is_passed = true;
    }

    pub(crate) fn contains(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// Keeps the block, and drops others until there is room; one larger than the whole cache is not kept.
    pub(crate) fn insert(&mut self, id: BlockId, bytes: Bytes, share: Share) {
        let length = bytes.len() as u64;
        if self.capacity < length || self.contains(&id) {
            return;
        }
        while self.capacity - self.held() < length {
            let mut victim = Share::gives_way(share, self.shares[share as usize].held, length, self.capacity);
            if self.shares[victim as usize].held == 0 {
                victim = victim.other();
            }
            self.drop_first(victim);
        }
        self.uses += 1;
        let order = &mut self.shares[share as usize];
        order.held += length;
        order.others.insert(self.uses, id.clone());
        self.blocks.insert(id, Block { bytes, last_use: self.uses, share, is_passed: false });
    }

    /// Drops the block, if it is there.
    pub(crate) fn remove(&mut self, id: &BlockId) {
        if let Some(dropped) = self.blocks.remove(id) {
            let order = &mut self.shares[dropped.share as usize];
            order.of(&dropped).remove(&dropped.last_use);
            order.held -= dropped.bytes.len() as u64;
        }
    }

    fn drop_first(&mut self, share: Share) {
        let order = &mut self.shares[share as usize];
        let first = order.pop().expect("a share that holds bytes holds blocks");
        let dropped = self.blocks.remove(&first).expect("every block in the order is held");
        order.held -= dropped.bytes.len() as u64;
    }

    /// Bytes of all blocks.
    pub(crate) fn held(&self) -> u64 {
        self.shares.iter().map(|order| order.held).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> BlockId {
        BlockId { key: "a".into(), range: number..number + 1 }
    }

    fn block(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    fn kept(cache: &BlockCache, numbers: Range<u64>) -> Vec<u64> {
        numbers.filter(|number| cache.contains(&id(*number))).collect()
    }

    #[test]
    fn a_removed_block_gives_its_room_back() {
        let mut cache = BlockCache::new(30);
        for number in 0..3 {
            cache.insert(id(number), block(10), Share::History);
        }
        cache.remove(&id(1));
        cache.remove(&id(1));
        assert_eq!((kept(&cache, 0..4), cache.held()), (vec![0, 2], 20));
        cache.insert(id(3), block(10), Share::Tail);
        assert_eq!((kept(&cache, 0..4), cache.held()), (vec![0, 2, 3], 30));
    }

    #[test]
    fn the_least_recently_used_block_goes_first() {
        let mut cache = BlockCache::new(30);
        for number in 0..3 {
            cache.insert(id(number), block(10), Share::History);
        }
        assert!(cache.get(&id(0), ReadClass::CatchUp).is_some());
        cache.insert(id(3), block(5), Share::History);
        assert_eq!((kept(&cache, 0..4), cache.held()), (vec![0, 2, 3], 25));
    }

    #[test]
    fn a_block_that_was_read_to_its_end_goes_before_those_that_are_still_to_be_read() {
        let mut cache = BlockCache::new(30);
        for number in 0..3 {
            cache.insert(id(number), block(10), Share::History);
        }
        cache.pass(&id(2));
        cache.pass(&id(2));
        cache.insert(id(3), block(10), Share::History);
        assert_eq!(kept(&cache, 0..4), [0, 1, 3]);
        // Who reads of it again needs it again.
        cache.pass(&id(0));
        cache.pass(&id(1));
        cache.get(&id(0), ReadClass::CatchUp).unwrap();
        cache.insert(id(4), block(10), Share::History);
        assert_eq!(kept(&cache, 0..5), [0, 3, 4]);
        cache.pass(&id(4));
        cache.remove(&id(4));
        assert_eq!((kept(&cache, 0..5), cache.held()), (vec![0, 3], 20));
    }

    #[test]
    fn t23_however_much_history_is_read_the_tail_keeps_its_half() {
        let mut cache = BlockCache::new(100);
        for number in 0..5 {
            cache.insert(id(number), block(10), Share::Tail);
        }
        for number in 100..300 {
            cache.insert(id(number), block(10), Share::History);
        }
        assert_eq!((kept(&cache, 0..5), kept(&cache, 100..300)), ((0..5).collect(), (295..300).collect()));
    }

    #[test]
    fn what_one_share_does_not_use_is_lent_to_the_other_and_taken_back() {
        for (first, second) in [(Share::Tail, Share::History), (Share::History, Share::Tail)] {
            let mut cache = BlockCache::new(100);
            for number in 0..20 {
                cache.insert(id(number), block(10), first);
            }
            assert_eq!(kept(&cache, 0..20), (10..20).collect::<Vec<_>>(), "{first:?} alone has all");
            for number in 100..120 {
                cache.insert(id(number), block(10), second);
            }
            assert_eq!((kept(&cache, 0..20), kept(&cache, 100..120)), ((15..20).collect(), (115..120).collect()), "{second:?} takes half");
        }
    }

    #[test]
    fn a_block_of_history_that_the_tail_uses_is_the_tails() {
        let mut cache = BlockCache::new(100);
        cache.insert(id(0), block(10), Share::History);
        cache.get(&id(0), ReadClass::Tail).unwrap();
        for number in 100..200 {
            cache.insert(id(number), block(10), Share::History);
            // A reader of history does not take it back.
            cache.get(&id(0), ReadClass::CatchUp).unwrap();
        }
        assert_eq!(cache.shares[Share::Tail as usize].held, 10);
    }

    #[test]
    fn a_rewrite_leaves_the_order_as_it_is() {
        let mut cache = BlockCache::new(20);
        cache.insert(id(0), block(10), Share::History);
        cache.insert(id(1), block(10), Share::History);
        cache.get(&id(0), ReadClass::Rewrite).unwrap();
        cache.insert(id(2), block(10), Share::History);
        assert_eq!(kept(&cache, 0..3), [1, 2]);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_capacity_and_knows_how_much(
            steps in prop::collection::vec((0..20u64, 0..110usize, any::<bool>(), 0..20u64), 1..200)
        ) {
            let mut cache = BlockCache::new(100);
            for (number, length, tail, passed) in steps {
                let (share, class) = if tail { (Share::Tail, ReadClass::CatchUp) } else { (Share::History, ReadClass::Tail) };
                cache.get(&id(number / 2), class);
                cache.insert(id(number), block(length), share);
                cache.pass(&id(passed));
                for share in [Share::Tail, Share::History] {
                    let of_share = || cache.blocks.values().filter(|block| block.share == share);
                    let order = &cache.shares[share as usize];
                    prop_assert_eq!(order.held, of_share().map(|block| block.bytes.len() as u64).sum::<u64>());
                    let passed = of_share().filter(|block| block.is_passed).count();
                    prop_assert_eq!((order.passed.len(), order.passed.len() + order.others.len()), (passed, of_share().count()));
                }
                prop_assert!(cache.held() <= 100);
            }
        }
    }
}
