//! Where work goes that may wait while other work is due.

use std::future::Future;
use std::io;
use std::sync::Arc;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::supervise::{OnPanic, supervised};

/// By so much nicer than the process. A task of the usual priority then has three times the processor's time of one in the background
/// where both want it all.
const NICER: i32 = 5;
const NICEST: i32 = 19;

/// Runs tasks beside others of more urgency. By default they are tasks of the current runtime as any other; [`Background::start`] gives
/// them threads of their own, behind which the others wait neither for a task that computes for long nor for the processor. Clones are
/// one and the same.
#[derive(Clone, Default)]
pub struct Background(Option<Arc<Threads>>);

/// `None` only while it is dropped.
struct Threads(Option<Runtime>);

impl Background {
    /// Starts a thread for each core, which the kernel runs after the process's others (on Linux; elsewhere beside them). They end with
    /// the last clone, and what they run with them. Fails when the operating system has no thread to give.
    pub fn start() -> io::Result<Self> {
        // Looked at here: a thread begins with the priority of the one that starts it, which may be one of these.
        let nice = getpriority_process(None).ok().map(|own| (own + NICER).min(NICEST));
        let step_back = move || nice.into_iter().for_each(step_back);
        let runtime = Builder::new_multi_thread().enable_all().thread_name("background").on_thread_start(step_back).build()?;
        Ok(Self(Some(Arc::new(Threads(Some(runtime))))))
    }

    /// Starts a task. Its panic stops the process. Dropping the handle lets it run on.
    pub fn spawn<F>(&self, name: impl Into<String>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = supervised(name.into(), OnPanic::stop_process(), future);
        match self.0.as_deref().and_then(|threads| threads.0.as_ref()) {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last clone may go in a task, which must not wait.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// On Linux a priority is the calling thread's alone. Where it cannot be changed, the work is done all the same.
fn step_back(nice: i32) {
    if cfg!(target_os = "linux") {
        let _ = setpriority_process(None, nice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn its_tasks_have_threads_that_stand_behind_the_others() {
        let (own, background) = (priority(), Background::start().unwrap());
        let blocking = || async { tokio::task::spawn_blocking(priority).await.unwrap() };
        let theirs = background.spawn("test", async move { (priority(), blocking().await) }).await.unwrap();
        let expected = if cfg!(target_os = "linux") { (own + NICER).min(NICEST) } else { own };
        assert_eq!(theirs, (expected, expected));
        assert_eq!(priority(), own, "the one that waits is what it was");
        // In a task, where a runtime must not be waited for.
        let last = background.clone();
        drop(background);
        tokio::spawn(async move { drop(last) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_threads_they_are_tasks_of_the_current_runtime() {
        let thread = std::thread::current().id();
        let theirs = Background::default().spawn("test", async { std::thread::current().id() }).await.unwrap();
        assert_eq!(theirs, thread);
    }
}
