//! Group coordinators as the broker runs them: one task per coordinator slot, around a [`group::Coordinator`] that knows no I/O.
//!
//! A slot is loaded when the first request for one of its groups comes: the broker takes the slot in metadata, which fences whoever had
//! it, and reads its rows (`slot`). While it serves, what a call changes is saved before the call is answered; calls that come while a
//! save is under way go into the next one together (`saves`). A save that is refused ends the coordinator and everybody who waits for
//! it; the next request loads it anew.
//!
//! Bounds: a slot's queue; one request of a connection at a time, whose memory the connection pays for until it is answered.

mod call;
mod saves;
mod slot;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use group::{Coordinator, GroupError, JoinRequest, Joined, Now, SyncRequest, Synced, Ticket, slot_of};
use metadata_api::{ClusterImage, MetadataClient};
use runtime::{Clock, Random, Shutdown, Tasks};
use tokio::sync::{mpsc, oneshot, watch};
use types::{BrokerId, COORDINATOR_SLOTS, CoordinatorKind, CoordinatorSlot};

use self::call::{Asked, Command, Reply};
use self::slot::Slot;
use crate::metrics::GroupMetrics;
use crate::settings::Settings;

/// Calls that may lie in a slot's queue; whoever comes then waits for room.
const QUEUE: usize = 1024;
/// How long a request waits for a slot that is being loaded, or for room in its queue, before its client is told to come again.
const LOAD_WAIT: Duration = Duration::from_secs(1);

/// Why a coordinator did not do what it was asked. All but [`Self::Group`] pass: clients look for the coordinator and ask again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CoordinatorError {
    /// Another broker has the slot.
    #[error("This is not the correct coordinator.")]
    NotCoordinator,
    /// The slot's rows are being read.
    #[error("The coordinator is loading and hence can't process requests.")]
    Loading,
    /// Metadata is away, the broker stops, or too much is waiting.
    #[error("The coordinator is not available.")]
    NotAvailable,
    /// What has to be saved at once is larger than metadata takes: the group's members say too much.
    #[error("The group's metadata is too large to be saved.")]
    TooLarge,
    /// The group's own answer.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// What the tasks of all slots share.
pub(super) struct Shared {
    id: BrokerId,
    settings: Arc<Settings>,
    metadata: Arc<dyn MetadataClient>,
    images: watch::Receiver<Arc<ClusterImage>>,
    clock: Arc<dyn Clock>,
    random: Random,
    metrics: Arc<GroupMetrics>,
}

/// How the broker reaches one slot's task.
struct SlotHandle {
    commands: mpsc::Sender<Command>,
    is_loaded: Arc<AtomicBool>,
}

/// The group coordinators of this broker.
pub(crate) struct Coordinators {
    id: BrokerId,
    images: watch::Receiver<Arc<ClusterImage>>,
    slots: Vec<SlotHandle>,
    next_ticket: AtomicU64,
}

impl Coordinators {
    /// Starts the slots' tasks, which run until the shutdown; none is loaded yet.
    pub(crate) fn start(deps: CoordinatorDeps, tasks: &Tasks, shutdown: &Shutdown) -> Arc<Self> {
        let CoordinatorDeps { id, settings, metadata, clock, random, metrics } = deps;
        let images = metadata.image();
        let shared = Arc::new(Shared { id, settings, metadata, images: images.clone(), clock, random, metrics });
        let slots = CoordinatorSlot::all(CoordinatorKind::Group).map(|slot| {
            let (commands, queue) = mpsc::channel(QUEUE);
            let is_loaded = Arc::new(AtomicBool::new(false));
            let task = Slot::new(slot, Arc::clone(&shared), queue, Arc::clone(&is_loaded));
            drop(tasks.spawn(format!("coordinate {slot}"), task.run(shutdown.child())));
            SlotHandle { commands, is_loaded }
        });
        let coordinators = Arc::new(Self { id, images, slots: slots.collect(), next_ticket: AtomicU64::new(0) });
        drop(tasks.spawn("coordinators follow topics", Arc::clone(&coordinators).follow(shutdown.child())));
        coordinators
    }

    /// The slot of a group.
    pub(crate) fn slot(group_id: &str) -> CoordinatorSlot {
        let number = u8::try_from(slot_of(group_id, COORDINATOR_SLOTS.into())).expect("below the number of slots");
        CoordinatorSlot::new(CoordinatorKind::Group, number).expect("below the number of slots")
    }

    /// Asks the coordinator of `group_id`, loading it if need be; the answer comes when what the call changed is durable.
    pub(crate) async fn ask<T, F>(&self, group_id: &str, ask: F) -> Result<T, CoordinatorError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Coordinator, &dyn group::Topics, Now) -> Result<T, GroupError> + Send + 'static,
    {
        self.ask_slot(Self::slot(group_id), ask).await
    }

    /// As [`Self::ask`], for what concerns a whole slot.
    pub(crate) async fn ask_slot<T, F>(&self, slot: CoordinatorSlot, ask: F) -> Result<T, CoordinatorError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Coordinator, &dyn group::Topics, Now) -> Result<T, GroupError> + Send + 'static,
    {
        self.send(slot, |reply| Command::Call(Box::new(Asked { ask, reply }))).await
    }

    /// JoinGroup, whose answer may take as long as the group's rebalance. Dropped before that, the member stays until its session ends.
    pub(crate) async fn join(&self, request: JoinRequest) -> Result<Joined, CoordinatorError> {
        let (slot, ticket) = (Self::slot(&request.group_id), self.ticket());
        let mut forget = Forget { commands: &self.handle(slot).commands, ticket: Some(ticket) };
        let joined = self.send(slot, |reply| Command::Join { ticket, request: Box::new(request), reply }).await;
        forget.ticket = None;
        joined
    }

    /// SyncGroup, whose answer waits for the leader's assignment.
    pub(crate) async fn sync(&self, request: SyncRequest) -> Result<Synced, CoordinatorError> {
        let (slot, ticket) = (Self::slot(&request.group_id), self.ticket());
        let mut forget = Forget { commands: &self.handle(slot).commands, ticket: Some(ticket) };
        let synced = self.send(slot, |reply| Command::Sync { ticket, request: Box::new(request), reply }).await;
        forget.ticket = None;
        synced
    }

    /// Slots that have groups and are this broker's: those that it took, now or before it started.
    pub(crate) fn owned(&self) -> Vec<CoordinatorSlot> {
        let image = self.images.borrow();
        let slots = CoordinatorSlot::all(CoordinatorKind::Group);
        slots.filter(|slot| image.slots.get(slot).is_some_and(|owner| owner.broker == self.id)).collect()
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed))
    }

    fn handle(&self, slot: CoordinatorSlot) -> &SlotHandle {
        &self.slots[usize::from(slot.number())]
    }

    async fn send<T>(&self, slot: CoordinatorSlot, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CoordinatorError> {
        if coordinator_of(&self.images.borrow(), slot) != Some(self.id) {
            return Err(CoordinatorError::NotCoordinator);
        }
        let SlotHandle { commands, is_loaded } = self.handle(slot);
        let unless_loaded = async {
            tokio::time::sleep(LOAD_WAIT).await;
            if is_loaded.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        match tokio::time::timeout(LOAD_WAIT, commands.reserve()).await {
            Ok(Ok(room)) => {
                let (reply, answer) = oneshot::channel();
                room.send(command(reply));
                tokio::select! {
                    // A task that is gone was stopped.
                    answer = answer => answer.unwrap_or(Err(CoordinatorError::NotAvailable)),
                    () = unless_loaded => Err(CoordinatorError::Loading),
                }
            }
            Ok(Err(_)) => Err(CoordinatorError::NotAvailable),
            Err(_) if is_loaded.load(Ordering::Acquire) => Err(CoordinatorError::NotAvailable),
            Err(_) => Err(CoordinatorError::Loading),
        }
    }

    /// Tells loaded coordinators of topics that were deleted. One that is loaded later keeps offsets of such a topic until they expire;
    /// they are not answered for another topic of that name, which has another id.
    async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let mut images = self.images.clone();
        let mut previous = images.borrow_and_update().clone();
        while let Some(Ok(())) = shutdown.or(images.changed()).await {
            let image = images.borrow_and_update().clone();
            let gone = previous.topics.iter().filter(|(id, _)| !image.topics.contains_key(id)).map(|(_, topic)| topic.name.clone());
            let gone: Arc<[String]> = gone.collect();
            previous = image;
            if gone.is_empty() {
                continue;
            }
            for slot in self.slots.iter().filter(|slot| slot.is_loaded.load(Ordering::Acquire)) {
                // A task that is gone was stopped.
                let _ = slot.commands.send(Command::TopicsDeleted(Arc::clone(&gone))).await;
            }
        }
    }
}

/// What [`Coordinators`] work with.
pub(crate) struct CoordinatorDeps {
    pub(crate) id: BrokerId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) metrics: Arc<GroupMetrics>,
}

/// Takes a waiting join or sync back if nobody waits for it any more.
struct Forget<'a> {
    commands: &'a mpsc::Sender<Command>,
    ticket: Option<Ticket>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Without room the answer is made, and goes nowhere.
            let _ = self.commands.try_send(Command::Forget(ticket));
        }
    }
}

/// The broker that coordinates a slot: who took it last while it lives, otherwise a live one that every broker finds alike. It takes the
/// slot when it is asked.
pub(crate) fn coordinator_of(image: &ClusterImage, slot: CoordinatorSlot) -> Option<BrokerId> {
    let lives = |id: &BrokerId| image.brokers.get(id).is_some_and(|broker| broker.alive);
    let owner = image.slots.get(&slot).map(|owner| owner.broker).filter(lives);
    owner.or_else(|| {
        let mut live: Vec<_> = image.brokers.values().filter(|broker| broker.alive).map(|broker| broker.id).collect();
        live.sort();
        (!live.is_empty()).then(|| live[usize::from(slot.number()) % live.len()])
    })
}

#[cfg(test)]
mod tests {
    use metadata_api::{BrokerImage, SlotOwner};
    use types::{BrokerEpoch, SlotEpoch};

    use super::*;

    #[test]
    fn a_slot_is_its_live_owners_or_else_of_a_live_broker_that_all_agree_on() {
        let slot = |number| CoordinatorSlot::new(CoordinatorKind::Group, number).unwrap();
        let member = |id, alive| {
            let image = BrokerImage { id: BrokerId(id), epoch: BrokerEpoch(1), endpoints: Vec::new(), rack: None, alive };
            (BrokerId(id), Arc::new(image))
        };
        let owner = |broker| SlotOwner { broker: BrokerId(broker), epoch: SlotEpoch(4) };
        let image = ClusterImage {
            brokers: [member(1, true), member(2, false), member(3, true)].into(),
            slots: [(slot(0), owner(3)), (slot(1), owner(2)), (slot(2), owner(9))].into(),
            ..ClusterImage::default()
        };
        for (number, coordinator) in [(0, 3), (1, 3), (2, 1), (3, 3), (4, 1)] {
            assert_eq!(coordinator_of(&image, slot(number)), Some(BrokerId(coordinator)), "slot {number}");
        }
        assert_eq!(coordinator_of(&ClusterImage::default(), slot(0)), None);
    }
}
