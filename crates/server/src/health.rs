//! What /health/live and /health/ready answer.
//!
//! Live never looks at the store: restarting a broker because its store is away would throw away its memory and gain nothing,
//! and its write-ahead log may hold the only copy of acknowledged records.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Parts of the broker, each of which may have something against being ready.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    Recovery,
    WriteAheadLog,
    Store,
    Shutdown,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::WriteAheadLog => "write-ahead log",
            Self::Store => "store",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What keeps the broker from being ready, by part. Shared by all who know something.
#[derive(Clone, Default)]
pub(crate) struct Health {
    obstacles: Arc<Mutex<BTreeMap<Part, String>>>,
}

impl Health {
    /// `part` is in the way, and why.
    pub(crate) fn obstruct(&self, part: Part, why: impl Into<String>) {
        self.obstacles.lock().insert(part, why.into());
    }

    /// `part` is no longer in the way.
    pub(crate) fn clear(&self, part: Part) {
        self.obstacles.lock().remove(&part);
    }

    /// `Ok` if ready, else a line for each obstacle.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let obstacles = self.obstacles.lock();
        if obstacles.is_empty() {
            return Ok(());
        }
        Err(obstacles.iter().map(|(part, why)| format!("{}: {why}\n", part.name())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_nothing_is_in_the_way() {
        let health = Health::default();
        assert_eq!(health.ready(), Ok(()));
        health.obstruct(Part::Store, "no answer for 5 s");
        health.obstruct(Part::Recovery, "reading the write-ahead log");
        assert_eq!(health.ready(), Err("recovery: reading the write-ahead log\nstore: no answer for 5 s\n".to_owned()));
        health.clear(Part::Store);
        health.clear(Part::Recovery);
        assert_eq!(health.ready(), Ok(()));
    }
}
