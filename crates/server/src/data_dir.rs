//! The data directory: one process at a time, one broker of one cluster for good.
//!
//! `identity` holds cluster id and node id in Kafka's `meta.properties` form; the write-ahead log keeps its own id beside its
//! entries. `revision` says how far metadata was seen, so that an older metadata directory put back is noticed (rule R8). `lock` is held
//! for as long as the process lives.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use types::{BrokerId, ClusterId, Revision};

/// Written as `version`; another one is refused.
const FORMAT: &str = "1";

/// A locked data directory.
pub(crate) struct DataDir {
    path: PathBuf,
    /// `None` before the first registration.
    cluster: Option<ClusterId>,
    node: BrokerId,
    /// Highest metadata revision that was seen and noted.
    revision: Revision,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if it is not there, locks it, and checks that it is this broker's. Nothing is changed if it is not.
    pub(crate) fn open(path: &Path, node: BrokerId) -> Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path)
            .with_context(|| format!("create data directory {shown}; set data.dir to a directory that can be written"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .with_context(|| format!("lock data directory {shown}; set data.dir to a directory that can be written"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("data directory {shown} is in use by another process; stop that broker, or set data.dir to another directory");
        }
        let cluster = read_identity(path, node)?;
        let revision = read_revision(path)?;
        Ok(Self { path: path.to_owned(), cluster, node, revision, _lock: lock })
    }

    /// The cluster this directory belongs to, once a broker has registered from it.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The folder `name` inside.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Binds the directory to its cluster, durably, at the first registration.
    pub(crate) fn bind(&mut self, cluster: ClusterId) -> Result<()> {
        match self.cluster {
            Some(bound) if bound == cluster => return Ok(()),
            Some(bound) => bail!(
                "data directory {} belongs to cluster {bound}, the metadata service is of cluster {cluster}; set data.dir to this cluster's directory",
                self.path.display()
            ),
            None => {}
        }
        self.write("identity", &format!("version={FORMAT}\ncluster.id={cluster}\nnode.id={}\n", self.node))?;
        self.cluster = Some(cluster);
        Ok(())
    }

    /// The highest metadata revision that [`Self::note_revision`] was told.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Notes, durably, that metadata has come to `revision`. Waits for the disk; a lower one than before changes nothing.
    pub(crate) fn note_revision(&mut self, revision: Revision) -> Result<()> {
        if revision <= self.revision {
            return Ok(());
        }
        self.write("revision", &format!("version={FORMAT}\nrevision={revision}\n"))?;
        self.revision = revision;
        Ok(())
    }

    /// Replaces a file so that after a crash the old or the new one is there, whole.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let staged = self.path.join(format!("{name}.staged"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&staged)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&staged, self.path.join(name))?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("write {}", self.path.join(name).display()))
    }
}

fn read_identity(path: &Path, node: BrokerId) -> Result<Option<ClusterId>> {
    let Some(file) = Properties::read(path.join("identity"))? else { return Ok(None) };
    let bound_node: i32 = file.value("node.id")?;
    if bound_node != node.0 {
        bail!(
            "data directory {} belongs to node.id {bound_node}, not {node}; set node.id={bound_node} or another data.dir",
            path.display()
        );
    }
    Ok(Some(ClusterId(file.value("cluster.id")?)))
}

fn read_revision(path: &Path) -> Result<Revision> {
    Ok(match Properties::read(path.join("revision"))? {
        Some(file) => Revision(file.value("revision")?),
        None => Revision(0),
    })
}

/// A file of this directory, in the format that this program reads.
struct Properties {
    path: PathBuf,
    values: HashMap<String, String>,
}

impl Properties {
    /// `None` where there is no such file.
    fn read(path: PathBuf) -> Result<Option<Self>> {
        let shown = path.display();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {shown}")),
        };
        let values = java_properties::read(text.as_slice()).with_context(|| format!("{shown} is damaged; restore it from a backup"))?;
        let file = Self { path, values };
        let version: String = file.value("version")?;
        if version != FORMAT {
            let shown = file.path.display();
            bail!("{shown} is of format {version}, this program reads format {FORMAT}; use the release that wrote it or a newer one");
        }
        Ok(Some(file))
    }

    fn value<T: FromStr>(&self, key: &str) -> Result<T> {
        let value = self.values.get(key).and_then(|value| value.parse().ok());
        value.with_context(|| format!("{} lacks a valid {key}; restore it from a backup", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_bound_to_one_cluster_and_one_node() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("data");
        let cluster = ClusterId::from_bytes([7; 16]);
        {
            let mut directory = DataDir::open(&path, BrokerId(1)).unwrap();
            assert_eq!(directory.cluster(), None);
            directory.bind(cluster).unwrap();
        }
        let mut directory = DataDir::open(&path, BrokerId(1)).unwrap();
        assert_eq!(directory.cluster(), Some(cluster));
        let other = directory.bind(ClusterId::from_bytes([8; 16])).unwrap_err();
        assert!(other.to_string().contains("belongs to cluster"), "{other}");
        drop(directory);
        let other = DataDir::open(&path, BrokerId(2)).map(|_| ()).unwrap_err();
        assert!(other.to_string().contains("belongs to node.id 1, not 2"), "{other}");
    }

    #[test]
    fn r8_the_noted_revision_stays_and_never_goes_back() {
        let temporary = tempfile::tempdir().unwrap();
        {
            let mut directory = DataDir::open(temporary.path(), BrokerId(1)).unwrap();
            assert_eq!(directory.revision(), Revision(0));
            directory.note_revision(Revision(7)).unwrap();
            directory.note_revision(Revision(6)).unwrap();
        }
        assert_eq!(DataDir::open(temporary.path(), BrokerId(1)).unwrap().revision(), Revision(7));
        fs::write(temporary.path().join("revision"), "version=1\nrevision=many\n").unwrap();
        let damaged = DataDir::open(temporary.path(), BrokerId(1)).map(|_| ()).unwrap_err();
        assert!(damaged.to_string().contains("lacks a valid revision"), "{damaged}");
    }

    #[test]
    fn a_second_process_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let _held = DataDir::open(temporary.path(), BrokerId(1)).unwrap();
        let error = DataDir::open(temporary.path(), BrokerId(1)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }
}
