//! The end of RocksDB's MANIFEST, which says what files and column families there are.
//!
//! RocksDB syncs every record of it before anything depends on that record, and refuses to open with one that is damaged. So a power
//! cut while the last record is being written may leave a log that does not open, if some of the record's sectors are kept and others
//! not. Such a record never counted: it is cut off before RocksDB sees it. Where a later record is intact it is no torn end but
//! damage, and is left for RocksDB to refuse. A last record that was synced and damaged later is cut off too; what is then missing is
//! noticed as a missing entry is, by the seals, the mark and metadata.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use super::log_file::{BLOCK_LEN, HEADER_LEN, split_record};

/// Cuts a torn last record off the MANIFEST in use.
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
        tracing::warn!(end, len = manifest.len(), file = name, "cut a torn record off the write-ahead log's manifest");
        OpenOptions::new().write(true).open(db.join(name))?.set_len(end as u64)?;
    }
    Ok(())
}

/// Where the torn record begins; `None` when the end is intact, or something intact follows the damage.
fn torn_from(manifest: &[u8]) -> Option<usize> {
    let mut intact = 0;
    let mut damaged = false;
    for (number, block) in manifest.chunks(BLOCK_LEN).enumerate() {
        let mut at = 0;
        // Less than a header fills a block's end.
        while at + HEADER_LEN <= block.len() {
            match split_record(&block[at..], 0) {
                Some((fragment, _)) if damaged && fragment.first => return None,
                Some((fragment, after)) => {
                    at = block.len() - after.len();
                    if fragment.last && !damaged {
                        intact = number * BLOCK_LEN + at;
                    }
                }
                // A damaged length says nothing: the next record may begin at any byte.
                None => {
                    damaged = true;
                    at += 1;
                }
            }
        }
    }
    damaged.then_some(intact)
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
    fn a_torn_last_record_is_cut_off_and_no_other() {
        let whole = [record(100), record(600), record(300)].concat();
        let last = whole.len() - record(300).len();
        assert_eq!(torn_from(&whole), None);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(torn_from(&damaged), (last <= at).then_some(last), "byte {at}");
        }
        for end in last + HEADER_LEN..whole.len() {
            assert_eq!(torn_from(&whole[..end]), Some(last), "cut after {end} bytes");
        }
        let zeroes = [&whole, [0; 200].as_slice()].concat();
        assert_eq!(torn_from(&zeroes), Some(whole.len()));
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
