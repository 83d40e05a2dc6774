//! Processes that the tests start: this program again, as one of its ignored tests, with the shim preloaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

/// An environment variable of this program's own.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("WAL_CRASH_{name}")).ok()
}

/// The same as a number; `default` where it is not set.
///
/// # Panics
/// If it is no number.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("WAL_CRASH_{name} is not a number: {value}")))
}

/// Makes directories that go with the value. In memory where the system has such a place: the model decides what is durable, and the
/// disk would only take time.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() && std::env::var_os("TMPDIR").is_none() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("wal-crash-").tempdir_in(parent).unwrap()
}

/// The ignored test `name` of this program, as a process that sees the files below `root` through the shim. Without further
/// variables of the shim it syncs nothing.
pub(crate) fn command(name: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name]);
    command.env("LD_PRELOAD", shim()).env("SHIM_ROOT", root);
    for set in ["SHIM_TRACE", "SHIM_NOTES", "SHIM_KILL", "SHIM_FAIL"] {
        command.env_remove(set);
    }
    command
}

/// Held while a process is being started.
static STARTING: Mutex<()> = Mutex::new(());

/// Runs a process to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    let started = {
        let _starting = STARTING.lock().unwrap_or_else(|err| err.into_inner());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let child = started.unwrap_or_else(|err| panic!("start {}: {err}", command.get_program().display()));
    child.wait_with_output().unwrap()
}

/// A process that another test is starting has this one's files open for a moment, the lock of a log too. Afterwards none has a file
/// that was closed before.
pub(crate) fn let_go_of_closed_files() {
    drop(STARTING.lock().unwrap_or_else(|err| err.into_inner()));
}

/// What a process said, for a failure.
pub(crate) fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wal_crash/shim.c");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wal_crash_shim_{}.so", std::process::id()));
        let built = target.with_extension("so.new");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let compiled = output(Command::new(&compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&built, &source]).arg("-ldl"));
        assert!(compiled.status.success(), "compile {}: {}", source.display(), said(&compiled));
        let shared = target.with_file_name("wal_crash_shim.so");
        // Another process of this program may be at the same: each puts the same file in place.
        std::fs::rename(built, &shared).unwrap();
        shared
    })
}
