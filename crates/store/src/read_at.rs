//! Reading a file at a position, into memory that nobody clears first: to clear it would be a fourth of the work.

use std::fs::File;
use std::io::{self, ErrorKind};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{pread, retry_on_intr};

/// Exactly `length` bytes from `position` on. Fails with [`ErrorKind::UnexpectedEof`] where the file ends before them.
pub(crate) fn read_exact_at(file: &File, position: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = position + bytes.len() as u64;
        if retry_on_intr(|| pread(file, spare_capacity(&mut bytes), at))? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    // There may be more room than was asked for.
    bytes.truncate(length);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_is_asked_for_is_read_or_nothing() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        for (position, length) in [(0, 0), (0, 1), (7, 100_000), (0, 200_000), (199_999, 1)] {
            assert_eq!(read_exact_at(&file, position, length).unwrap(), content[position as usize..][..length]);
        }
        for (position, length) in [(0, 200_001), (200_000, 1), (300_000, 5)] {
            assert_eq!(read_exact_at(&file, position, length).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }
}
