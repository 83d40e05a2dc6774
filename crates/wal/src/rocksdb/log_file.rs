//! Reads RocksDB's WAL files past the point where RocksDB stopped, and tells how far one was written.
//!
//! Point-in-time recovery takes the first damaged byte of the newest file for its end: nothing in the file tells damage in its middle
//! from a torn tail. Our entries do: each says what was synced when it was written, so an intact one beyond the cut proves whether
//! something synced lies between (rule R11). The layout is RocksDB's `db/log_format.h` and `db/write_batch.cc`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use types::Lsn;

use crate::codec::{self, KEY_LEN, PREFIX_LEN};

pub(crate) const BLOCK_LEN: usize = 32 * 1024;
pub(crate) const HEADER_LEN: usize = 7;
/// With the file's number, so that a recycled file's old content is told apart.
const RECYCLABLE_HEADER_LEN: usize = 11;
/// Sequence and count before a write batch's first operation.
const BATCH_HEADER_LEN: usize = 12;
/// A put into another column family than the default one.
const PUT_TO_FAMILY: u8 = 5;
/// As much of a write batch as tells whether its first entry is intact: three varints of up to 5 bytes, a tag, key and value.
const WANTED_LEN: usize = BATCH_HEADER_LEN + 1 + 3 * 5 + KEY_LEN + PREFIX_LEN;

/// What the intact entries of a file prove.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Evidence {
    /// The largest `synced` among them.
    pub(crate) synced: Lsn,
    /// Lowest LSN among them.
    pub(crate) lowest: Option<Lsn>,
    /// Highest LSN among them.
    pub(crate) highest: Option<Lsn>,
}

impl Evidence {
    fn add(&mut self, lsn: Lsn, synced: Lsn) {
        self.synced = self.synced.max(synced);
        self.lowest = Some(self.lowest.map_or(lsn, |lowest| lowest.min(lsn)));
        self.highest = self.highest.max(Some(lsn));
    }
}

/// Goes through the file numbered `number` block by block. Damage ends a block, never the search: every block begins with a record.
pub(crate) fn intact_entries(path: &Path, number: u64) -> io::Result<Evidence> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK_LEN);
    let mut evidence = Evidence::default();
    let mut prefix = Prefix::default();
    loop {
        block.clear();
        Read::by_ref(&mut file).take(BLOCK_LEN as u64).read_to_end(&mut block)?;
        read_block(&block, number, &mut prefix, &mut evidence);
        if block.len() < BLOCK_LEN {
            return Ok(evidence);
        }
    }
}

/// Where the last intact record of the file numbered `number` ends. What lies behind it is of no use: what a recycled file held before, or
/// what a power cut left of a write.
pub(crate) fn written_len(file: &File, number: u64) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut block = [0; BLOCK_LEN];
    let mut end = len;
    while 0 < end {
        let start = (end - 1) / BLOCK_LEN as u64 * BLOCK_LEN as u64;
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        let mut rest = &*block;
        while let Some((_, after)) = split_record(rest, number) {
            rest = after;
        }
        if rest.len() < block.len() {
            return Ok(end - rest.len() as u64);
        }
        end = start;
    }
    Ok(0)
}

/// The first bytes of the write batch being read, gathered over its fragments.
#[derive(Default)]
struct Prefix {
    bytes: Vec<u8>,
    open: bool,
}

fn read_block(mut block: &[u8], number: u64, prefix: &mut Prefix, evidence: &mut Evidence) {
    while let Some((record, rest)) = split_record(block, number) {
        block = rest;
        let Fragment { payload, first, last } = record;
        if first {
            prefix.bytes.clear();
            prefix.open = true;
        }
        if !prefix.open {
            continue;
        }
        let wanted = WANTED_LEN.saturating_sub(prefix.bytes.len()).min(payload.len());
        prefix.bytes.extend_from_slice(&payload[..wanted]);
        if last || prefix.bytes.len() == WANTED_LEN {
            prefix.open = false;
            if let Some((lsn, synced)) = first_entry(&prefix.bytes) {
                evidence.add(lsn, synced);
            }
        }
    }
    // A record that ends in the middle of a block is damage, and what follows in the next block does not continue it.
    if HEADER_LEN <= block.len() {
        prefix.open = false;
    }
}

/// A record of the file: a whole write, or a part of one.
pub(crate) struct Fragment<'a> {
    payload: &'a [u8],
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// The record that `block` begins with and what follows it; `None` at the end of the block or at damage.
pub(crate) fn split_record(block: &[u8], number: u64) -> Option<(Fragment<'_>, &[u8])> {
    let header = block.get(..HEADER_LEN)?;
    let stored = u32::from_le_bytes(codec::array(header, 0));
    let len = usize::from(u16::from_le_bytes(codec::array(header, 4)));
    let (header_len, first, last) = match header[6] {
        1 => (HEADER_LEN, true, true),
        2 => (HEADER_LEN, true, false),
        3 => (HEADER_LEN, false, false),
        4 => (HEADER_LEN, false, true),
        5 => (RECYCLABLE_HEADER_LEN, true, true),
        6 => (RECYCLABLE_HEADER_LEN, true, false),
        7 => (RECYCLABLE_HEADER_LEN, false, false),
        8 => (RECYCLABLE_HEADER_LEN, false, true),
        // What describes the file and carries no write: read over as a record that neither begins nor ends one.
        10 | 130 => (HEADER_LEN, false, false),
        11 | 131 => (RECYCLABLE_HEADER_LEN, false, false),
        _ => return None,
    };
    let end = header_len + len;
    let record = block.get(..end)?;
    if header_len == RECYCLABLE_HEADER_LEN && u64::from(u32::from_le_bytes(codec::array(record, HEADER_LEN))) != number & 0xFFFF_FFFF {
        return None;
    }
    if mask(crc32c::crc32c(&record[6..])) != stored {
        return None;
    }
    Some((Fragment { payload: &record[header_len..], first, last }, &block[end..]))
}

/// As RocksDB stores a checksum, so that a checksum over bytes that hold checksums is not degenerate.
pub(crate) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// LSN and `synced` of the entry that the write batch begins with, if it begins with an intact one.
fn first_entry(batch: &[u8]) -> Option<(Lsn, Lsn)> {
    let (tag, rest) = batch.get(BATCH_HEADER_LEN..)?.split_first()?;
    if *tag != PUT_TO_FAMILY {
        return None;
    }
    let (_family, rest) = varint(rest)?;
    let (key_len, rest) = varint(rest)?;
    if key_len as usize != KEY_LEN {
        return None;
    }
    let (key, rest) = rest.split_first_chunk::<KEY_LEN>()?;
    let (value_len, value) = varint(rest)?;
    let value = &value[..value.len().min(value_len as usize)];
    Some((codec::lsn_of(key)?, codec::intact_prefix(key, value)?))
}

fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::batch_entry;

    fn put(lsn: u64, len: usize, synced: u64) -> Vec<u8> {
        let mut value = Vec::new();
        codec::encode(Lsn(lsn), &batch_entry(1, len), Lsn(synced), &mut value);
        let mut batch = vec![0; BATCH_HEADER_LEN];
        batch.extend_from_slice(&[PUT_TO_FAMILY, 3, KEY_LEN as u8]);
        batch.extend_from_slice(&codec::key(Lsn(lsn)));
        let mut len = value.len();
        while 0x80 <= len {
            batch.push((len as u8) | 0x80);
            len >>= 7;
        }
        batch.push(len as u8);
        batch.extend_from_slice(&value);
        batch
    }

    /// Writes `batches` as RocksDB does, in the recyclable form.
    fn log(number: u32, batches: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        for batch in batches {
            let mut left = batch.as_slice();
            let mut first = true;
            while !left.is_empty() {
                let room = BLOCK_LEN - log.len() % BLOCK_LEN;
                if room < RECYCLABLE_HEADER_LEN {
                    log.resize(log.len() + room, 0);
                    continue;
                }
                let (now, later) = left.split_at(left.len().min(room - RECYCLABLE_HEADER_LEN));
                let kind = match (first, later.is_empty()) {
                    (true, true) => 5,
                    (true, false) => 6,
                    (false, false) => 7,
                    (false, true) => 8,
                };
                let mut body = vec![kind];
                body.extend_from_slice(&number.to_le_bytes());
                body.extend_from_slice(now);
                log.extend_from_slice(&mask(crc32c::crc32c(&body)).to_le_bytes());
                log.extend_from_slice(&(now.len() as u16).to_le_bytes());
                log.extend_from_slice(&body);
                (left, first) = (later, false);
            }
        }
        log
    }

    fn evidence(log: &[u8], number: u64) -> Evidence {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, log).unwrap();
        intact_entries(&path, number).unwrap()
    }

    #[test]
    fn entries_beyond_damage_are_found() {
        let mut log = log(9, &[put(1, 100, 1), put(2, 40_000, 2), put(3, 50_000, 3), put(4, 100, 4)]);
        assert_eq!(evidence(&log, 9), Evidence { synced: Lsn(4), lowest: Some(Lsn(1)), highest: Some(Lsn(4)) });
        log[20] ^= 1;
        assert_eq!(evidence(&log, 9), Evidence { synced: Lsn(4), lowest: Some(Lsn(3)), highest: Some(Lsn(4)) });
    }

    #[test]
    fn an_entry_split_over_a_blocks_end_is_found() {
        for len in BLOCK_LEN - 300..BLOCK_LEN {
            let log = log(9, &[put(1, len, 1), put(2, 100, 2)]);
            assert_eq!(evidence(&log, 9).highest, Some(Lsn(2)), "after a batch of {len} bytes");
        }
    }

    #[test]
    fn what_a_recycled_file_held_before_is_not_evidence() {
        let mut recycled = log(8, &[put(1, 40_000, 1), put(2, 40_000, 2)]);
        let new = log(9, &[put(3, 100, 3)]);
        recycled[..new.len()].copy_from_slice(&new);
        assert_eq!(evidence(&recycled, 9), Evidence { synced: Lsn(3), lowest: Some(Lsn(3)), highest: Some(Lsn(3)) });
    }

    fn written(log: &[u8], number: u64) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, log).unwrap();
        written_len(&File::open(path).unwrap(), number).unwrap() as usize
    }

    #[test]
    fn a_file_was_written_up_to_its_last_intact_record() {
        for len in [100, BLOCK_LEN - 300, BLOCK_LEN - 90, BLOCK_LEN, 200_000] {
            let new = log(9, &[put(1, 10, 1), put(2, len, 2)]);
            assert_eq!(written(&new, 9), new.len());
            let mut recycled = log(8, &[put(1, 150_000, 1), put(2, 150_000, 2)]);
            recycled[..new.len()].copy_from_slice(&new);
            assert_eq!(written(&recycled, 9), new.len(), "{len} bytes over a longer file");
            let followed_by_zeroes = [new.as_slice(), &[0; 3 * BLOCK_LEN]].concat();
            assert_eq!(written(&followed_by_zeroes, 9), new.len());
            let torn = written(&new[..new.len() - 1], 9);
            assert!(torn < new.len() && new.len() - torn <= BLOCK_LEN, "the last record of {len} bytes is cut off");
        }
    }

    #[test]
    fn damage_before_intact_records_stays_in_the_file() {
        let mut log = log(9, &[put(1, 40_000, 1), put(2, 40_000, 2), put(3, 100, 3)]);
        log[20] ^= 1;
        assert_eq!(written(&log, 9), log.len());
    }

    #[test]
    fn nothing_was_written_to_a_file_of_zeroes_or_of_another_number() {
        assert_eq!(written(&log(8, &[put(1, 150_000, 1)]), 9), 0);
        assert_eq!((written(&[0; 100_000], 9), written(&[], 9)), (0, 0));
    }

    #[test]
    fn a_file_of_zeroes_or_noise_proves_nothing() {
        assert_eq!(evidence(&[0; 100_000], 9), Evidence::default());
        let noise: Vec<u8> = (0u32..100_000).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        assert_eq!(evidence(&noise, 9), Evidence::default());
        assert_eq!(evidence(&[], 9), Evidence::default());
    }
}
