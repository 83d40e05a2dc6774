//! Control rows: which generations there are, and what is trimmed. `docs/formats-wal.md` has their bytes.

use std::collections::BTreeMap;

use types::Lsn;

use super::engine::{Batch, Engine};
use crate::codec::array;

const VERSION: u8 = 1;
const ACTIVE: &[u8] = b"active";
const SEALED: &[u8] = b"sealed";
const START: &[u8] = b"start";
const ACCEPTED: &[u8] = b"accepted";

/// What a closed generation holds, so that a recovered one can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seal {
    pub(crate) first: Lsn,
    pub(crate) end: Lsn,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// CRC-32C over the entries' checksums in order.
    pub(crate) digest: u32,
}

impl Seal {
    /// A generation without entries that begins at `first`.
    pub(crate) fn empty(first: Lsn) -> Self {
        Self { first, end: first, entries: 0, bytes: 0, digest: 0 }
    }

    /// Counts the next entry in.
    pub(crate) fn add(&mut self, lsn: Lsn, checksum: u32, batch_len: usize) {
        self.end = lsn.next();
        self.entries += 1;
        self.bytes += batch_len as u64;
        self.digest = crc32c::crc32c_append(self.digest, &checksum.to_be_bytes());
    }
}

/// All control rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    /// Number and first LSN of the generation being written.
    pub(crate) active: Option<(u64, Lsn)>,
    pub(crate) sealed: BTreeMap<u64, Seal>,
    pub(crate) start: Option<Lsn>,
    pub(crate) accepted: Option<Lsn>,
}

impl Control {
    /// Reads the rows, or says what is wrong with one.
    pub(crate) fn read(engine: &Engine) -> Result<Self, String> {
        let row = |key: &[u8]| match engine.control_row(key).map_err(|err| format!("read control row {}: {err}", key.escape_ascii()))? {
            Some(value) => fields(key, &value).map(|fields| Some(fields.to_vec())),
            None => Ok(None),
        };
        let number = |key: &[u8]| Ok::<_, String>(row(key)?.map(|fields| u64_at::<8>(key, &fields, 0)).transpose()?.map(Lsn));
        let active = match row(ACTIVE)? {
            Some(fields) => Some((u64_at::<16>(ACTIVE, &fields, 0)?, Lsn(u64_at::<16>(ACTIVE, &fields, 8)?))),
            None => None,
        };
        let mut sealed = BTreeMap::new();
        for (key, value) in engine.control_rows(SEALED).map_err(|err| format!("read control rows: {err}"))? {
            let generation = key.get(SEALED.len()..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
            let generation = generation.ok_or_else(|| format!("control row {} has no generation's number", key.escape_ascii()))?;
            let fields = fields(&key, &value)?;
            if fields.len() != 36 {
                return Err(format!("control row {} has {} bytes", key.escape_ascii(), fields.len()));
            }
            let at = |position| u64::from_be_bytes(array(fields, position));
            let digest = u32::from_be_bytes(array(fields, 32));
            sealed.insert(generation, Seal { first: Lsn(at(0)), end: Lsn(at(8)), entries: at(16), bytes: at(24), digest });
        }
        Ok(Self { active, sealed, start: number(START)?, accepted: number(ACCEPTED)? })
    }
}

/// Changes to control rows, as part of a batch.
pub(crate) trait ControlWrites {
    fn put_active(&mut self, generation: u64, first: Lsn);
    fn put_sealed(&mut self, generation: u64, seal: &Seal);
    fn delete_sealed(&mut self, generation: u64);
    fn put_start(&mut self, start: Lsn);
    fn put_accepted(&mut self, end: Lsn);
    fn delete_accepted(&mut self);
}

impl ControlWrites for Batch<'_> {
    fn put_active(&mut self, generation: u64, first: Lsn) {
        put(self, ACTIVE, &[&generation.to_be_bytes(), &first.0.to_be_bytes()]);
    }

    fn put_sealed(&mut self, generation: u64, seal: &Seal) {
        let Seal { first, end, entries, bytes, digest } = seal;
        let numbers = [first.0.to_be_bytes(), end.0.to_be_bytes(), entries.to_be_bytes(), bytes.to_be_bytes()];
        put(self, &sealed_key(generation), &[numbers.as_flattened(), &digest.to_be_bytes()]);
    }

    fn delete_sealed(&mut self, generation: u64) {
        self.delete_control(&sealed_key(generation));
    }

    fn put_start(&mut self, start: Lsn) {
        put(self, START, &[&start.0.to_be_bytes()]);
    }

    fn put_accepted(&mut self, end: Lsn) {
        put(self, ACCEPTED, &[&end.0.to_be_bytes()]);
    }

    fn delete_accepted(&mut self) {
        self.delete_control(ACCEPTED);
    }
}

fn sealed_key(generation: u64) -> Vec<u8> {
    [SEALED, &generation.to_be_bytes()].concat()
}

fn put(batch: &mut Batch<'_>, key: &[u8], fields: &[&[u8]]) {
    batch.put_control(key, &value(key, fields));
}

fn value(key: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut value = vec![VERSION];
    for field in fields {
        value.extend_from_slice(field);
    }
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&sum.to_be_bytes());
    value
}

/// The fields of a row's value, checked.
fn fields<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let name = key.escape_ascii();
    let Some((body, sum)) = value.split_last_chunk::<4>() else { return Err(format!("control row {name} has {} bytes", value.len())) };
    if crc32c::crc32c_append(crc32c::crc32c(key), body) != u32::from_be_bytes(*sum) {
        return Err(format!("control row {name}: checksum mismatch"));
    }
    match body.split_first() {
        Some((&VERSION, fields)) => Ok(fields),
        other => Err(format!("control row {name}: version {:?} is not known", other.map(|(version, _)| version))),
    }
}

/// The number at `position` of fields that are `LEN` bytes long.
fn u64_at<const LEN: usize>(key: &[u8], fields: &[u8], position: usize) -> Result<u64, String> {
    if fields.len() != LEN {
        return Err(format!("control row {} has {} bytes of fields, not {LEN}", key.escape_ascii(), fields.len()));
    }
    Ok(u64::from_be_bytes(array(fields, position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_row_has_not_changed() {
        let golden = include_bytes!("../../tests/golden/active_row.bin");
        assert_eq!(value(ACTIVE, &[&7u64.to_be_bytes(), &41u64.to_be_bytes()]), golden);
        assert_eq!(
            fields(ACTIVE, golden).map(|fields| (u64_at::<16>(ACTIVE, fields, 0), u64_at::<16>(ACTIVE, fields, 8))),
            Ok((Ok(7), Ok(41)))
        );
    }

    #[test]
    fn a_damaged_row_and_a_row_under_another_key_are_refused() {
        let good = value(START, &[&7u64.to_be_bytes()]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(fields(START, &bad).is_err(), "byte {at}");
        }
        assert!(fields(ACTIVE, &good).is_err());
        assert!(fields(START, &[]).is_err());
    }

    #[test]
    fn a_seals_digest_depends_on_order() {
        let seal = |sums: [u32; 2]| {
            let mut seal = Seal::empty(Lsn(1));
            for (lsn, sum) in (1..).zip(sums) {
                seal.add(Lsn(lsn), sum, 10);
            }
            seal
        };
        assert_ne!(seal([1, 2]).digest, seal([2, 1]).digest);
        assert_eq!((seal([1, 2]).end, seal([1, 2]).entries, seal([1, 2]).bytes), (Lsn(3), 2, 20));
    }
}
