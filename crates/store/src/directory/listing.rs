//! Lists a directory tree in the order of keys, without holding more of it than one folder per level.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::modified;
use crate::{ObjectMeta, key};

/// As [`crate::ObjectStore::list`]. What vanishes meanwhile is left out.
pub(super) fn list(root: &Path, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<ObjectMeta>> {
    let mut walk = Walk { root, prefix, after, limit, found: Vec::new() };
    walk.folder("")?;
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<ObjectMeta>,
}

impl Walk<'_> {
    /// Walks a folder; `path` is empty or ends with a slash. Folders are ordered with their slash, so that `a/b` comes after `a-b` and
    /// before `a0`, as it does among keys.
    fn folder(&mut self, path: &str) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !key::is_key(&name) {
                continue;
            }
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            let key = format!("{path}{name}{slash}");
            if self.may_hold(&key) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        for key in keys {
            if self.found.len() == self.limit {
                break;
            }
            if key.ends_with('/') {
                self.folder(&key)?;
            } else {
                self.object(key)?;
            }
        }
        Ok(())
    }

    /// Whether an object (or a folder, which ends with a slash) can be part of the answer.
    fn may_hold(&self, key: &str) -> bool {
        let is_folder = key.ends_with('/');
        let has_prefix = key.starts_with(self.prefix) || is_folder && self.prefix.starts_with(key);
        let is_after = self.after.is_none_or(|after| after < key || is_folder && after.starts_with(key));
        has_prefix && is_after
    }

    fn object(&mut self, key: String) -> io::Result<()> {
        match fs::metadata(self.root.join(&key)) {
            Ok(metadata) => self.found.push(ObjectMeta { length: metadata.len(), modified: modified(&metadata), key }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
