//! The data directory: one process at a time, one broker of one cluster for good.
//!
//! `identity` holds cluster id and node id in Kafka's `meta.properties` form; the write-ahead log keeps its own id beside its
//! entries. `lock` is held for as long as the process lives.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use types::{BrokerId, ClusterId};

/// Written as `version`; another one is refused.
const FORMAT: &str = "1";

/// A locked data directory.
pub(crate) struct DataDir {
    path: PathBuf,
    /// `None` before the first registration.
    cluster: Option<ClusterId>,
    node: BrokerId,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if it is not there, locks it, and checks that it is this broker's. Nothing is changed if it is not.
    pub(crate) fn open(path: &Path, node: BrokerId) -> Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("create data directory {shown}; set data.dir to a directory that can be written"))?;
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
        Ok(Self { path: path.to_owned(), cluster, node, _lock: lock })
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
        let staged = self.path.join("identity.staged");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&staged)?;
            write!(file, "version={FORMAT}\ncluster.id={cluster}\nnode.id={}\n", self.node)?;
            file.sync_all()?;
            fs::rename(&staged, self.path.join("identity"))?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("write {}", self.path.join("identity").display()))?;
        self.cluster = Some(cluster);
        Ok(())
    }
}

fn read_identity(path: &Path, node: BrokerId) -> Result<Option<ClusterId>> {
    let file = path.join("identity");
    let shown = file.display();
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {shown}")),
    };
    let properties: HashMap<String, String> =
        java_properties::read(text.as_slice()).with_context(|| format!("{shown} is damaged; restore it from a backup"))?;
    let property = |key: &str| properties.get(key).with_context(|| format!("{shown} lacks {key}; restore it from a backup"));
    let version = property("version")?;
    if version != FORMAT {
        bail!("{shown} is of format {version}, this program reads format {FORMAT}; use the release that wrote it or a newer one");
    }
    let bound_node = property("node.id")?;
    if *bound_node != node.to_string() {
        bail!("data directory {} belongs to node.id {bound_node}, not {node}; set node.id={bound_node} or another data.dir", path.display());
    }
    let cluster = property("cluster.id")?.parse().with_context(|| format!("{shown}: cluster.id is not a UUID; restore it from a backup"))?;
    Ok(Some(ClusterId(cluster)))
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
    fn a_second_process_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let _held = DataDir::open(temporary.path(), BrokerId(1)).unwrap();
        let error = DataDir::open(temporary.path(), BrokerId(1)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }
}
