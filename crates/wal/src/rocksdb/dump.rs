//! Reading a log without changing it, also one that a broker has open: what `siltstone wal dump` shows.

use std::path::Path;

use types::{Lsn, WalId};

use super::control::Control;
use super::engine::Engine;
use super::identity;
use super::recovery::{database_dir, engine_error};
use crate::codec;
use crate::{Entry, WalError};

/// Entries per read, so that memory stays bounded.
const ROWS_PER_READ: usize = 64;

/// One entry, or why there is none. Going on after a failure is for showing only.
#[derive(Clone, Debug)]
pub struct Dumped {
    /// The generation it lies in.
    pub generation: u64,
    /// Its place in the order; `None` where the key itself is not understood.
    pub lsn: Option<Lsn>,
    /// End (exclusive) of what was synced when it was written.
    pub synced: Lsn,
    /// The entry; `Ok(None)` for a kind that may be skipped.
    pub entry: Result<Option<Entry>, String>,
}

/// A generation as the control rows have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DumpedGeneration {
    /// Its number.
    pub number: u64,
    /// LSN of its first entry, or a lower one if that begins an epoch.
    pub first: Lsn,
    /// Exclusive; `None` for the one being written.
    pub end: Option<Lsn>,
    /// Batch bytes; 0 for the one being written.
    pub bytes: u64,
}

/// The log as it was when this was made. Iterates over its entries in order.
pub struct Dump {
    id: WalId,
    engine: Engine,
    generations: Vec<DumpedGeneration>,
    /// Index of the generation being read, and where in it.
    at: (usize, Lsn),
    read: std::vec::IntoIter<Dumped>,
}

impl Dump {
    /// Opens the log of `dir` for reading.
    pub fn open(dir: &Path) -> Result<Self, WalError> {
        let refused = |detail: String| WalError::Open { path: dir.display().to_string(), detail };
        let id = identity::read(dir).map_err(refused)?.ok_or_else(|| refused("no write-ahead log is there".to_owned()))?;
        let engine = Engine::open_read_only(&database_dir(dir)).map_err(|err| engine_error(dir, &err))?;
        let control = Control::read(&engine).map_err(|detail| WalError::Damaged { detail })?;
        let sealed = control.sealed.iter();
        let mut generations: Vec<_> = sealed
            .map(|(number, seal)| DumpedGeneration { number: *number, first: seal.first, end: Some(seal.end), bytes: seal.bytes })
            .collect();
        generations.extend(control.active.map(|(number, first)| DumpedGeneration { number, first, end: None, bytes: 0 }));
        Ok(Self { id, engine, generations, at: (0, Lsn::ZERO), read: Vec::new().into_iter() })
    }

    /// The log's id.
    pub fn id(&self) -> WalId {
        self.id
    }

    /// The generations, oldest first.
    pub fn generations(&self) -> &[DumpedGeneration] {
        &self.generations
    }

    /// Leaves out the entries below `from`, without reading them.
    #[must_use]
    pub fn starting_at(mut self, from: Lsn) -> Self {
        let is_over = |generation: &DumpedGeneration| generation.end.is_some_and(|end| end <= from);
        self.at = (self.generations.iter().take_while(|generation| is_over(generation)).count(), from);
        self
    }

    fn read_more(&mut self) -> Option<Vec<Dumped>> {
        loop {
            let (index, from) = self.at;
            let generation = self.generations.get(index)?.number;
            let mut found = Vec::new();
            let mut next = None;
            if let Some(mut rows) = self.engine.rows(generation, from) {
                loop {
                    match rows.next() {
                        Ok(Some((key, value))) => {
                            let dumped = dump_row(generation, &key, &value);
                            next = dumped.lsn.map(Lsn::next);
                            found.push(dumped);
                            if found.len() == ROWS_PER_READ && next.is_some() {
                                break;
                            }
                        }
                        Ok(None) => {
                            next = None;
                            break;
                        }
                        Err(err) => {
                            next = None;
                            found.push(Dumped { generation, lsn: None, synced: Lsn::ZERO, entry: Err(err.to_string()) });
                            break;
                        }
                    }
                }
            }
            self.at = next.map_or((index + 1, Lsn::ZERO), |next| (index, next));
            if !found.is_empty() {
                return Some(found);
            }
        }
    }
}

impl Iterator for Dump {
    type Item = Dumped;

    fn next(&mut self) -> Option<Dumped> {
        if let Some(dumped) = self.read.next() {
            return Some(dumped);
        }
        self.read = self.read_more()?.into_iter();
        self.read.next()
    }
}

fn dump_row(generation: u64, key: &[u8], value: &bytes::Bytes) -> Dumped {
    let fixed = <&[u8; codec::KEY_LEN]>::try_from(key).ok();
    let Some((key, lsn)) = fixed.and_then(|key| Some((key, codec::lsn_of(key)?))) else {
        let entry = Err(format!("a key that is not an entry's: {}", key.escape_ascii()));
        return Dumped { generation, lsn: None, synced: Lsn::ZERO, entry };
    };
    match codec::decode(key, value) {
        Ok(decoded) => Dumped { generation, lsn: Some(lsn), synced: decoded.synced, entry: Ok(decoded.entry) },
        Err(err) => Dumped { generation, lsn: Some(lsn), synced: Lsn::ZERO, entry: Err(err.to_string()) },
    }
}
