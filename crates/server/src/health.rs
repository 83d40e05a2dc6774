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
    DataDirectory,
    WriteAheadLog,
    Store,
    Partitions,
    Shutdown,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::DataDirectory => "data directory",
            Self::WriteAheadLog => "write-ahead log",
            Self::Store => "store",
            Self::Partitions => "partitions",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What keeps the broker from being ready, and what a person has to know besides, by part. Shared by all who know something.
#[derive(Clone, Default)]
pub(crate) struct Health {
    obstacles: Arc<Mutex<BTreeMap<Part, String>>>,
    notes: Arc<Mutex<BTreeMap<Part, String>>>,
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

    /// A person has to see to `part`, which is not in the way.
    pub(crate) fn note(&self, part: Part, what: impl Into<String>) {
        self.notes.lock().insert(part, what.into());
    }

    /// What was noted of `part` is over.
    pub(crate) fn clear_note(&self, part: Part) {
        self.notes.lock().remove(&part);
    }

    /// `Ok` if ready, else `Err`; both with what is to be said: that it is ready or a line for each obstacle, and a line for each note.
    pub(crate) fn ready(&self) -> Result<String, String> {
        let lines = |of: &BTreeMap<Part, String>| of.iter().map(|(part, what)| format!("{}: {what}\n", part.name())).collect::<String>();
        let (obstacles, notes) = (self.obstacles.lock(), lines(&self.notes.lock()));
        if obstacles.is_empty() { Ok(format!("ready\n{notes}")) } else { Err(lines(&obstacles) + &notes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_nothing_is_in_the_way() {
        let health = Health::default();
        assert_eq!(health.ready(), Ok("ready\n".to_owned()));
        health.obstruct(Part::Store, "no answer for 5 s");
        health.obstruct(Part::Recovery, "reading the write-ahead log");
        assert_eq!(health.ready(), Err("recovery: reading the write-ahead log\nstore: no answer for 5 s\n".to_owned()));
        health.clear(Part::Store);
        health.note(Part::Store, "an object is missing");
        assert_eq!(health.ready().unwrap_err().lines().last(), Some("store: an object is missing"));
        health.clear(Part::Recovery);
        assert_eq!(health.ready(), Ok("ready\nstore: an object is missing\n".to_owned()), "a note keeps nobody away");
        health.clear_note(Part::Store);
        assert_eq!(health.ready(), Ok("ready\n".to_owned()));
    }
}
