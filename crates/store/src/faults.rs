//! A store that fails as real ones do: for tests and simulations of everything above it.
//!
//! Fault model. A call may be refused without effect, for now or for good; its request may be lost (no effect, outcome unknown); its answer may be lost
//! (effect, outcome unknown); it may take effect long after the caller was told that the outcome is unknown; it may be slow; it may be
//! throttled; all may be out. A listing may lag behind or lack its end. A body may come back damaged or short. What the wrapped store
//! has acknowledged is never lost.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use runtime::Random;
use types::Timestamp;

use crate::{ObjectMeta, ObjectStore, Operation, StoreError};

/// What happens to one call. A fault that does not fit its operation (a damaged body of a HEAD) does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing happens; `Unavailable`, as when throttled.
    Refuse,
    /// Nothing happens; `Refused`, as when rights were taken away.
    Deny,
    /// Nothing happens; `Unknown`.
    LoseRequest,
    /// It happens; `Unknown`.
    LoseAnswer,
    /// A put or a deletion answers `Unknown` and happens when [`FaultyStore::land`] is called.
    Late,
    /// It happens after this time.
    Delay(Duration),
    /// One bit of a body read is another.
    Damage,
    /// A body is short: `Corrupt`.
    Short,
    /// A listing lacks its second half, as if that did not exist.
    PartialList,
}

/// How often each fault strikes by chance: probabilities from 0 to 1, tried in this order.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct FaultRates {
    /// [`Fault::Refuse`].
    pub refuse: f64,
    /// [`Fault::LoseRequest`].
    pub lose_request: f64,
    /// [`Fault::LoseAnswer`].
    pub lose_answer: f64,
    /// [`Fault::Late`].
    pub late: f64,
    /// [`Fault::Damage`].
    pub damage: f64,
    /// [`Fault::Short`].
    pub short: f64,
    /// [`Fault::PartialList`].
    pub partial_list: f64,
    /// Every call waits up to this long.
    pub max_delay: Duration,
}

/// Any store, with faults: scripted ones first, then those of chance. Without either it only passes calls on.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scripts: HashMap<Operation, VecDeque<Fault>>,
    chance: Option<(FaultRates, Random)>,
    outage: bool,
    late: Vec<LateCall>,
    /// Keys put since listings began to lag; `None` when they do not.
    unlisted: Option<BTreeSet<String>>,
}

/// A call that has been given up and will take effect nevertheless.
enum LateCall {
    Put(String, Vec<Bytes>),
    Delete(String),
}

impl FaultyStore {
    /// Around `inner`, without faults yet.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The next calls of `operation` meet these, one each, after what is scripted already. For a deletion, one per key.
    pub fn script(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().scripts.entry(operation).or_default().extend(faults);
    }

    /// From now on faults strike by chance; the seed of `random` repeats them. Default rates end that.
    pub fn by_chance(&self, rates: FaultRates, random: Random) {
        self.state.lock().chance = Some((rates, random));
    }

    /// While out, every call is `Unavailable` without effect.
    pub fn set_outage(&self, outage: bool) {
        self.state.lock().outage = outage;
    }

    /// While lagging, listings do not show what is put from now on; afterwards they show all.
    pub fn set_lagging_list(&self, lagging: bool) {
        self.state.lock().unlisted = lagging.then(BTreeSet::new);
    }

    /// Lets every late call take effect, in the order they were made. Answers how many there were.
    pub async fn land(&self) -> usize {
        let late = std::mem::take(&mut self.state.lock().late);
        let landed = late.len();
        for call in late {
            match call {
                // Whether there is room for it is no longer anybody's business.
                LateCall::Put(key, parts) => drop(self.inner.put(&key, parts).await),
                LateCall::Delete(key) => drop(self.inner.delete(&[key]).await),
            }
        }
        landed
    }

    /// How many scripted faults have not struck yet.
    pub fn scripted(&self) -> usize {
        self.state.lock().scripts.values().map(VecDeque::len).sum()
    }

    fn draw(&self, operation: Operation) -> (Option<Fault>, Duration) {
        let mut state = self.state.lock();
        if state.outage {
            return (Some(Fault::Refuse), Duration::ZERO);
        }
        if let Some(fault) = state.scripts.get_mut(&operation).and_then(VecDeque::pop_front) {
            return (Some(fault), Duration::ZERO);
        }
        let Some((rates, random)) = &state.chance else { return (None, Duration::ZERO) };
        let faults = [
            (rates.refuse, Fault::Refuse),
            (rates.lose_request, Fault::LoseRequest),
            (rates.lose_answer, Fault::LoseAnswer),
            (rates.late, Fault::Late),
            (rates.damage, Fault::Damage),
            (rates.short, Fault::Short),
            (rates.partial_list, Fault::PartialList),
        ];
        let fault = faults.into_iter().find(|(rate, _)| random.chance(*rate)).map(|(_, fault)| fault);
        (fault, random.jitter(rates.max_delay, 1.0))
    }

    /// What strikes this call, after whatever delay there is. `Err` where the call ends here.
    async fn strike(&self, operation: Operation, key: &str) -> Result<Option<Fault>, StoreError> {
        let (fault, delay) = self.draw(operation);
        let delay = if let Some(Fault::Delay(scripted)) = fault { scripted } else { delay };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            Some(Fault::Refuse) => Err(StoreError::unavailable(operation, key, "injected: refused")),
            Some(Fault::Deny) => Err(StoreError::refused(operation, key, "injected: denied")),
            Some(Fault::LoseRequest) => Err(StoreError::unknown(operation, key, "injected: request lost")),
            fault => Ok(fault),
        }
    }

    /// One that only reads: what cannot be told from the outside is not told apart.
    async fn strike_read(&self, operation: Operation, key: &str) -> Result<Option<Fault>, StoreError> {
        match self.strike(operation, key).await? {
            Some(Fault::LoseAnswer | Fault::Late) => Err(StoreError::unknown(operation, key, "injected: answer lost")),
            Some(Fault::Short) => Err(StoreError::corrupt(key, "injected: body is short")),
            fault => Ok(fault),
        }
    }

    async fn delete_one(&self, key: &String) -> Result<(), StoreError> {
        let fault = self.strike(Operation::Delete, key).await?;
        if fault == Some(Fault::Late) {
            self.state.lock().late.push(LateCall::Delete(key.clone()));
            return Err(StoreError::unknown(Operation::Delete, key, "injected: late"));
        }
        let answer = self.inner.delete(std::slice::from_ref(key)).await.pop().expect("one answer per key");
        lose_answer(fault, Operation::Delete, key)?;
        answer
    }
}

fn lose_answer(fault: Option<Fault>, operation: Operation, key: &str) -> Result<(), StoreError> {
    match fault {
        Some(Fault::LoseAnswer) => Err(StoreError::unknown(operation, key, "injected: answer lost")),
        _ => Ok(()),
    }
}

fn damage(fault: Option<Fault>, body: Bytes) -> Bytes {
    if fault != Some(Fault::Damage) || body.is_empty() {
        return body;
    }
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    body.into()
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let fault = self.strike(Operation::Put, key).await?;
        if let Some(unlisted) = &mut self.state.lock().unlisted {
            unlisted.insert(key.to_owned());
        }
        if fault == Some(Fault::Late) {
            self.state.lock().late.push(LateCall::Put(key.to_owned(), parts));
            return Err(StoreError::unknown(Operation::Put, key, "injected: late"));
        }
        let answer = self.inner.put(key, parts).await;
        lose_answer(fault, Operation::Put, key)?;
        answer
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let fault = self.strike_read(Operation::GetRange, key).await?;
        Ok(damage(fault, self.inner.get_range(key, range).await?))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let fault = self.strike_read(Operation::Get, key).await?;
        Ok(damage(fault, self.inner.get(key, limit).await?))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.strike_read(Operation::Head, key).await?;
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let fault = self.strike_read(Operation::List, prefix).await?;
        let mut found = self.inner.list(prefix, after, limit).await?;
        if let Some(unlisted) = &self.state.lock().unlisted {
            found.retain(|meta| !unlisted.contains(&meta.key));
        }
        if fault == Some(Fault::PartialList) {
            found.truncate(found.len() / 2);
        }
        Ok(found)
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.delete_one(key).await);
        }
        answers
    }

    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        if self.state.lock().outage {
            return Err(StoreError::unavailable(Operation::List, "", "injected: refused"));
        }
        self.inner.date().await
    }
}

#[cfg(test)]
mod tests;
