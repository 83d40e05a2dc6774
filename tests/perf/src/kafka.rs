//! Apache Kafka, from its Maven artifacts, with the JVM options of its own start script.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Process;

const JVM: [&str; 7] = [
    "-server",
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// A running broker that is its own controller.
pub(crate) struct Kafka {
    process: Process,
    pub(crate) bootstrap: String,
    /// When the broker was started: after its log was formatted, as it is once in its life.
    pub(crate) begun: Instant,
}

impl Kafka {
    /// Starts it with its jars in `libraries` and its log below `data`, and returns once it accepts connections. A directory that holds a
    /// log already is gone on with. `settings` are key=value.
    pub(crate) fn start(libraries: &Path, data: &Path, settings: &[&str]) -> Result<Self> {
        let (port, controller) = (free_port()?, free_port()?);
        let logs = data.join("logs");
        let is_new = !logs.exists();
        fs::create_dir_all(data)?;
        let fixed = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            format!("log.dirs={}", logs.display()),
            // On a busy machine a broker is not to lose its session.
            "broker.session.timeout.ms=60000".to_owned(),
            "offsets.topic.replication.factor=1".to_owned(),
        ];
        let settings = settings.iter().map(|setting| (*setting).to_owned());
        let properties = data.join("server.properties");
        fs::write(&properties, fixed.into_iter().chain(settings).map(|setting| setting + "\n").collect::<String>())?;
        if is_new {
            let mut format = java(libraries, &["-Xmx256m", "-XX:TieredStopAtLevel=1"], "kafka.tools.StorageTool");
            format.args(["format", "--cluster-id", "4L6g3nShT-eMCtK--X86sw", "--config"]).arg(&properties);
            let output = format.output().context("run Kafka's storage tool")?;
            ensure!(output.status.success(), "format Kafka's log: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut command = java(libraries, &JVM, "kafka.Kafka");
        command.arg(&properties);
        let begun = Instant::now();
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let process = Process::start_until(&mut command, &data.join("log"), listens)?;
        Ok(Self { process, bootstrap: format!("127.0.0.1:{port}"), begun })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn java(libraries: &Path, options: &[&str], class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(options).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg("-cp").arg(format!("{}/*", libraries.display())).arg(class);
    command
}

/// A port that nobody listens on now, below those that connections are given.
fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of the loopback is free")
}

/// As the broker's jar names it; empty where there is none.
pub(crate) fn version(libraries: &Path) -> String {
    let jars = fs::read_dir(libraries).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let broker = jars.into_iter().find_map(|jar| Some(jar.strip_prefix("kafka_")?.strip_suffix(".jar")?.rsplit_once('-')?.1.to_owned()));
    broker.unwrap_or_default()
}
