//! What every [`Journal`] must do, as one suite.

use std::sync::Arc;

use bytes::Bytes;

use super::{Appended, FIRST_SLOT, Journal};

fn entry(slot: u64) -> Bytes {
    Bytes::from(vec![slot as u8; 100])
}

/// Runs the suite. `open` gives the same journal each time, opened again as after a restart; it must be empty at first.
///
/// # Panics
/// Where the journal breaks the contract.
pub async fn check<F>(mut open: impl FnMut() -> F)
where
    F: Future<Output = Arc<dyn Journal>>,
{
    let journal = open().await;
    assert_eq!(journal.read(FIRST_SLOT, usize::MAX).await.expect("reads"), [], "begins empty");
    assert_eq!(journal.append(FIRST_SLOT + 1, entry(2)).await, Appended::Taken, "the first slot comes first");
    for slot in 1..=10 {
        assert_eq!(journal.append(slot, entry(slot)).await, Appended::Done, "slot {slot}");
    }
    assert_eq!(journal.append(10, entry(99)).await, Appended::Taken, "a slot is written once");
    assert_eq!(journal.append(5, entry(99)).await, Appended::Taken, "an old slot is written once");
    assert_eq!(journal.append(12, entry(99)).await, Appended::Taken, "slots are dense");
    drop(journal);

    let journal = open().await;
    let all = journal.read(FIRST_SLOT, usize::MAX).await.expect("reads");
    assert_eq!(all, (1..=10).map(|slot| (slot, entry(slot))).collect::<Vec<_>>(), "what was appended is there after a restart");
    assert_eq!(journal.read(9, usize::MAX).await.expect("reads").len(), 2);
    assert_eq!(journal.read(1, 250).await.expect("reads").len(), 2, "bounded by bytes");
    assert_eq!(journal.read(3, 1).await.expect("reads"), [(3, entry(3))], "at least one");
    assert_eq!(journal.read(11, usize::MAX).await.expect("reads"), []);

    journal.trim(6).await.expect("trims");
    let slots = |entries: Vec<(u64, Bytes)>| entries.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>();
    assert_eq!(slots(journal.read(FIRST_SLOT, usize::MAX).await.expect("reads")), [6, 7, 8, 9, 10]);
    assert_eq!(journal.append(5, entry(99)).await, Appended::Taken, "trimming frees no slot");
    journal.trim(1_000).await.expect("trims");
    assert_eq!(slots(journal.read(FIRST_SLOT, usize::MAX).await.expect("reads")), [10], "the last slot is never trimmed");
    drop(journal);

    let journal = open().await;
    assert_eq!(slots(journal.read(FIRST_SLOT, usize::MAX).await.expect("reads")), [10], "trimmed slots stay trimmed");
    assert_eq!(journal.append(10, entry(99)).await, Appended::Taken);
    assert_eq!(journal.append(11, entry(11)).await, Appended::Done);
}
