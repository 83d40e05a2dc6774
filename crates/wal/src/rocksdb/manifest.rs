//! The end of RocksDB's MANIFEST, which says what files and column families there are.
//!
//! RocksDB syncs records of it before anything depends on them, often several with one sync, and refuses to open with one that is
//! damaged. So a power cut before such a sync may leave a log that does not open: of the unsynced records' sectors some are kept and
//! others not, and a whole record may follow a torn one. None of them ever counted: the MANIFEST is cut where the first damaged
//! record begins, before RocksDB sees it.
//!
//! Nothing in the file tells those records from ones that were synced and damaged later. Where it is such a one, the database is
//! older than it should be, and that is noticed as a missing entry is: by files that are gone, by the control rows and column families
//! that do not match them, by the seals, the mark and metadata.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use super::log_file::{BLOCK_LEN, HEADER_LEN, split_record};

/// Cuts the MANIFEST in use where its first damaged record begins.
pub(crate) fn cut_torn_end(db: &Path) -> io::Result<()> {
    let read = |name: &str| match fs::read(db.join(name)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    // What is missing or not understood here, RocksDB reports.
    let Some(name) = read("CURRENT")?.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Ok(()) };
    let name = name.trim_end();
    let number = name.strip_prefix("MANIFEST-").unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let Some(manifest) = read(name)? else { return Ok(()) };
    if let Some(end) = torn_from(&manifest) {
        tracing::warn!(end, len = manifest.len(), file = name, "cut damaged records off the write-ahead log's manifest");
        OpenOptions::new().write(true).open(db.join(name))?.set_len(end as u64)?;
    }
    Ok(())
}

/// Where the first damaged or unfinished record begins; `None` when there is none.
fn torn_from(manifest: &[u8]) -> Option<usize> {
    let mut intact = 0;
    let mut unfinished = false;
    for (number, block) in manifest.chunks(BLOCK_LEN).enumerate() {
        let mut rest = block;
        // Less than a header fills a block's end.
        while HEADER_LEN <= rest.len() {
            let Some((fragment, after)) = split_record(rest, 0) else { return Some(intact) };
            rest = after;
            unfinished |= fragment.first;
            if fragment.last {
                unfinished = false;
                intact = number * BLOCK_LEN + block.len() - rest.len();
            }
        }
        unfinished |= block.len() < BLOCK_LEN && !rest.is_empty();
    }
    unfinished.then_some(intact)
}

#[cfg(test)]
mod tests {
    use super::super::log_file::mask;
    use super::*;

    fn record(len: usize) -> Vec<u8> {
        let mut body = vec![1];
        body.resize(1 + len, 7);
        [&mask(crc32c::crc32c(&body)).to_le_bytes(), (len as u16).to_le_bytes().as_slice(), &body].concat()
    }

    #[test]
    fn everything_from_the_first_damaged_record_on_is_cut_off() {
        let records = [record(100), record(600), record(300)];
        let whole = records.concat();
        let begin_of = |at: usize| (0..3).map(|n| records[..n].concat().len()).rfind(|begin| *begin <= at).unwrap();
        assert_eq!(torn_from(&whole), None);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(torn_from(&damaged), Some(begin_of(at)), "byte {at}");
            let cut = begin_of(at);
            assert_eq!(torn_from(&whole[..at]), (cut < at).then_some(cut), "cut after {at} bytes");
        }
        let zeroes = [&whole, [0; 200].as_slice()].concat();
        assert_eq!(torn_from(&zeroes), Some(whole.len()));
    }

    #[test]
    fn a_record_over_two_blocks_is_whole_or_cut_off_whole() {
        let of_kind = |kind: u8, len: usize| {
            let mut body = vec![kind];
            body.resize(1 + len, 7);
            [&mask(crc32c::crc32c(&body)).to_le_bytes(), (len as u16).to_le_bytes().as_slice(), &body].concat()
        };
        let whole = [record(100), of_kind(2, BLOCK_LEN - 2 * HEADER_LEN - 100), of_kind(4, 50), record(10)].concat();
        assert_eq!(torn_from(&whole), None);
        assert_eq!(torn_from(&whole[..BLOCK_LEN]), Some(record(100).len()));
        let mut padded = [record(BLOCK_LEN - HEADER_LEN - 3), vec![0; 3]].concat();
        assert_eq!(torn_from(&padded), None, "what fills a block is no damage");
        padded.extend_from_slice(&record(5)[..4]);
        assert_eq!(torn_from(&padded), Some(BLOCK_LEN - 3));
    }

    #[test]
    fn the_manifest_in_use_is_the_one_that_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        cut_torn_end(dir.path()).unwrap();
        let torn = [record(100), vec![3; 50]].concat();
        fs::write(dir.path().join("CURRENT"), "MANIFEST-000007\n").unwrap();
        cut_torn_end(dir.path()).unwrap();
        fs::write(dir.path().join("CURRENT"), "MANIFEST-0\0\n").unwrap();
        cut_torn_end(dir.path()).unwrap();
        fs::write(dir.path().join("CURRENT"), "MANIFEST-000007\n").unwrap();
        for name in ["MANIFEST-000007", "MANIFEST-000005"] {
            fs::write(dir.path().join(name), &torn).unwrap();
        }
        cut_torn_end(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("MANIFEST-000007")).unwrap(), record(100));
        assert_eq!(fs::read(dir.path().join("MANIFEST-000005")).unwrap(), torn);
    }
}
