//! A start while the store is away: the service leads, and the gate to the store stays closed until the store has answered and turned
//! out to be this journal's. So nothing is deleted from, put into or read from a store that is another cluster's, or that knows more
//! than the journal (rules R7 and R8).

use std::sync::Arc;
use std::time::Duration;

use runtime::{Backoff, Random, Shutdown};
use store::{GatedStore, ObjectStore};

use super::StartError;
use super::load::{JournalEnd, compare, detail_of};

/// Between two questions to a store that does not answer.
const ASK_AGAIN: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(5), jitter: 0.5, budget: Duration::MAX };

/// A store that has not been compared with the journal.
pub(crate) struct Comparison {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) gate: Arc<GatedStore>,
    /// As the start found it: what was written since proves nothing.
    pub(crate) journal: JournalEnd,
    pub(crate) random: Random,
}

impl Comparison {
    /// Asks until the store answers, and opens the gate. Fails when the store is not the journal's: the service must stop. A refusal
    /// of the store itself is waited out like silence, as it is by uploads: what was acknowledged meanwhile is in a log that is worth
    /// serving.
    pub(crate) async fn run(self, shutdown: Shutdown) -> Result<(), StartError> {
        let mut retries = ASK_AGAIN.start();
        loop {
            match shutdown.or(compare(self.store.as_ref(), &self.journal, &self.random)).await {
                None => return Ok(()),
                Some(Ok(())) => break,
                Some(Err(StartError::Store(err))) => self.gate.explain(detail_of(&err)),
                Some(Err(err)) => return Err(err),
            }
            if shutdown.or(retries.wait(&self.random)).await.is_none() {
                return Ok(());
            }
        }
        self.gate.open();
        tracing::info!("the store answers and is this cluster's: what has waited for it goes on");
        Ok(())
    }
}
