//! The one task that owns the state: takes the commands that wait, decides and applies them, appends ONE journal entry, and only then
//! lets the answers out, those of reads too: what was decided on an unwritten state may never be seen.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata_api::MetadataError;
use runtime::{Backoff, Clock, Random, Shutdown, Tasks};
use store::{Body, ObjectStore, UPLOAD_BACKOFF, put_verified};
use tokio::sync::{mpsc, oneshot, watch};
use types::{BrokerEpoch, BrokerId, ObjectKey, Revision, Timestamp};

use super::clock::JournalClock;
use super::feed::ImageFeed;
use super::unsaved::Unsaved;
use crate::journal::{Appended, Entry, Journal, MAX_ENTRY_BYTES, encode_entry};
use crate::snapshot::TOPICS;
use crate::state::decide::decide;
use crate::state::decision::Reply;
use crate::state::{Answer, Command, Event, ImageChanges, Rules, State, encode_event};

/// Commands that may wait; more wait with their callers.
pub(crate) const QUEUE: usize = 1024;
/// A step takes no further command once its events have this many bytes.
const STEP_BYTES: usize = 256 << 10;
/// How often an append of unknown outcome, found not to have happened, is repeated.
const APPEND_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_secs(1), jitter: 0.5, budget: Duration::from_secs(10) };

/// What a call comes to, for whoever made it.
pub(crate) type CallReply = oneshot::Sender<Result<Answer, MetadataError>>;

/// Everything the driver can be told.
pub(crate) enum Message {
    Call {
        command: Command,
        reply: CallReply,
    },
    /// What housekeeping has to know.
    Status {
        deletable: usize,
        reply: oneshot::Sender<Status>,
    },
    /// The committed state, to be written as a snapshot.
    Snapshot {
        reply: oneshot::Sender<(Box<State>, u64)>,
    },
    /// A second source of time was asked.
    SecondOpinion {
        now_ms: i64,
    },
}

/// See [`Message::Status`].
pub(crate) struct Status {
    pub(crate) revision: Revision,
    /// The journal's clock.
    pub(crate) now: Timestamp,
    pub(crate) clock_trusted: bool,
    /// The newest of any broker's.
    pub(crate) newest_epoch: BrokerEpoch,
    /// Bytes appended since the newest snapshot.
    pub(crate) journal_bytes: u64,
    /// Garbage that may be deleted now.
    pub(crate) deletable: Vec<ObjectKey>,
    pub(crate) garbage_waits_for_snapshot: bool,
    /// An event that is to be in the store by itself is only in the journal.
    pub(crate) snapshot_wanted: bool,
    /// Sessions that were silent for too long.
    pub(crate) silent: Vec<(BrokerId, BrokerEpoch)>,
}

/// What the driver is made of.
pub(crate) struct Driver {
    pub(crate) state: State,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal_clock: JournalClock,
    pub(crate) random: Random,
    /// Slot of the next entry.
    pub(crate) slot: u64,
    pub(crate) rules: Rules,
    pub(crate) session_timeout: Duration,
    /// What is asked for is in the store before it is answered (rule R15).
    pub(crate) remote_store: bool,
    pub(crate) feed: Arc<ImageFeed>,
    /// Tells how many segments the state holds.
    pub(crate) segments: watch::Sender<u64>,
    pub(crate) tasks: Tasks,
    pub(crate) changes: ImageChanges,
    pub(crate) heard: HashMap<BrokerId, (BrokerEpoch, Duration)>,
    pub(crate) journal_bytes: u64,
    pub(crate) unsaved: Unsaved,
    /// An event that is to be in the store by itself is only in the journal.
    pub(crate) snapshot_wanted: watch::Sender<bool>,
}

/// A call that is decided and waits for its entry.
struct Decided {
    reply: CallReply,
    answer: Result<Answer, MetadataError>,
    wrote: bool,
    /// Something that it did is put into the store by itself.
    mirrored: bool,
    /// It is answered only then.
    waits_for_mirror: bool,
}

/// The service cannot go on.
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub(crate) String);

impl Driver {
    /// Runs until it is asked to stop, which is no failure, or until it must.
    pub(crate) async fn run(mut self, mut messages: mpsc::Receiver<Message>, shutdown: Shutdown) -> Result<(), Stop> {
        let mut waiting = VecDeque::new();
        loop {
            let first = shutdown.or(messages.recv()).await.flatten();
            let Some(first) = first else { return Ok(()) };
            waiting.push_back(first);
            while waiting.len() < QUEUE
                && let Ok(next) = messages.try_recv()
            {
                waiting.push_back(next);
            }
            while !waiting.is_empty() {
                self.step(&mut waiting).await?;
            }
        }
    }

    /// Takes commands until the step is large enough; one entry holds what they did.
    pub(crate) async fn step(&mut self, waiting: &mut VecDeque<Message>) -> Result<(), Stop> {
        let now = self.journal_clock.now();
        self.rules.clock_trusted = self.journal_clock.is_trusted();
        let first = Revision(self.state.revision.0 + 1);
        let mut body = Vec::new();
        let mut decided = Vec::new();
        while body.len() < STEP_BYTES
            && let Some(message) = waiting.pop_front()
        {
            match message {
                Message::Call { command, reply } => decided.push(self.decide(command, reply, now, &mut body)),
                Message::SecondOpinion { now_ms } => self.hear(now_ms, now, &mut body),
                // These look at the committed state: the step ends before them.
                message if !body.is_empty() => {
                    waiting.push_front(message);
                    break;
                }
                Message::Status { deletable, reply } => drop(reply.send(self.status(deletable))),
                Message::Snapshot { reply } => {
                    self.unsaved.captured(self.state.revision);
                    drop(reply.send((Box::new(self.state.clone()), self.slot - 1)));
                }
            }
        }
        if body.is_empty() {
            release(decided);
            return Ok(());
        }
        let body = Bytes::from(body);
        if let Err(stop) = self.append(first, now, &body).await {
            for call in decided {
                let detail = stop.0.clone();
                let err = if call.wrote { MetadataError::Unknown { detail } } else { MetadataError::Unavailable { detail } };
                let _ = call.reply.send(Err(err));
            }
            return Err(stop);
        }
        if let Some(delta) = self.changes.take_delta(&self.state) {
            self.feed.send(delta);
        }
        self.segments.send_replace(self.state.segment_count());
        let is_mirrored = decided.iter().any(|call| call.mirrored);
        let (waiting, others): (Vec<_>, Vec<_>) = decided.into_iter().partition(|call| call.waits_for_mirror);
        release(others);
        if is_mirrored {
            self.mirror(first, now, body, waiting);
        }
        Ok(())
    }

    fn hear(&mut self, second_ms: i64, now: Timestamp, body: &mut Vec<u8>) {
        match self.journal_clock.hear(second_ms) {
            None => {
                tracing::warn!(second_ms, "the clock jumped and the store disagrees: nothing is deleted by age until they agree");
            }
            Some(0) => {}
            Some(skipped_ms) => {
                let to = self.journal_clock.now();
                tracing::warn!(skipped_ms, "the clock jumped ahead and the store agrees: what it skipped makes nothing older");
                let event = Event::ClockJumped { to, skipped_ms };
                encode_event(&event, body);
                self.state.apply(&event, now);
                self.unsaved.note(&event, Timestamp(self.clock.wall_ms()));
            }
        }
    }

    fn decide(&mut self, command: Command, reply: CallReply, now: Timestamp, body: &mut Vec<u8>) -> Decided {
        if let Command::ExpireBroker { broker, epoch } = &command
            && !self.is_silent(*broker, *epoch)
        {
            return Decided { reply, answer: Ok(Answer::Done), wrote: false, mirrored: false, waits_for_mirror: false };
        }
        let decision = decide(&self.state, &self.rules, &command, now);
        let wrote = !decision.events.is_empty();
        let mirrored = decision.events.iter().any(Event::is_mirrored);
        let waits_for_mirror = self.remote_store && mirrored && command.waits_for_mirror();
        for event in &decision.events {
            encode_event(event, body);
            self.state.apply(event, now);
            self.changes.note(event);
            self.unsaved.note(event, Timestamp(self.clock.wall_ms()));
        }
        let answer = decision.answer.and_then(|reply| self.answer(reply));
        self.hear_session(&command, answer.is_ok());
        if let (Command::SnapshotTaken(taken), true) = (&command, wrote) {
            self.unsaved.saved(taken.revision);
            self.journal_bytes = 0;
            self.snapshot_wanted.send_replace(false);
        }
        Decided { reply, answer, wrote, mirrored, waits_for_mirror }
    }

    fn answer(&self, reply: Reply) -> Result<Answer, MetadataError> {
        match reply {
            Reply::Ready(answer) => Ok(answer),
            Reply::RegistrationOf(broker) => {
                Ok(Answer::Registration(self.state.registration(broker).expect("the broker has just been registered")))
            }
            Reply::LastPublishOf(broker) => {
                let last = self.state.brokers.get(&broker).and_then(|broker| broker.last_publish.as_ref());
                Ok(Answer::Publish(last.expect("the broker has just published").answer.clone()))
            }
        }
    }

    /// A sign of life of a broker elsewhere.
    fn hear_session(&mut self, command: &Command, ok: bool) {
        let broker = match command {
            Command::Heartbeat(heartbeat) => heartbeat.broker,
            Command::RegisterBroker { request, local: false } => request.broker,
            Command::Publish(publish) => publish.broker,
            Command::EnforceDurability(enforce) => enforce.broker,
            Command::ReplaceSegments(replace) => replace.broker,
            Command::TakeSlot(take) => take.broker,
            Command::SaveRows(save) => save.broker,
            _ => return,
        };
        if let Some(session) = self.state.brokers.get(&broker).filter(|_| ok) {
            self.heard.insert(broker, (session.epoch, self.clock.monotonic()));
        }
    }

    /// Never heard by this server counts from now: a new server grants everyone a full session.
    fn is_silent(&mut self, broker: BrokerId, epoch: BrokerEpoch) -> bool {
        let now = self.clock.monotonic();
        let heard = self.heard.entry(broker).or_insert((epoch, now));
        if heard.0 != epoch {
            *heard = (epoch, now);
        }
        self.session_timeout < now.saturating_sub(heard.1)
    }

    fn status(&mut self, deletable: usize) -> Status {
        let sessions: Vec<_> =
            self.state.brokers.iter().filter(|(_, broker)| broker.alive && !broker.local).map(|(id, broker)| (*id, broker.epoch)).collect();
        let silent = sessions.into_iter().filter(|(broker, epoch)| self.is_silent(*broker, *epoch)).collect();
        let clock_trusted = self.journal_clock.is_trusted();
        // The state's own time stands still while nothing is written.
        let now = self.journal_clock.now();
        Status {
            revision: self.state.revision,
            now,
            clock_trusted,
            newest_epoch: self.state.brokers.values().map(|broker| broker.epoch).max().unwrap_or_default(),
            journal_bytes: self.journal_bytes,
            deletable: if clock_trusted { self.state.deletable(now, deletable) } else { Vec::new() },
            garbage_waits_for_snapshot: self.state.garbage_waits_for_snapshot(now),
            snapshot_wanted: *self.snapshot_wanted.borrow(),
            silent,
        }
    }

    /// Appends a step in as many parts as it needs.
    async fn append(&mut self, first: Revision, now: Timestamp, body: &Bytes) -> Result<(), Stop> {
        let nonce = self.random.uuid_bytes();
        let parts = body.len().div_ceil(MAX_ENTRY_BYTES);
        let last = u16::try_from(parts - 1).map_err(|_| Stop(format!("a step of {} bytes", body.len())))?;
        for part in 0..=last {
            let from = usize::from(part) * MAX_ENTRY_BYTES;
            let body = body.slice(from..body.len().min(from + MAX_ENTRY_BYTES));
            let leader = self.state.leader;
            let entry = encode_entry(&Entry { slot: self.slot, first, leader, nonce, now, part, last, body });
            append_entry(self.journal.as_ref(), &self.random, self.slot, &entry).await?;
            self.slot += 1;
            self.journal_bytes += entry.len() as u64;
        }
        Ok(())
    }

    /// Puts the step into the store and answers then. The next snapshot holds it too: if the store fails meanwhile, one is wanted.
    fn mirror(&self, first: Revision, now: Timestamp, body: Bytes, calls: Vec<Decided>) {
        let nonce = self.random.uuid_bytes();
        let key = format!("{TOPICS}{:020}-{:08x}", self.state.revision.0, self.random.u64() >> 32);
        let entry = Entry { slot: self.slot - 1, first, leader: self.state.leader, nonce, now, part: 0, last: 0, body };
        let (store, random, failed) = (self.store.clone(), self.random.fork(), self.snapshot_wanted.clone());
        self.tasks.spawn("metadata-mirror", async move {
            let object = Body::new(vec![encode_entry(&entry)]);
            match put_verified(store.as_ref(), &key, &object, UPLOAD_BACKOFF, &random).await {
                Ok(()) => release(calls),
                Err(err) => {
                    failed.send_replace(true);
                    for call in calls {
                        let detail = format!("it is in the journal, but not yet in the store: {err}");
                        let _ = call.reply.send(Err(MetadataError::Unknown { detail }));
                    }
                }
            }
        });
    }
}

fn release(decided: Vec<Decided>) {
    for call in decided {
        // The caller may have given up waiting.
        let _ = call.reply.send(call.answer);
    }
}

/// Writes `entry` into `slot`, or says why this server must stop. An unknown outcome is resolved by reading the slot: the same bytes
/// are ours (the nonce is), nothing there may be tried again, anything else is a successor's.
pub(crate) async fn append_entry(journal: &dyn Journal, random: &Random, slot: u64, entry: &Bytes) -> Result<(), Stop> {
    let mut retries = APPEND_BACKOFF.start();
    loop {
        let detail = match journal.append(slot, entry.clone()).await {
            Appended::Done => return Ok(()),
            Appended::Taken => "the slot is taken".to_owned(),
            Appended::Unknown { detail } => detail,
        };
        let found = journal.read(slot, 1).await.map_err(|err| Stop(err.to_string()))?;
        match found.first() {
            Some((found, bytes)) if *found == slot && bytes == entry => return Ok(()),
            Some(_) => return Err(Stop(format!("deposed: journal slot {slot} holds another server's entry"))),
            None if retries.wait(random).await => {}
            None => return Err(Stop(format!("journal slot {slot} cannot be written: {detail}"))),
        }
    }
}
