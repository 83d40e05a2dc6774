//! Tasks and threads with a name, whose panic is never lost.
//!
//! A task that died of a panic leaves its part of the program silently undone: an uploader that is gone fills the disk, an owner task
//! that is gone blocks its partition. So a panic stops the whole process, which recovers as after a crash, unless the owner chose
//! something else.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Exit status after a panic: EX_SOFTWARE of sysexits.h.
pub const PANIC_EXIT_CODE: i32 = 70;

/// What is known of a panic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    /// Name of the task or thread.
    pub name: String,
    /// What it said.
    pub message: String,
}

/// What happens when a supervised task or thread panics.
#[derive(Clone)]
pub struct OnPanic(Arc<dyn Fn(&Panic) + Send + Sync>);

impl OnPanic {
    /// One ERROR line, then the process exits with [`PANIC_EXIT_CODE`].
    pub fn stop_process() -> Self {
        Self::call(|panic| {
            tracing::error!(task = panic.name, "stopping after a panic: {}", panic.message);
            std::process::exit(PANIC_EXIT_CODE);
        })
    }

    /// Calls `hook`, on the thread that panicked, and lets the task or thread end.
    pub fn call(hook: impl Fn(&Panic) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    fn report(&self, name: &str, payload: &(dyn Any + Send)) {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        (self.0)(&Panic { name: name.to_owned(), message });
    }
}

impl Default for OnPanic {
    fn default() -> Self {
        Self::stop_process()
    }
}

impl fmt::Debug for OnPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnPanic")
    }
}

/// Starts an OS thread of this name (Linux shows its first 15 bytes). Its panic stops the process. Fails when the operating system
/// has no thread to give.
pub fn spawn_thread<T, F>(name: &str, body: F) -> io::Result<std::thread::JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_thread_with(name, OnPanic::stop_process(), body)
}

/// Starts a task on the current tokio runtime. Its panic stops the process. Dropping the handle lets it run on.
pub fn spawn<F>(name: impl Into<String>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(supervised(name.into(), OnPanic::stop_process(), future))
}

fn spawn_thread_with<T, F>(name: &str, on_panic: OnPanic, body: F) -> io::Result<std::thread::JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let owned = name.to_owned();
    // Whatever the body shared is not used again: its owner stops.
    let body = move || {
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
            on_panic.report(&owned, &*payload);
            resume_unwind(payload)
        })
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

pub(crate) async fn supervised<F: Future>(name: String, on_panic: OnPanic, future: F) -> F::Output {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|payload| {
            on_panic.report(&name, &*payload);
            resume_unwind(payload)
        })
    })
    .await
}

/// The tasks of one owner, who can wait for all of them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    on_panic: OnPanic,
}

impl Tasks {
    /// No task yet; a panic of any stops the process.
    pub fn new() -> Self {
        Self::default()
    }

    /// No task yet, and `on_panic` decides.
    pub fn with_hook(on_panic: OnPanic) -> Self {
        Self { tracker: TaskTracker::new(), on_panic }
    }

    /// Starts a task on the current tokio runtime. Dropping the handle lets it run on.
    pub fn spawn<F>(&self, name: impl Into<String>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(supervised(name.into(), self.on_panic.clone(), future))
    }

    /// Starts a thread under the same hook. [`Tasks::wait`] does not wait for it: join it.
    pub fn spawn_thread<T, F>(&self, name: &str, body: F) -> io::Result<std::thread::JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn_thread_with(name, self.on_panic.clone(), body)
    }

    /// Resolves when every task has ended, also those started meanwhile by others; afterwards more may still be started.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How many tasks have not ended.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether all tasks have ended.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    fn recording() -> (OnPanic, Arc<Mutex<Vec<Panic>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hook = OnPanic::call({
            let seen = seen.clone();
            move |panic| seen.lock().push(panic.clone())
        });
        (hook, seen)
    }

    #[tokio::test]
    async fn a_panic_in_a_task_reaches_the_hook_with_name_and_message() {
        let (hook, seen) = recording();
        let tasks = Tasks::with_hook(hook);
        let dies = tasks.spawn("uploader", async {
            tokio::task::yield_now().await;
            panic!("range {} is gone", 7)
        });
        let lives = tasks.spawn("other", async { 5 });
        tasks.wait().await;
        assert!(dies.await.unwrap_err().is_panic());
        assert_eq!(lives.await.unwrap(), 5);
        assert_eq!(*seen.lock(), [Panic { name: "uploader".to_owned(), message: "range 7 is gone".to_owned() }]);
        assert!(tasks.is_empty());
    }

    #[test]
    fn a_panic_in_a_thread_reaches_the_hook_and_its_joiner() {
        let (hook, seen) = recording();
        let thread = Tasks::with_hook(hook).spawn_thread("wal-sync", || panic!("no")).unwrap();
        thread.join().map(|(): ()| ()).unwrap_err();
        assert_eq!(*seen.lock(), [Panic { name: "wal-sync".to_owned(), message: "no".to_owned() }]);
    }

    #[test]
    fn threads_carry_their_name_and_hand_back_what_they_made() {
        let thread = spawn_thread("wal-append", || std::thread::current().name().map(str::to_owned)).unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), Some("wal-append"));
    }

    /// The parent runs this test again as a child with the variable set, so that the exit is that of a real process.
    #[test]
    fn by_default_a_panic_stops_the_process_with_its_own_status() {
        const CHILD: &str = "RUNTIME_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            let _ = spawn_thread("dies", || panic!("as planned")).unwrap().join();
            unreachable!("the process should have stopped");
        }
        let name = "supervise::tests::by_default_a_panic_stops_the_process_with_its_own_status";
        let child = std::process::Command::new(std::env::current_exe().unwrap()).args([name, "--exact"]).env(CHILD, "1").output().unwrap();
        assert_eq!(child.status.code(), Some(PANIC_EXIT_CODE), "{}", String::from_utf8_lossy(&child.stderr));
    }
}
