//! One slot's task: loads its coordinator when somebody asks, runs it, saves what it says, and ends it when the slot is lost.

use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use group::{Answer, Coordinator, Effects, Joined, ListFilter, Moment, Now, Row, Synced, Ticket};
use metadata_api::{ClusterImage, MetadataError, SaveRows, SlotRows, TakeSlot};
use runtime::{Backoff, Shutdown};
use tokio::sync::mpsc;
use tokio::time::Instant;
use types::{BrokerEpoch, CoordinatorSlot, SaveSequence, SlotEpoch, Timestamp};

use super::call::{Command, Held, Reply};
use super::saves::{Gathered, Rows};
use super::topics::ImageTopics;
use super::{CoordinatorError, Shared};
use crate::metrics::GroupCounts;
use crate::settings::InForce;

/// Bytes of rows that are asked for at once.
const PAGE_BYTES: u32 = 1 << 20;
/// Commands handled before a save begins with what they changed, so that those which came together are saved together.
const COMMANDS_PER_SAVE: usize = 256;
/// How long loading goes on while metadata is away; whoever asks is told long before.
const LOADING: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1), jitter: 0.5, budget: Duration::from_secs(10) };
/// How long a save goes on that certainly was not made. One whose outcome is not known goes on for ever: what it holds is answered
/// when it is known.
const SAVING: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_secs(1), jitter: 0.5, budget: Duration::from_secs(5) };
/// As [`SAVING`], without an end.
const UNSETTLED: Backoff = Backoff { budget: Duration::MAX, ..SAVING };
/// How often groups are counted by state while something happens.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Slot {
    slot: CoordinatorSlot,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    is_loaded: Arc<AtomicBool>,
    /// Where moments are counted from.
    began: Instant,
}

/// In what capacity a slot's rows are read and saved.
#[derive(Clone, Copy)]
struct Ownership {
    slot: CoordinatorSlot,
    broker_epoch: BrokerEpoch,
    slot_epoch: SlotEpoch,
}

impl Slot {
    pub(super) fn new(slot: CoordinatorSlot, shared: Arc<Shared>, commands: mpsc::Receiver<Command>, is_loaded: Arc<AtomicBool>) -> Self {
        Self { slot, shared, commands, is_loaded, began: Instant::now() }
    }

    /// Until the shutdown. Who waits then is told that the coordinator is gone, by the end of the reply's sender.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        shutdown.or(self.serve_whoever_asks()).await;
    }

    async fn serve_whoever_asks(&mut self) {
        while let Some(first) = self.commands.recv().await {
            if first.is_idle() {
                continue;
            }
            match self.load().await {
                Ok((ownership, coordinator)) => {
                    let error = self.serve(ownership, coordinator, first).await;
                    self.is_loaded.store(false, Ordering::Release);
                    tracing::info!(slot = %self.slot, "the coordinator ended: {error}");
                }
                Err(error) => {
                    self.is_loaded.store(false, Ordering::Release);
                    first.refuse(error.clone());
                    while let Ok(command) = self.commands.try_recv() {
                        command.refuse(error.clone());
                    }
                }
            }
        }
    }

    fn now(&self) -> Now {
        let moment = u64::try_from(self.began.elapsed().as_millis()).expect("less than half a billion years");
        Now { moment: Moment(moment), wall: Timestamp(self.shared.clock.wall_ms()) }
    }

    /// Takes the slot and reads what the last coordinator left.
    async fn load(&self) -> Result<(Ownership, Coordinator), CoordinatorError> {
        let mut retries = LOADING.start();
        let (ownership, rows) = loop {
            match self.take().await {
                Ok(taken) => break taken,
                Err(error @ (MetadataError::Unavailable { .. } | MetadataError::Unknown { .. })) => {
                    if !retries.wait(&self.shared.random).await {
                        tracing::warn!(slot = %self.slot, "a coordinator could not be loaded: {error}");
                        return Err(CoordinatorError::NotAvailable);
                    }
                }
                Err(error) => return Err(lost(self.slot, &error)),
            }
        };
        let count = rows.len();
        let in_force = self.shared.settings.in_force();
        let (options, groups) = (Arc::clone(&in_force.group_options), Arc::clone(&in_force.group_configs));
        let mut coordinator = Coordinator::load(options, groups, rows, self.now()).map_err(|error| {
            // Nothing of it is served: what this version does not understand would be lost with the next save.
            tracing::error!(slot = %self.slot, "a coordinator's rows cannot be read: {error}");
            CoordinatorError::NotAvailable
        })?;
        // From here on the task is told of topics that go; those that are gone by now it finds in the image.
        self.is_loaded.store(true, Ordering::Release);
        let image = self.shared.images.borrow().clone();
        coordinator.keep_existing_topics(&ImageTopics(image));
        tracing::info!(slot = %self.slot, slot_epoch = %ownership.slot_epoch, rows = count, "a coordinator was loaded");
        Ok((ownership, coordinator))
    }

    async fn take(&self) -> Result<(Ownership, Vec<Row>), MetadataError> {
        let Shared { id, metadata, images, .. } = &*self.shared;
        let broker = images.borrow().brokers.get(id).map(|broker| broker.epoch);
        let broker_epoch = broker.ok_or_else(|| MetadataError::Unavailable { detail: "this broker is not registered yet".to_owned() })?;
        let taken = metadata.take_slot(TakeSlot { broker: *id, epoch: broker_epoch, slot: self.slot }).await?;
        let ownership = Ownership { slot: self.slot, broker_epoch, slot_epoch: taken.slot_epoch };
        // Whatever a row speaks of was there before the slot was taken. Until this broker has heard so much, it cannot tell what is gone.
        let mut images = images.clone();
        let heard = tokio::time::timeout(LOADING.budget, images.wait_for(|image| taken.revision <= image.revision));
        if !heard.await.is_ok_and(|heard| heard.is_ok()) {
            return Err(MetadataError::Unavailable { detail: "this broker hears nothing of metadata's changes".to_owned() });
        }
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after_key = rows.last().map(|row| row.key.clone());
            let request = SlotRows { slot: self.slot, slot_epoch: taken.slot_epoch, after_key, limit_bytes: PAGE_BYTES };
            let page = metadata.slot_rows(request).await?;
            rows.extend(page.rows.into_iter().map(|(key, value)| Row { key, value: Some(value) }));
            if !page.more {
                return Ok((ownership, rows));
            }
        }
    }

    /// Runs the coordinator until the slot is lost, and tells everybody who waits why.
    async fn serve(&mut self, ownership: Ownership, coordinator: Coordinator, first: Command) -> CoordinatorError {
        let mut serving = Serving {
            options: None,
            slot: self,
            ownership,
            coordinator,
            sequence: SaveSequence(0),
            waiting: HashMap::new(),
            gathered: Gathered::default(),
            saving: None,
            counts: None,
            is_counted: false,
            is_unsaveable: false,
        };
        let Err(error) = serving.until_lost(first).await;
        serving.refuse_all(&error);
        error
    }
}

/// A slot that cannot be had, or not any more.
fn lost(slot: CoordinatorSlot, error: &MetadataError) -> CoordinatorError {
    match error {
        MetadataError::SlotFenced { .. } | MetadataError::Fenced { .. } => CoordinatorError::NotCoordinator,
        error => {
            tracing::error!(%slot, "metadata refused a coordinator: {error}");
            CoordinatorError::NotAvailable
        }
    }
}

/// Who waits for a join or a sync.
enum Waiting {
    Join(Reply<Joined>),
    Sync(Reply<Synced>),
}

/// Saves that are under way, and who is answered when they are made.
struct Saving {
    saves: BoxFuture<'static, Result<(), CoordinatorError>>,
    held: Vec<Held>,
}

/// A loaded coordinator.
struct Serving<'a> {
    slot: &'a mut Slot,
    ownership: Ownership,
    coordinator: Coordinator,
    /// What the coordinator goes by.
    options: Option<Arc<InForce>>,
    /// Of the last save that was begun.
    sequence: SaveSequence,
    waiting: HashMap<Ticket, Waiting>,
    gathered: Gathered,
    saving: Option<Saving>,
    /// Groups by state when they were last counted, and when that was.
    counts: Option<(Instant, GroupCounts)>,
    /// Nothing happened since.
    is_counted: bool,
    /// A call changed what no save can hold: what is in memory is not to be saved any more.
    is_unsaveable: bool,
}

impl Serving<'_> {
    async fn until_lost(&mut self, first: Command) -> Result<Infallible, CoordinatorError> {
        let mut images = self.slot.shared.images.clone();
        self.handle(first)?;
        loop {
            for _ in 0..COMMANDS_PER_SAVE {
                if self.gathered.is_full() {
                    break;
                }
                let Ok(command) = self.slot.commands.try_recv() else { break };
                self.handle(command)?;
            }
            self.begin_save();
            self.count();
            let deadline = self.deadline();
            // Else a save is under way: who asks now waits for it.
            let has_room = !self.gathered.is_full();
            tokio::select! {
                saved = saved(&mut self.saving) => {
                    let held = saved?;
                    held.into_iter().for_each(|held| held.release(Ok(())));
                }
                command = self.slot.commands.recv(), if has_room => match command {
                    Some(command) => self.handle(command)?,
                    // The broker is gone.
                    None => return Err(CoordinatorError::NotAvailable),
                },
                () = at(deadline), if has_room => self.expire()?,
                changed = images.changed() => {
                    if changed.is_err() {
                        return Err(CoordinatorError::NotAvailable);
                    }
                    self.check_owner(&images.borrow_and_update())?;
                }
            }
        }
    }

    /// When something is due: for the groups, or to be counted.
    fn deadline(&self) -> Option<Instant> {
        let groups = self.coordinator.next_deadline().map(|Moment(at)| self.slot.began + Duration::from_millis(at));
        let counting = self.counts.as_ref().filter(|_| !self.is_counted).map(|(at, _)| *at + COUNT_INTERVAL);
        [groups, counting].into_iter().flatten().min()
    }

    fn expire(&mut self) -> Result<(), CoordinatorError> {
        self.configure();
        let (topics, now) = (self.topics(), self.slot.now());
        self.coordinator.expire(&topics, now);
        self.collect();
        self.check_saveable()
    }

    fn check_saveable(&self) -> Result<(), CoordinatorError> {
        if self.is_unsaveable { Err(CoordinatorError::NotAvailable) } else { Ok(()) }
    }

    /// Whether somebody is known to have taken the slot since: the next save would find out, but answers without one go out until then.
    fn check_owner(&self, image: &ClusterImage) -> Result<(), CoordinatorError> {
        match image.slots.get(&self.slot.slot) {
            Some(owner) if self.ownership.slot_epoch < owner.epoch => Err(CoordinatorError::NotCoordinator),
            Some(_) | None => Ok(()),
        }
    }

    fn topics(&self) -> ImageTopics {
        ImageTopics(self.slot.shared.images.borrow().clone())
    }

    /// Makes the coordinator go by the options in force.
    fn configure(&mut self) {
        let options = self.slot.shared.settings.in_force();
        if self.options.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &options)) {
            self.coordinator.configure(Arc::clone(&options.group_options), Arc::clone(&options.group_configs));
            self.options = Some(options);
        }
    }

    fn handle(&mut self, command: Command) -> Result<(), CoordinatorError> {
        self.configure();
        let (topics, now) = (self.topics(), self.slot.now());
        match command {
            Command::Call(call) if call.is_abandoned() => {}
            Command::Call(call) => {
                let held = call.run(&mut self.coordinator, &topics, now);
                self.collect();
                self.hold(held);
            }
            Command::Join { reply, .. } if reply.is_closed() => {}
            Command::Join { ticket, request, reply } => {
                self.waiting.insert(ticket, Waiting::Join(reply));
                self.coordinator.join(ticket, *request, &topics, now);
                self.collect();
            }
            Command::Sync { reply, .. } if reply.is_closed() => {}
            Command::Sync { ticket, request, reply } => {
                self.waiting.insert(ticket, Waiting::Sync(reply));
                self.coordinator.sync(ticket, *request, &topics, now);
                self.collect();
            }
            Command::Forget(ticket) => {
                if self.waiting.remove(&ticket).is_some() {
                    self.coordinator.forget(ticket);
                }
            }
            Command::TopicsDeleted(names) => {
                self.coordinator.topics_deleted(&names);
                self.collect();
            }
        }
        self.check_saveable()
    }

    /// Takes over what a call left behind.
    fn collect(&mut self) {
        let Effects { rows, answers } = self.coordinator.take_effects();
        self.is_counted = false;
        if self.gathered.add(rows).is_err() {
            tracing::error!(slot = %self.slot.slot, "a group has more to save than metadata takes at once");
            self.is_unsaveable = true;
        }
        for (ticket, answer) in answers {
            match (self.waiting.remove(&ticket), answer) {
                (Some(Waiting::Join(reply)), Answer::Join(result)) => self.hold(Held::new(reply, result)),
                (Some(Waiting::Sync(reply)), Answer::Sync(result)) => self.hold(Held::new(reply, result)),
                (None, Answer::Join(_) | Answer::Sync(_)) => {}
                (Some(Waiting::Join(_)), Answer::Sync(_)) | (Some(Waiting::Sync(_)), Answer::Join(_)) => {
                    unreachable!("a ticket is given to one request")
                }
            }
        }
    }

    /// An answer goes out after everything that was changed before it.
    fn hold(&mut self, held: Held) {
        match &mut self.saving {
            _ if self.is_unsaveable => held.release(Err(CoordinatorError::TooLarge)),
            _ if !self.gathered.is_empty() => self.gathered.hold(held),
            Some(saving) => saving.held.push(held),
            None => held.release(Ok(())),
        }
    }

    fn begin_save(&mut self) {
        if self.saving.is_some() || self.gathered.is_empty() {
            return;
        }
        let (saves, held) = self.gathered.take();
        let first = SaveSequence(self.sequence.0 + 1);
        self.sequence.0 += saves.len() as u64;
        let saves = save_all(Arc::clone(&self.slot.shared), self.ownership, first, saves).boxed();
        self.saving = Some(Saving { saves, held });
    }

    fn count(&mut self) {
        if self.is_counted || self.counts.as_ref().is_some_and(|(at, _)| at.elapsed() < COUNT_INTERVAL) {
            return;
        }
        self.is_counted = true;
        let counts = GroupCounts::of(&self.coordinator.list(&ListFilter::default()));
        let before = self.counts.replace((Instant::now(), counts.clone())).map(|(_, before)| before);
        self.slot.shared.metrics.counted(&before.unwrap_or_default(), &counts);
    }

    fn refuse_all(&mut self, error: &CoordinatorError) {
        let saving = self.saving.take().map(|saving| saving.held).unwrap_or_default();
        let (_, gathered) = self.gathered.take();
        saving.into_iter().chain(gathered).for_each(|held| held.release(Err(error.clone())));
        for waiting in mem::take(&mut self.waiting).into_values() {
            match waiting {
                Waiting::Join(reply) => drop(reply.send(Err(error.clone()))),
                Waiting::Sync(reply) => drop(reply.send(Err(error.clone()))),
            }
        }
        if let Some((_, counts)) = self.counts.take() {
            self.slot.shared.metrics.counted(&counts, &GroupCounts::default());
        }
    }
}

/// Waits for the saves that are under way, and answers who is to be told.
async fn saved(saving: &mut Option<Saving>) -> Result<Vec<Held>, CoordinatorError> {
    let Some(under_way) = saving else { return std::future::pending().await };
    (&mut under_way.saves).await?;
    Ok(saving.take().map(|saving| saving.held).unwrap_or_default())
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn save_all(shared: Arc<Shared>, ownership: Ownership, first: SaveSequence, saves: Vec<Rows>) -> Result<(), CoordinatorError> {
    for (sequence, rows) in (first.0..).map(SaveSequence).zip(saves) {
        let Ownership { slot, broker_epoch, slot_epoch } = ownership;
        save(&shared, SaveRows { broker: shared.id, epoch: broker_epoch, slot, slot_epoch, sequence, rows }).await?;
    }
    Ok(())
}

/// Makes one save, asking again with the same sequence for as long as it may have been made.
async fn save(shared: &Shared, request: SaveRows) -> Result<(), CoordinatorError> {
    let (mut refused, mut unsettled) = (SAVING.start(), None);
    loop {
        match shared.metadata.save_rows(request.clone()).await {
            Ok(_) => return Ok(()),
            Err(error @ MetadataError::Unknown { .. }) => {
                tracing::warn!(slot = %request.slot, sequence = %request.sequence, "a save is repeated: {error}");
                unsettled.get_or_insert_with(|| UNSETTLED.start()).wait(&shared.random).await;
            }
            Err(error @ MetadataError::Unavailable { .. }) => {
                let again = unsettled.as_mut().unwrap_or(&mut refused).wait(&shared.random).await;
                if !again {
                    tracing::warn!(slot = %request.slot, "a save was not made: {error}");
                    return Err(CoordinatorError::NotAvailable);
                }
            }
            Err(error) => return Err(lost(request.slot, &error)),
        }
    }
}
