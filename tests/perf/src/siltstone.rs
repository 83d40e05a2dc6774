//! Brokers of ours, and the S3 that they may keep their objects in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use object_store::ObjectStore;
use rustix::process::Signal;
use s3_server::{ACCESS_KEY, Quirks, S3Server, SECRET_KEY};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use crate::metrics::Metrics;
use crate::process::Process;

const BUCKET: &str = "perf";

/// Where a broker's objects go. All of them keep their objects in memory, so that no disk is measured by mistake.
pub(crate) enum Store {
    /// A directory of a file system in memory.
    Directory(TempDir),
    /// An S3 in a process of its own.
    S3 { process: Process, endpoint: String, delay: Duration },
}

impl Store {
    pub(crate) fn directory() -> Result<Self> {
        let memory = env::var_os("PERF_MEMORY").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
        ensure!(memory.is_dir(), "there is no file system in memory at {}; PERF_MEMORY names another directory", memory.display());
        Ok(Self::Directory(tempfile::Builder::new().prefix("siltstone-perf-").tempdir_in(memory)?))
    }

    /// Every request waits so long before it is served. The S3's log goes to `work`.
    pub(crate) fn s3(work: &Path, delay: Duration) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["s3", "--delay-ms", &delay.as_millis().to_string()]);
        let (process, endpoint) =
            Process::start(&mut command, &work.join("s3.log"), |line| line.starts_with("http://").then(|| line.to_owned()))?;
        Ok(Self::S3 { process, endpoint, delay })
    }

    /// As reports call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Directory(_) => "directory".to_owned(),
            Self::S3 { delay, .. } => format!("S3, {} ms", delay.as_millis()),
        }
    }

    /// The process that serves it, if it is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Directory(_) => None,
            Self::S3 { process, .. } => Some(process.pid()),
        }
    }

    /// From now on it answers nothing, until it goes on.
    ///
    /// # Errors
    ///
    /// Where it is no process.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self {
            Self::Directory(_) => bail!("a directory cannot be paused"),
            Self::S3 { process, .. } => process.signal(signal),
        }
    }

    fn settings(&self) -> Vec<String> {
        match self {
            Self::Directory(directory) => vec![format!("store.url=file://{}", directory.path().display())],
            Self::S3 { endpoint, .. } => vec![
                format!("store.url=s3://{BUCKET}/store"),
                format!("store.s3.endpoint={endpoint}"),
                "store.s3.region=us-east-1".to_owned(),
            ],
        }
    }

    /// The size of all objects.
    pub(crate) fn bytes(&self) -> Result<f64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let objects: Vec<_> = runtime.block_on(self.client()?.list(None).try_collect()).context("list the store")?;
        Ok(objects.iter().map(|object| object.size as f64).sum())
    }

    /// A client of its own, which is not the broker's.
    pub(crate) fn client(&self) -> Result<Arc<dyn ObjectStore>> {
        Ok(match self {
            Self::Directory(directory) => Arc::new(object_store::local::LocalFileSystem::new_with_prefix(directory.path())?),
            Self::S3 { endpoint, .. } => Arc::new(
                object_store::aws::AmazonS3Builder::new()
                    .with_bucket_name(BUCKET)
                    .with_endpoint(endpoint)
                    .with_allow_http(true)
                    .with_region("us-east-1")
                    .with_access_key_id(ACCESS_KEY)
                    .with_secret_access_key(SECRET_KEY)
                    .build()?,
            ),
        })
    }
}

/// Serves an empty bucket until standard input ends: with the process that started this one.
pub(crate) async fn serve_s3(delay: Duration) -> Result<()> {
    let server = S3Server::start(&[BUCKET], Quirks { delay, ..Quirks::default() }).await;
    println!("{}", server.endpoint());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// A running broker.
pub(crate) struct Siltstone {
    process: Process,
    pub(crate) bootstrap: String,
    http: String,
}

/// How a broker is started.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) program: &'a Path,
    /// Holds the write-ahead log and the metadata; made if need be.
    pub(crate) data: &'a Path,
    /// `None`: in the data directory, as by default.
    pub(crate) store: Option<&'a Store>,
    /// key=value
    pub(crate) settings: &'a [&'a str],
}

impl Siltstone {
    /// Starts it on ports that are free, and returns once it serves.
    pub(crate) fn start(setup: Setup<'_>) -> Result<Self> {
        fs::create_dir_all(setup.data)?;
        let mut command = Command::new(setup.program);
        command.arg("serve").arg("--data-dir").arg(setup.data);
        command.args(["--listen", "PLAINTEXT://127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let fixed = ["metadata.listen=127.0.0.1:0", "log.level=warn"].map(str::to_owned);
        let settings = setup.settings.iter().map(|setting| (*setting).to_owned());
        for setting in fixed.into_iter().chain(setup.store.map(Store::settings).unwrap_or_default()).chain(settings) {
            command.arg("--set").arg(setting);
        }
        command.envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_EC2_METADATA_DISABLED", "true")]);
        let mut bootstrap = None;
        let ready = move |line: &str| {
            let (name, value) = line.split_once(' ')?;
            match name {
                "listening" => bootstrap = value.trim().strip_prefix("PLAINTEXT://").map(str::to_owned),
                "http" => return Some((bootstrap.take()?, value.trim().strip_prefix("http://")?.to_owned())),
                _ => {}
            }
            None
        };
        let log = setup.data.with_extension("log");
        let (process, (bootstrap, http)) = Process::start(&mut command, &log, ready)?;
        Ok(Self { process, bootstrap, http })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&self.http)
    }

    /// Stops it in order: everything is uploaded and published.
    pub(crate) fn stop(self) -> Result<()> {
        let status = self.process.stop().context("stop the broker")?;
        ensure!(status.success(), "the broker ended with {status}");
        Ok(())
    }
}

/// The program's own name and version.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output().with_context(|| format!("run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit that is checked out where this runs; empty where git cannot say.
pub(crate) fn revision() -> String {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// A directory for data, below TMPDIR, that goes with this value.
pub(crate) fn work_directory() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::Builder::new().prefix("siltstone-perf-").tempdir()?;
    let path = directory.path().to_owned();
    Ok((directory, path))
}
