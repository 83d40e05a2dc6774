//! What a program takes from its surroundings: the time, chance, tasks and threads, the wish to stop, and how to wait before trying
//! again, or before going on. All of it can be set by a test or a simulation; no other crate reads the OS clock, draws OS randomness or
//! starts a thread.
//!
//! Waiting goes through `tokio::time`, which tests pause; nothing here wraps it.

mod background;
mod backoff;
mod clock;
mod io_budget;
mod random;
mod shutdown;
mod supervise;

pub use background::Background;
pub use backoff::{Backoff, Retries};
pub use clock::{Clock, ManualClock, SystemClock};
pub use io_budget::IoBudget;
pub use random::Random;
pub use shutdown::Shutdown;
pub use supervise::{OnPanic, PANIC_EXIT_CODE, Panic, Tasks, spawn, spawn_thread};
