//! A small file system for a data directory, in memory: one that can be filled without harm to the machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::FallocateFlags;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// Takes what is to be free no more.
const BALLAST: &str = "ballast";

/// A tmpfs in a mount namespace that a child of ours holds; everybody else reaches it through that child's root. It is gone when this is
/// dropped.
pub(crate) struct SmallDisk {
    _holder: Child,
    root: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `bytes` over the directory `over`, as seen by the child. An error says why this machine does not let us.
    pub(crate) async fn mount(bytes: u64, over: &Path) -> Result<Self, String> {
        let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(over)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = holder.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut said).await.map_err(|error| error.to_string())?;
        if said != "mounted\n" {
            let mut why = String::new();
            let stderr = holder.stderr.as_mut().expect("stderr is piped");
            stderr.read_to_string(&mut why).await.map_err(|error| error.to_string())?;
            return Err(why.trim().to_owned());
        }
        let pid = holder.id().expect("the child runs");
        let root = PathBuf::from(format!("/proc/{pid}/root{}", over.display()));
        Ok(Self { _holder: holder, root })
    }

    /// Its root directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Free bytes.
    pub(crate) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.root).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all but `left` bytes.
    pub(crate) fn fill(&self, left: u64) -> io::Result<()> {
        let ballast = File::create(self.root.join(BALLAST))?;
        rustix::fs::fallocate(&ballast, FallocateFlags::empty(), 0, self.free().saturating_sub(left).max(1))?;
        Ok(())
    }

    /// Gives back what [`Self::fill`] took.
    pub(crate) fn clear(&self) -> io::Result<()> {
        fs::remove_file(self.root.join(BALLAST))
    }
}
