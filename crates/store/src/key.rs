//! Which strings are keys. The rule is narrow on purpose: what it admits is spelled alike in a file name, in a URL and in every S3.

use std::ops::Range;

use crate::{Operation, StoreError};

/// The longest key below the configured prefix. S3 admits 1024 bytes in all; a folder or name of a file system 255.
pub const MAX_KEY_BYTES: usize = 512;

const MAX_PART_BYTES: usize = 255;

/// Refuses what is not a key.
pub(crate) fn check(operation: Operation, key: &str) -> Result<(), StoreError> {
    if is_key(key) {
        Ok(())
    } else {
        Err(StoreError::refused(operation, key, "not a key: parts of letters, digits, '-', '_' and '.', joined by '/'"))
    }
}

/// Whether `key` follows the grammar of [`crate::ObjectStore`].
pub(crate) fn is_key(key: &str) -> bool {
    key.len() <= MAX_KEY_BYTES && key.split('/').all(is_part)
}

/// Whether a key may begin with `prefix`. What a listing of another one finds is known without asking, and not every S3 may be asked:
/// MinIO refuses prefixes with a part `.` or `..`, or with an empty one.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let (folders, name) = prefix.rsplit_once('/').map_or((None, prefix), |(folders, name)| (Some(folders), name));
    prefix.len() <= MAX_KEY_BYTES && folders.is_none_or(|folders| folders.split('/').all(is_part)) && (name.is_empty() || is_part(name))
}

/// Refuses a range that ends before it begins, and answers whether there is anything to read.
pub(crate) fn check_range(key: &str, range: &Range<u64>) -> Result<bool, StoreError> {
    if range.end < range.start {
        return Err(StoreError::refused(Operation::GetRange, key, format!("the range {range:?} ends before it begins")));
    }
    Ok(range.start < range.end)
}

fn is_part(part: &str) -> bool {
    (1..=MAX_PART_BYTES).contains(&part.len())
        && !part.starts_with('.')
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_parts_joined_by_slashes() {
        for key in ["meta/cluster", "shared/80/1-7-42", "a", "a.b_c-D/9"] {
            assert!(is_key(key), "{key}");
        }
        let long = "a/".repeat(256) + "a";
        for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".staging/x", "a b", "ä", "a\\b", "a%2Fb", "a\0", &"x".repeat(256), &long]
        {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn what_a_key_begins_with_is_a_prefix() {
        for prefix in ["", "a", "a.", "a/", "a/b", "a/b..", "shared/80/1-"] {
            assert!(is_prefix(prefix), "{prefix}");
            assert!(is_key(&format!("{prefix}x")), "{prefix}");
        }
        for prefix in [".", "..", ".staging/", "/", "/a", "a/.", "a/..", "a/./", "a//", "a//b", "a b", "ä", &"x".repeat(256)] {
            assert!(!is_prefix(prefix), "{prefix}");
            assert!(!is_key(&format!("{prefix}x")), "{prefix}");
        }
    }
}
