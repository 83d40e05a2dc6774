//! Processes that are measured: started, found ready, and ended with whoever started them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// For a process to become ready or to end, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts it with standard error in the file at `log`. `ready` is called with each line of its standard output until it returns
    /// something; the rest of its output is read and left.
    pub(crate) fn start<T: Send + 'static>(
        command: &mut Command,
        log: &Path,
        mut ready: impl FnMut(&str) -> Option<T> + Send + 'static,
    ) -> Result<(Self, T)> {
        let mut process = Self::spawn(command.stdout(Stdio::piped()), log)?;
        let output = process.child.stdout.take().context("take the process's output")?;
        let (found, waiting) = std::sync::mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(value) = ready(&line) {
                    // Nobody waits any more for a second one.
                    let _ = found.try_send(value);
                }
            }
        });
        match waiting.recv_timeout(PATIENCE) {
            Ok(value) => Ok((process, value)),
            Err(_) => bail!("{} did not become ready: {}", process.name, last_lines(log)),
        }
    }

    /// Starts it with standard error in the file at `log`, and returns once `is_ready` says so.
    pub(crate) fn start_until(command: &mut Command, log: &Path, is_ready: impl Fn() -> bool) -> Result<Self> {
        let mut process = Self::spawn(command.stdout(Stdio::null()), log)?;
        let begun = Instant::now();
        while !is_ready() {
            let has_ended = process.child.try_wait()?.is_some();
            ensure!(!has_ended && begun.elapsed() < PATIENCE, "{} did not become ready: {}", process.name, last_lines(log));
            thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        // Its place on this machine is nothing for a report.
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let errors = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command.stdin(Stdio::piped()).stderr(errors).spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    ///
    /// Where the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        // Not waited for yet: its number is its own.
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("{} was asked to stop and has not within {} s", self.name, PATIENCE.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_it_says_so_and_ends_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo begins; echo port 7; exec cat"]);
        let port = |line: &str| line.strip_prefix("port ").and_then(|port| port.parse::<u16>().ok());
        let (process, found) = Process::start(&mut command, &log, port).unwrap();
        assert_eq!(found, 7);
        assert!(!process.stop().unwrap().success());
    }

    #[test]
    fn one_that_fails_is_told_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken pipe dream >&2; exit 1"]);
        let error = Process::start(&mut command, &directory.path().join("log"), |_| None::<()>).err().unwrap();
        assert!(error.to_string().ends_with("did not become ready: broken pipe dream"), "{error}");
    }
}
