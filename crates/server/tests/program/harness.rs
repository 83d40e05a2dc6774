//! A real broker as a child process, for black-box tests. It takes ports of the system's choice, lives in a directory of the test's,
//! and is stopped by its own pid.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_siltstone");

/// How long anything may take that the tests wait for. Generous: it only bounds a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that said it is ready.
pub(crate) struct Broker {
    child: Child,
    /// Kept open: what the broker goes on to say has a reader.
    _stdout: Lines<BufReader<ChildStdout>>,
    /// host:port for clients.
    pub(crate) bootstrap: String,
    /// host:port of HTTP.
    pub(crate) http: String,
    /// URL of the metadata service.
    pub(crate) metadata: String,
}

/// Ports to listen on; 0 takes a free one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) kafka: u16,
}

impl Broker {
    /// Starts a broker in `directory` and waits until it is ready.
    pub(crate) async fn start(directory: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_on(Ports::default(), directory, settings).await
    }

    /// The same on a given port, so that clients find it again.
    pub(crate) async fn start_on(ports: Ports, directory: &Path, settings: &[(&str, &str)]) -> Self {
        match Self::try_start(ports, directory, settings).await {
            Ok(broker) => broker,
            Err(output) => panic!("the broker did not start: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Starts a broker to which no file may grow beyond `kib`: a write past that fails, as on a full or broken disk.
    pub(crate) async fn start_with_file_limit(kib: u64, directory: &Path, settings: &[(&str, &str)]) -> Self {
        let serve = serve(Ports::default(), directory, settings);
        let mut limited = Command::new("sh");
        // The limit is in blocks of 512 bytes; without the trap the signal would end the process before the write could fail.
        limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kib), PROGRAM]).args(serve.as_std().get_args());
        Self::ready(piped(&mut limited)).await.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// As [`Self::start_on`]; what the process left behind if it ended instead.
    pub(crate) async fn try_start(ports: Ports, directory: &Path, settings: &[(&str, &str)]) -> Result<Self, Output> {
        Self::ready(piped(&mut serve(ports, directory, settings))).await
    }

    /// The same with these variables in its environment.
    pub(crate) async fn try_start_in(
        environment: &[(&str, &str)],
        ports: Ports,
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Output> {
        Self::ready(piped(serve(ports, directory, settings).envs(environment.iter().copied()))).await
    }

    /// Runs the command and waits until it says that the broker is ready.
    async fn ready(command: &mut Command) -> Result<Self, Output> {
        let mut child = command.spawn().expect("start the program");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut seen: [Option<String>; 3] = Default::default();
        loop {
            let line = timeout(PATIENCE, stdout.next_line()).await.expect("the broker gets ready in time").expect("read its output");
            let Some(line) = line else {
                let mut stderr = Vec::new();
                if let Some(mut pipe) = child.stderr.take() {
                    pipe.read_to_end(&mut stderr).await.expect("read its errors");
                }
                let status = child.wait().await.expect("wait for the program");
                return Err(Output { status, stdout: Vec::new(), stderr });
            };
            for (found, label) in seen.iter_mut().zip(["listening", "http", "metadata"]) {
                if let Some(address) = line.strip_prefix(label) {
                    *found = Some(address.trim().to_owned());
                }
            }
            if let [Some(kafka), Some(http), Some(metadata)] = &seen {
                let bare = |url: &str| url.split_once("://").expect("addresses are URLs").1.to_owned();
                return Ok(Self { bootstrap: bare(kafka), http: bare(http), metadata: metadata.clone(), child, _stdout: stdout });
            }
        }
    }

    /// The port for clients.
    pub(crate) fn port(&self) -> u16 {
        self.bootstrap.rsplit_once(':').expect("host:port").1.parse().expect("a port")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process is not waited for yet")
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("kill the broker");
    }

    /// SIGTERM; returns the exit status and what it wrote to stderr.
    pub(crate) async fn terminate(self) -> Output {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).expect("pids are 31 bits")).expect("not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal the broker");
        self.ended().await
    }

    /// Waits until it ends; returns the exit status and what it wrote to stderr.
    pub(crate) async fn ended(mut self) -> Output {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the broker stops in time").expect("wait for it");
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut stderr).await.expect("read its errors");
        }
        Output { status, stdout: Vec::new(), stderr }
    }
}

/// The command that serves from `directory`.
fn serve(ports: Ports, directory: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--data-dir").arg(directory).args(["--http", "127.0.0.1:0", "--set", "metadata.listen=127.0.0.1:0"]);
    command.arg("--listen").arg(format!("PLAINTEXT://127.0.0.1:{}", ports.kafka));
    command.args(["--set", "log.level=warn"]);
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true)
}

/// Runs the program to its end.
pub(crate) async fn siltstone(arguments: &[&str]) -> Output {
    siltstone_in(&[], arguments).await
}

/// The same with these variables in its environment.
pub(crate) async fn siltstone_in(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    siltstone_within(PATIENCE, environment, arguments).await
}

/// The same for what may take longer than anything else.
pub(crate) async fn siltstone_within(limit: Duration, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let command = Command::new(PROGRAM).args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(limit, command).await.expect("the command ends in time").expect("run the program")
}

/// Runs it behind everybody else who wants the processor, its output thrown away, until it ends or is dropped.
pub(crate) fn siltstone_behind(arguments: &[&str]) -> Child {
    let mut command = Command::new("nice");
    command.args(["-n", "19", PROGRAM]).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("start the program")
}

/// The same with text on standard input.
pub(crate) async fn siltstone_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = piped(Command::new(PROGRAM).args(arguments)).stdin(Stdio::piped()).spawn().expect("start the program");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that ends without reading it all has said why.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    timeout(PATIENCE, child.wait_with_output()).await.expect("the command ends in time").expect("run the program")
}

/// Runs it, expects success, returns its standard output.
pub(crate) async fn siltstone_ok(arguments: &[&str]) -> String {
    let output = siltstone(arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Asks again until `found` says yes.
pub(crate) async fn eventually(what: &str, mut found: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !found().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what} did not happen in time"));
}
