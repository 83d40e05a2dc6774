use std::ops::Range;

use super::*;

/// Room for 32 blocks, in files of one each.
const BLOCK: usize = 1000;
const MAX_BYTES: u64 = 32 * BLOCK as u64;

struct Rig {
    folder: tempfile::TempDir,
    cache: DiskCache,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), MAX_BYTES).unwrap();
    Rig { folder, cache }
}

fn id(number: u64) -> BlockId {
    BlockId { key: "a".into(), range: number * 10_000..number * 10_000 + BLOCK as u64 }
}

fn block(number: u64) -> Bytes {
    Bytes::from(vec![number as u8; BLOCK])
}

impl Rig {
    async fn put(&self, number: u64, share: Share) {
        self.cache.put(&id(number), &block(number), share);
        self.cache.written().await;
    }

    async fn kept(&self, numbers: Range<u64>) -> Vec<u64> {
        let mut kept = Vec::new();
        for number in numbers {
            match self.cache.get(&id(number)).await {
                Some(found) if found == block(number) => kept.push(number),
                Some(_) => panic!("block {number} is another"),
                None => {}
            }
        }
        kept
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn bytes_on_disk(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }
}

#[tokio::test]
async fn a_block_comes_back_as_it_was_written() {
    let rig = rig();
    rig.put(1, Share::History).await;
    rig.put(2, Share::Tail).await;
    assert_eq!(rig.kept(0..4).await, [1, 2]);
    assert_eq!(rig.cache.counts(), DiskCacheCounts { held: 2000, written: 2000, damaged: 0, skipped: 0 });
}

#[tokio::test]
async fn it_keeps_to_its_bytes_and_the_oldest_file_goes_first() {
    let rig = rig();
    for number in 0..100 {
        rig.put(number, Share::History).await;
        assert!(rig.bytes_on_disk() <= MAX_BYTES);
    }
    assert_eq!(rig.kept(0..100).await, (68..100).collect::<Vec<_>>());
    assert_eq!((rig.files().len(), rig.bytes_on_disk(), rig.cache.counts().held), (32, MAX_BYTES, MAX_BYTES));
}

#[tokio::test]
async fn t23_however_much_history_is_read_the_tail_keeps_its_half() {
    let rig = rig();
    for number in 0..16 {
        rig.put(number, Share::Tail).await;
    }
    for number in 100..300 {
        rig.put(number, Share::History).await;
    }
    assert_eq!((rig.kept(0..16).await, rig.kept(100..300).await), ((0..16).collect(), (284..300).collect()));
}

#[tokio::test]
async fn a_damaged_block_is_a_miss_and_may_be_written_again() {
    for damage in [|file: &Path| fs::write(file, vec![0; BLOCK]).unwrap(), |file: &Path| fs::write(file, vec![1; BLOCK - 1]).unwrap()] {
        let rig = rig();
        rig.put(1, Share::History).await;
        damage(&rig.files()[0]);
        assert_eq!(rig.cache.get(&id(1)).await, None);
        assert_eq!(rig.cache.counts().damaged, 1);
        rig.put(1, Share::History).await;
        assert_eq!(rig.kept(1..2).await, [1]);
        // The file with the damaged one goes, and the block stays.
        for number in 100..131 {
            rig.put(number, Share::History).await;
        }
        assert_eq!(rig.kept(1..2).await, [1]);
    }
}

#[tokio::test]
async fn a_start_begins_empty_and_leaves_strangers_alone() {
    let rig = rig();
    rig.put(1, Share::History).await;
    fs::write(rig.folder.path().join("lost+found"), "not ours").unwrap();
    let again = DiskCache::open(rig.folder.path(), MAX_BYTES).unwrap();
    assert_eq!((again.get(&id(1)).await, again.counts().held), (None, 0));
    assert_eq!(rig.files(), [rig.folder.path().join("lost+found")]);
    DiskCache::clear(&rig.folder.path().join("never made")).unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_cache_and_gets_its_space_back() {
    let rig = rig();
    rig.put(1, Share::History).await;
    // The next file cannot be made.
    let in_the_way = rig.folder.path().join("00000002.blocks");
    fs::create_dir(&in_the_way).unwrap();
    rig.put(2, Share::History).await;
    assert_eq!((rig.kept(0..4).await, rig.files()), (vec![], vec![in_the_way]));
    rig.put(3, Share::History).await;
    assert_eq!((rig.kept(0..4).await, rig.cache.counts().held), (vec![], 0));
}

#[tokio::test]
async fn blocks_that_come_faster_than_the_disk_are_skipped_and_nobody_waits() {
    let rig = rig();
    let busy = rig.cache.0.writer.lock();
    for number in 0..WRITES as u64 + 3 {
        rig.cache.put(&id(number), &block(number), Share::History);
    }
    assert_eq!(rig.cache.counts().skipped, 3);
    drop(busy);
    rig.cache.written().await;
    assert_eq!(rig.kept(0..100).await.len(), WRITES);
}

#[tokio::test]
async fn a_block_larger_than_a_file_is_not_kept() {
    let rig = rig();
    let large = BlockId { key: "a".into(), range: 0..BLOCK as u64 + 1 };
    rig.cache.put(&large, &Bytes::from(vec![0; BLOCK + 1]), Share::History);
    rig.cache.written().await;
    assert_eq!((rig.cache.get(&large).await, rig.files().len()), (None, 0));
}
