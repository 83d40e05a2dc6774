//! Objects as files below one directory.
//!
//! An object is written under a staging name, synced, and then linked under its own name, which fails if something is there. So a name
//! never shows a part of an object. After the link its folder is synced, and, the first time, that folder's own entry in every folder
//! up to the root: only then is it told to the caller.
//!
//! Staging files are locked while they are written. Leftovers of a process that died have no lock and are swept by the next start;
//! those of another process that is alive are left alone.

mod listing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use runtime::Random;
use types::Timestamp;

use crate::read_at::read_exact_at;
use crate::{Created, ObjectMeta, ObjectStore, OpenError, Operation, StoreError, key};

/// Holds staging files. No key can name it, because no part of a key begins with a dot.
const STAGING: &str = ".staging";

/// Folders known to be durable that are remembered; past it all are forgotten and synced again when they are next used.
const REMEMBERED_FOLDERS: usize = 65_536;

/// How often a put makes its folder again because a deletion removed it as empty in between.
const FOLDER_ATTEMPTS: usize = 8;

/// A store in a directory of a POSIX file system that has hard links.
#[derive(Clone)]
pub struct DirectoryStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    random: Arc<Random>,
    /// Folders below the root whose entries, up to the root, are on the disk. Locked also while folders are removed, so that what it
    /// says of a folder that holds something stays true.
    durable: Mutex<HashSet<PathBuf>>,
}

impl DirectoryStore {
    /// Opens the directory, and makes it if its parent exists. Sweeps leftovers of interrupted writes and tries that a file can be
    /// written, synced and linked.
    pub async fn open(root: &Path, random: Arc<Random>) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner { root: root.to_owned(), random, durable: Mutex::default() });
        let opened = inner.clone();
        tokio::task::spawn_blocking(move || opened.prepare())
            .await
            .map_err(|stopped| OpenError::Unavailable { url: root.display().to_string(), detail: stopped.to_string() })??;
        Ok(Self(inner))
    }

    /// Makes the directory and those above it that are missing, each durable in the one that holds it.
    pub(crate) fn create(root: &Path) -> io::Result<Created> {
        if root.is_dir() {
            return Ok(Created::WasThere);
        }
        let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()).collect();
        fs::create_dir_all(root)?;
        missing.into_iter().try_for_each(|folder| sync_folder(parent_of(folder)))?;
        Ok(Created::Made)
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        call: impl FnOnce(&Inner, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        key::check(operation, key)?;
        let (inner, owned) = (self.0.clone(), key.to_owned());
        tokio::task::spawn_blocking(move || call(&inner, &owned))
            .await
            .unwrap_or_else(|stopped| Err(StoreError::unknown(operation, key, stopped.to_string())))
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.run(Operation::Put, key, move |inner, key| inner.put(key, &parts)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if !key::check_range(key, &range)? {
            return key::check(Operation::GetRange, key).map(|()| Bytes::new());
        }
        self.run(Operation::GetRange, key, move |inner, key| inner.get_range(key, range)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.run(Operation::Get, key, move |inner, key| inner.get(key, limit)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.run(Operation::Head, key, |inner, key| {
            let (_, length, modified) = inner.open_object(Operation::Head, key)?;
            Ok(ObjectMeta { key: key.to_owned(), length, modified })
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let inner = self.0.clone();
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        tokio::task::spawn_blocking(move || {
            listing::list(&inner.root, &prefix, after.as_deref(), limit).map_err(|error| failed(Operation::List, &prefix, &error))
        })
        .await
        .unwrap_or_else(|stopped| Err(StoreError::unavailable(Operation::List, "", stopped.to_string())))
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let (inner, owned) = (self.0.clone(), keys.to_vec());
        tokio::task::spawn_blocking(move || owned.iter().map(|key| inner.delete(key)).collect()).await.unwrap_or_else(|stopped| {
            keys.iter().map(|key| Err(StoreError::unknown(Operation::Delete, key, stopped.to_string()))).collect()
        })
    }
}

impl Inner {
    fn prepare(&self) -> Result<(), OpenError> {
        let url = || format!("file://{}", self.root.display());
        let refused = |detail: String| OpenError::Refused { url: url(), detail };
        match fs::create_dir(&self.root) {
            Ok(()) => {
                let parent = parent_of(&self.root);
                sync_folder(parent).map_err(|error| refused(format!("cannot sync {}: {error}", parent.display())))?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.root.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(refused("is a file; name a directory".to_owned()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(refused("the directory above it does not exist; make it or correct store.url".to_owned()));
            }
            Err(error) => return Err(refused(format!("cannot make the directory: {error}"))),
        }
        self.sweep().and_then(|()| self.probe()).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Unavailable { url: url(), detail: error.to_string() },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                refused(format!("not writable by this user ({error}); change its owner or store.url"))
            }
            _ => refused(format!("cannot write, sync and link files there: {error}")),
        })
    }

    /// Removes staging files that no living process holds.
    fn sweep(&self) -> io::Result<()> {
        let staging = self.root.join(STAGING);
        fs::create_dir_all(&staging)?;
        for entry in fs::read_dir(&staging)? {
            let path = entry?.path();
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => remove_if_there(&path)?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does once what every put does, so that a file system that cannot is refused at start.
    fn probe(&self) -> io::Result<()> {
        let staged = Staged::write(self, &[Bytes::from_static(b"probe")])?;
        let linked = staged.path.with_extension("linked");
        fs::hard_link(&staged.path, &linked)?;
        sync_folder(&self.root.join(STAGING))?;
        fs::remove_file(&linked)?;
        sync_folder(&self.root)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn put(&self, key: &str, parts: &[Bytes]) -> Result<(), StoreError> {
        let path = self.path(key);
        let folder = path.parent().expect("a key lies below the root");
        // Asked first because a repeat after an unknown outcome should not write tens of megabytes again; the link decides.
        if path.symlink_metadata().is_ok() {
            return Err(self.found(key, &path, folder));
        }
        let staged = Staged::write(self, parts).map_err(|error| failed(Operation::Put, key, &error))?;
        for _ in 0..FOLDER_ATTEMPTS {
            match fs::hard_link(&staged.path, &path) {
                Ok(()) => {
                    return self.make_durable(folder).map_err(|error| StoreError::unknown(Operation::Put, key, error.to_string()));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(self.found(key, &path, folder)),
                Err(error) if error.kind() == ErrorKind::NotFound => match fs::create_dir_all(folder) {
                    Ok(()) => {}
                    // A deletion has removed the folder above, which it had just emptied.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(Operation::Put, key, &error)),
                },
                Err(error) => return Err(failed(Operation::Put, key, &error)),
            }
        }
        Err(StoreError::unavailable(Operation::Put, key, "its folder or its staging file is removed again and again"))
    }

    /// What a put answers that found something under its name. It may be the caller's own object, linked by an attempt that never
    /// got to syncing the folder, so it is made durable before anybody relies on it (rule R1).
    fn found(&self, key: &str, path: &Path, folder: &Path) -> StoreError {
        if path.is_dir() {
            return StoreError::refused(Operation::Put, key, "is a folder of other keys");
        }
        match File::open(path).and_then(|file| sync(&file, path)).and_then(|()| self.make_durable(folder)) {
            Ok(()) => StoreError::already_exists(key),
            Err(error) => StoreError::unknown(Operation::Put, key, error.to_string()),
        }
    }

    /// Syncs `folder`, in which a link was made, and the entries that lead to it. The order matters: a folder that holds a link
    /// cannot be removed any more, so what `durable` says of it from then on is about the folder as it is now.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)?;
        let mut durable = self.durable.lock();
        let mut below = folder;
        while below != self.root && !durable.contains(below) {
            below = below.parent().expect("a folder of a key lies below the root");
            sync_folder(below)?;
        }
        if REMEMBERED_FOLDERS <= durable.len() {
            durable.clear();
        }
        durable.extend(folder.ancestors().take_while(|folder| *folder != self.root).map(Path::to_owned));
        Ok(())
    }

    fn open_object(&self, operation: Operation, key: &str) -> Result<(File, u64, Timestamp), StoreError> {
        let opened = File::open(self.path(key)).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        match opened {
            Ok((file, metadata)) if metadata.is_file() => Ok((file, metadata.len(), modified(&metadata))),
            Ok(_) => Err(StoreError::not_found(key)),
            // A folder of the key is an object: so the key is not one.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(StoreError::not_found(key)),
            Err(error) => Err(failed(operation, key, &error)),
        }
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (file, length, _) = self.open_object(Operation::GetRange, key)?;
        if length < range.end {
            return Err(StoreError::corrupt(key, format!("has {length} bytes, the range {range:?} was asked for")));
        }
        read_at(&file, Operation::GetRange, key, range)
    }

    fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let (file, length, _) = self.open_object(Operation::Get, key)?;
        if limit < length {
            return Err(StoreError::corrupt(key, format!("has {length} bytes, at most {limit} were expected")));
        }
        read_at(&file, Operation::Get, key, 0..length)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::check(Operation::Delete, key)?;
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            // A folder of other keys: as a key it is not there.
            Err(_) if path.is_dir() => return Ok(()),
            Err(error) => return Err(failed(Operation::Delete, key, &error)),
        }
        self.remove_empty_folders(&path);
        Ok(())
    }

    /// Folders that a deleted topic leaves behind. One that cannot be removed holds something again, or is none of our business.
    fn remove_empty_folders(&self, path: &Path) {
        let mut durable = self.durable.lock();
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
            durable.remove(folder);
        }
    }
}

/// A file under a staging name, whole and synced. Its name goes when it is dropped; what was linked stays.
struct Staged {
    path: PathBuf,
    /// Holds the lock that keeps other processes' sweeps away.
    file: File,
}

impl Staged {
    fn write(inner: &Inner, parts: &[Bytes]) -> io::Result<Self> {
        let path = inner.root.join(STAGING).join(format!("{:016x}", inner.random.u64()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let mut staged = Self { path, file };
        staged.file.lock()?;
        for part in parts {
            staged.file.write_all(part)?;
        }
        sync(&staged.file, &staged.path)?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = remove_if_there(&self.path) {
            tracing::warn!(path = %self.path.display(), "a staging file stays until the next start: {error}");
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The folder that holds this one.
fn parent_of(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    sync(&File::open(folder)?, folder)
}

/// The one way to the disk, so that a test sees what is synced and when.
fn sync(file: &File, _path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::note_sync(_path);
    file.sync_all()
}

fn read_at(file: &File, operation: Operation, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
    let length = usize::try_from(range.end - range.start)
        .map_err(|_| StoreError::refused(operation, key, format!("the range {range:?} does not fit into memory")))?;
    match read_exact_at(file, range.start, length) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(StoreError::corrupt(key, format!("became shorter than {} bytes while it was read", range.end)))
        }
        Err(error) => Err(failed(operation, key, &error)),
    }
}

fn modified(metadata: &fs::Metadata) -> Timestamp {
    let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_epoch.and_then(|time| i64::try_from(time.as_millis()).ok()).map_or(Timestamp::NONE, Timestamp)
}

/// An error of a call that had no effect.
fn failed(operation: Operation, key: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::refused(operation, key, format!("{error}; the store's directory must be writable by this user"))
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::refused(operation, key, "one of its folders is an object"),
        _ => StoreError::unavailable(operation, key, error.to_string()),
    }
}
