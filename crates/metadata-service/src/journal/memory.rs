//! A journal in memory, for tests, simulations and `memory://`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Appended, FIRST_SLOT, Journal, JournalError};

/// Clones share the entries: a clone is what a restarted or a second metadata server opens. Survives nothing but that.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    entries: BTreeMap<u64, Bytes>,
    faults: Vec<AppendFault>,
}

/// What the next append does instead of working.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendFault {
    /// Nothing is written, and the answer is lost.
    LostBefore,
    /// The entry is written, and the answer is lost.
    LostAfter,
}

impl MemoryJournal {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy as it is now, which later appends do not reach: a metadata directory that was put aside.
    pub fn copy(&self) -> Self {
        let entries = self.shared.lock().entries.clone();
        Self { shared: Arc::new(Mutex::new(Shared { entries, faults: Vec::new() })) }
    }

    /// Lets the next appends fail, in this order.
    pub fn fail_appends(&self, faults: impl IntoIterator<Item = AppendFault>) {
        let mut faults: Vec<_> = faults.into_iter().collect();
        faults.reverse();
        self.shared.lock().faults = faults;
    }

    /// The slots that are there.
    pub fn slots(&self) -> Vec<u64> {
        self.shared.lock().entries.keys().copied().collect()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, slot: u64, entry: Bytes) -> Appended {
        let mut shared = self.shared.lock();
        let fault = shared.faults.pop();
        let lost = || Appended::Unknown { detail: "the answer was lost".to_owned() };
        if fault == Some(AppendFault::LostBefore) {
            return lost();
        }
        let next = shared.entries.last_key_value().map_or(FIRST_SLOT, |(last, _)| last + 1);
        if slot != next {
            return Appended::Taken;
        }
        shared.entries.insert(slot, entry);
        if fault == Some(AppendFault::LostAfter) { lost() } else { Appended::Done }
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        let shared = self.shared.lock();
        let mut bytes = 0;
        let fits = |(_, entry): &(&u64, &Bytes)| {
            let is_first = bytes == 0;
            bytes += entry.len();
            is_first || bytes <= max_bytes
        };
        Ok(shared.entries.range(from..).take_while(fits).map(|(slot, entry)| (*slot, entry.clone())).collect())
    }

    async fn trim(&self, before: u64) -> Result<(), JournalError> {
        let mut shared = self.shared.lock();
        let last = shared.entries.last_key_value().map_or(0, |(last, _)| *last);
        shared.entries = shared.entries.split_off(&before.min(last));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance;

    #[tokio::test]
    async fn the_memory_journal_conforms() {
        let journal = MemoryJournal::new();
        conformance::check(|| async { Arc::new(journal.clone()) as Arc<dyn Journal> }).await;
    }
}
