//! Blocks of immutable objects in memory, the least recently used going first when the bytes run out.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A byte range of an object. The object never changes, so neither does what this names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockId {
    pub(crate) key: Arc<str>,
    pub(crate) range: Range<u64>,
}

/// At most `capacity` bytes of blocks.
#[derive(Debug)]
pub(crate) struct BlockCache {
    capacity: u64,
    held: u64,
    /// Counts uses; a block's number is that of its last use.
    uses: u64,
    blocks: HashMap<BlockId, (Bytes, u64)>,
    by_use: BTreeMap<u64, BlockId>,
}

impl BlockCache {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, held: 0, uses: 0, blocks: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// The block, which counts as used.
    pub(crate) fn get(&mut self, id: &BlockId) -> Option<Bytes> {
        let (block, last_use) = self.blocks.get_mut(id)?;
        let id = self.by_use.remove(last_use).expect("every block has its last use in the order");
        self.uses += 1;
        *last_use = self.uses;
        self.by_use.insert(self.uses, id);
        Some(block.clone())
    }

    pub(crate) fn contains(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// Keeps the block, and drops others until there is room; one larger than the whole cache is not kept.
    pub(crate) fn insert(&mut self, id: BlockId, block: Bytes) {
        let length = block.len() as u64;
        if self.capacity < length || self.contains(&id) {
            return;
        }
        while self.capacity - self.held < length {
            let (_, oldest) = self.by_use.pop_first().expect("a cache that holds bytes holds blocks");
            let (dropped, _) = self.blocks.remove(&oldest).expect("every block in the order is held");
            self.held -= dropped.len() as u64;
        }
        self.uses += 1;
        self.held += length;
        self.by_use.insert(self.uses, id.clone());
        self.blocks.insert(id, (block, self.uses));
    }

    /// Bytes of all blocks.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> BlockId {
        BlockId { key: "a".into(), range: number..number + 1 }
    }

    #[test]
    fn the_least_recently_used_block_goes_first() {
        let mut cache = BlockCache::new(30);
        for number in 0..3 {
            cache.insert(id(number), Bytes::from(vec![0; 10]));
        }
        assert!(cache.get(&id(0)).is_some());
        cache.insert(id(3), Bytes::from(vec![0; 5]));
        let kept: Vec<_> = (0..4).filter(|number| cache.contains(&id(*number))).collect();
        assert_eq!((kept, cache.held()), (vec![0, 2, 3], 25));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_capacity_and_knows_how_much(steps in prop::collection::vec((0..20u64, 0..40usize), 1..200)) {
            let mut cache = BlockCache::new(100);
            for (number, length) in steps {
                cache.get(&id(number / 2));
                cache.insert(id(number), Bytes::from(vec![0; length]));
                let sum: u64 = cache.blocks.values().map(|(block, _)| block.len() as u64).sum();
                prop_assert_eq!(cache.held(), sum);
                prop_assert!(sum <= 100);
                prop_assert_eq!(cache.by_use.len(), cache.blocks.len());
            }
        }
    }
}
