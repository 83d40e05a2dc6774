//! The `identity` file: who a WAL directory is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use types::WalId;

use crate::codec::array;

const FILE: &str = "identity";
const MAGIC: &[u8; 8] = b"SILTWAL1";
const LEN: usize = 28;

pub(crate) fn encode(id: WalId) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..24].copy_from_slice(id.as_bytes());
    let sum = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The id, or what is wrong with the bytes.
pub(crate) fn decode(bytes: &[u8]) -> Result<WalId, String> {
    if bytes.len() != LEN {
        return Err(format!("{FILE} is {} bytes long, not {LEN}", bytes.len()));
    }
    if &bytes[..8] != MAGIC {
        return Err(format!("{FILE} begins with {:?}: not a directory of this release's format {:?}", ascii(&bytes[..8]), ascii(MAGIC)));
    }
    if crc32c::crc32c(&bytes[..24]) != u32::from_be_bytes(array(bytes, 24)) {
        return Err(format!("{FILE} is damaged: its checksum does not match"));
    }
    Ok(WalId::from_bytes(array(bytes, 8)))
}

fn ascii(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// `None` where there is no such file.
pub(crate) fn read(dir: &Path) -> Result<Option<WalId>, String> {
    match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => decode(&bytes).map(Some),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(format!("read {FILE}: {err}")),
    }
}

/// Writes the file so that after a crash it is there whole or not at all.
pub(crate) fn create(dir: &Path, id: WalId) -> io::Result<()> {
    let temporary = dir.join("identity.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(&encode(id))?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_identity_has_not_changed() {
        let golden = include_bytes!("../../tests/golden/identity.bin");
        assert_eq!(encode(WalId::from_bytes([0xA7; 16])), *golden);
        assert_eq!(decode(golden), Ok(WalId::from_bytes([0xA7; 16])));
    }

    #[test]
    fn a_damaged_identity_and_another_format_are_refused() {
        let good = encode(WalId::from_bytes([0xA7; 16]));
        for at in 0..LEN {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
        assert!(decode(&good[..LEN - 1]).is_err());
    }

    #[test]
    fn an_identity_reads_back_and_is_absent_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Ok(None));
        create(dir.path(), WalId::from_bytes([3; 16])).unwrap();
        assert_eq!(read(dir.path()), Ok(Some(WalId::from_bytes([3; 16]))));
    }
}
