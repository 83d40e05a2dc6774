//! Consumer groups of KIP-848: the server assigns, and members move towards their assignment one heartbeat at a time.
//!
//! [`ConsumerGroup::heartbeat`] is the whole protocol, and does four things in this order: it takes over what the member says of itself
//! (`heartbeat`), raises the group's epoch if members, subscriptions or topics changed, makes a target assignment for it (`target`, with
//! the `assignors`), and moves this one member on towards it (`reconcile`).
//!
//! Invariants: a partition belongs to one member at most until that member says that it gave it up, left or was put out; what a refused
//! request changed is nothing; everything but deadlines is in the rows that a call leaves behind.

mod group;
mod member;

mod heartbeat;
mod reconcile;
mod target;

mod assignment;
mod assignors;
mod regexes;

mod classic_members;

mod commit;
mod describe;

mod load;
mod rows;

#[cfg(test)]
mod tests;

pub(crate) use classic_members::{ClassicConsumer, ClassicConsumers};
pub(crate) use group::ConsumerGroup;
pub(crate) use heartbeat::check_request;
pub(crate) use load::ConsumerGroupLoader;
pub(crate) use member::JOIN;
pub(crate) use rows::Loaded;
