//! The `mark` file: how far the log was synced, kept apart from the log so that a log cut short is noticed (rule R11).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use types::{Lsn, WalId};

use crate::codec::array;

const FILE: &str = "mark";
const MAGIC: &[u8; 8] = b"SILTMRK1";
/// A disk sector: a torn write spoils the slot being written and never the other.
const SLOT_LEN: usize = 512;
const USED_LEN: usize = 44;

/// The open file. One thread writes it.
pub(crate) struct MarkFile {
    file: File,
    id: WalId,
    sequence: u64,
    synced: Lsn,
}

impl MarkFile {
    /// Opens the file, or makes one that says nothing. The directory must be synced afterwards.
    pub(crate) fn open(dir: &Path, id: WalId) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))?;
        let mut bytes = [0; 2 * SLOT_LEN];
        let found = read_up_to(&file, &mut bytes)?;
        let newest = bytes[..found].chunks(SLOT_LEN).filter_map(|slot| decode(slot, id)).max_by_key(|(sequence, _)| *sequence);
        let (sequence, synced) = newest.unwrap_or((0, Lsn::ZERO));
        Ok(Self { file, id, sequence, synced })
    }

    /// The end (exclusive) that was last written; `Lsn::ZERO` when nothing is known.
    pub(crate) fn synced(&self) -> Lsn {
        self.synced
    }

    /// Writes and syncs `synced`. Never goes back but by [`Self::reset`].
    pub(crate) fn advance(&mut self, synced: Lsn) -> io::Result<()> {
        if synced <= self.synced { Ok(()) } else { self.write(synced) }
    }

    /// Writes and syncs `synced`, also when it is lower: a loss was accepted.
    pub(crate) fn reset(&mut self, synced: Lsn) -> io::Result<()> {
        // Both slots: the higher value must not come back with a torn write.
        self.write(synced)?;
        self.write(synced)
    }

    fn write(&mut self, synced: Lsn) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let position = (sequence % 2) * SLOT_LEN as u64;
        self.file.write_all_at(&encode(self.id, sequence, synced), position)?;
        self.file.sync_data()?;
        (self.sequence, self.synced) = (sequence, synced);
        Ok(())
    }
}

fn read_up_to(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut found = 0;
    while found < bytes.len() {
        match file.read_at(&mut bytes[found..], found as u64)? {
            0 => break,
            read => found += read,
        }
    }
    Ok(found)
}

fn encode(id: WalId, sequence: u64, synced: Lsn) -> [u8; SLOT_LEN] {
    let mut slot = [0; SLOT_LEN];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..24].copy_from_slice(id.as_bytes());
    slot[24..32].copy_from_slice(&sequence.to_be_bytes());
    slot[32..40].copy_from_slice(&synced.0.to_be_bytes());
    let sum = crc32c::crc32c(&slot[..40]);
    slot[40..USED_LEN].copy_from_slice(&sum.to_be_bytes());
    slot
}

fn decode(slot: &[u8], id: WalId) -> Option<(u64, Lsn)> {
    let valid = USED_LEN <= slot.len()
        && &slot[..8] == MAGIC
        && slot[8..24] == id.as_bytes()[..]
        && crc32c::crc32c(&slot[..40]) == u32::from_be_bytes(array(slot, 40));
    valid.then(|| (u64::from_be_bytes(array(slot, 24)), Lsn(u64::from_be_bytes(array(slot, 32)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: WalId = WalId(uuid::Uuid::from_bytes([0xA7; 16]));

    #[test]
    fn golden_mark_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = MarkFile::open(dir.path(), ID).unwrap();
        mark.advance(Lsn(41)).unwrap();
        mark.advance(Lsn(42)).unwrap();
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), include_bytes!("../../tests/golden/mark.bin"));
        std::fs::write(dir.path().join(FILE), include_bytes!("../../tests/golden/mark.bin")).unwrap();
        assert_eq!(MarkFile::open(dir.path(), ID).unwrap().synced(), Lsn(42));
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        for spoiled in 0..USED_LEN as u64 {
            let dir = tempfile::tempdir().unwrap();
            let mut mark = MarkFile::open(dir.path(), ID).unwrap();
            mark.advance(Lsn(41)).unwrap();
            mark.advance(Lsn(42)).unwrap();
            mark.file.write_all_at(&[0xFF], spoiled).unwrap();
            assert_eq!(MarkFile::open(dir.path(), ID).unwrap().synced(), Lsn(41), "byte {spoiled} of the newer slot");
        }
    }

    #[test]
    fn the_mark_of_another_log_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MarkFile::open(dir.path(), ID).unwrap().synced(), Lsn::ZERO);
        MarkFile::open(dir.path(), ID).unwrap().advance(Lsn(41)).unwrap();
        assert_eq!(MarkFile::open(dir.path(), WalId::from_bytes([1; 16])).unwrap().synced(), Lsn::ZERO);
    }

    #[test]
    fn the_mark_goes_back_only_when_reset() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = MarkFile::open(dir.path(), ID).unwrap();
        mark.advance(Lsn(41)).unwrap();
        mark.advance(Lsn(40)).unwrap();
        assert_eq!(mark.synced(), Lsn(41));
        mark.reset(Lsn(7)).unwrap();
        mark.file.write_all_at(&[0xFF], 0).unwrap();
        assert_eq!(MarkFile::open(dir.path(), ID).unwrap().synced(), Lsn(7), "whichever slot is lost");
    }
}
