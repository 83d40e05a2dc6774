//! An S3 that a test can stop and start: a server of its own where the environment names one, else one in this process behind a proxy.
//!
//! `SILTSTONE_TEST_S3_SERVER` is a command that serves `SILTSTONE_TEST_S3_URL` at `SILTSTONE_TEST_S3_ENDPOINT` until SIGTERM.

use std::process::Stdio;
use std::time::Duration;

use runtime::Random;
use s3_server::{Quirks, S3Server};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness::{eventually, siltstone_in};
use crate::proxy::Proxy;
use crate::store_away::credentials;

/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct StoppableStore {
    kind: Kind,
    /// For `store.url`.
    pub(crate) url: String,
    /// For `store.s3.endpoint`.
    pub(crate) endpoint: String,
}

enum Kind {
    Served { command: String, child: Child },
    InThisProcess { _server: S3Server, proxy: Proxy },
}

impl StoppableStore {
    /// Starts it; the URL is below `prefix`, which nobody has used.
    pub(crate) async fn start_below(prefix: &str) -> Self {
        let (kind, bucket, endpoint) = match std::env::var("SILTSTONE_TEST_S3_SERVER") {
            Ok(command) => {
                let named = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} goes with SILTSTONE_TEST_S3_SERVER"));
                let child = serve(&command);
                (Kind::Served { command, child }, named("SILTSTONE_TEST_S3_URL"), named("SILTSTONE_TEST_S3_ENDPOINT"))
            }
            Err(_) => {
                let server = S3Server::start(&["siltstone"], Quirks::default()).await;
                let proxy = Proxy::before(&server.endpoint(), Random::seeded(1)).await;
                let endpoint = proxy.endpoint();
                (Kind::InThisProcess { _server: server, proxy }, "s3://siltstone".to_owned(), endpoint)
            }
        };
        let store = Self { kind, url: format!("{bucket}/{prefix}"), endpoint };
        store.answers().await;
        store
    }

    /// From now on nobody gets through.
    pub(crate) async fn stop(&mut self) {
        match &mut self.kind {
            Kind::Served { child, .. } => {
                let pid = i32::try_from(child.id().expect("the store runs")).expect("pids are 31 bits");
                let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal the store");
                timeout(PATIENCE, child.wait()).await.expect("the store stops in time").expect("wait for it");
            }
            Kind::InThisProcess { proxy, .. } => proxy.set_outage(true),
        }
    }

    /// With what it had before.
    pub(crate) async fn start(&mut self) {
        match &mut self.kind {
            Kind::Served { command, child } => *child = serve(command),
            Kind::InThisProcess { proxy, .. } => proxy.set_outage(false),
        }
        self.answers().await;
    }

    /// `--set`'s argument for commands that go to the store.
    pub(crate) fn reach(&self) -> String {
        format!("store.s3.endpoint={}", self.endpoint)
    }

    async fn answers(&self) {
        let reach = self.reach();
        let create = ["store", "create", &self.url, "--set", &reach];
        eventually("an answer of the store", async || siltstone_in(&credentials(), &create).await.status.success()).await;
    }
}

fn serve(command: &str) -> Child {
    let command = format!("exec {command}");
    Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).kill_on_drop(true).spawn().expect("start the store")
}
