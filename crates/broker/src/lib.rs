//! Kafka's protocol over the log: listeners, connections, and one handler per API. The only crate that knows both Kafka and storage.
//!
//! A request's way: [`listener`] accepts, [`connection`] reads frames and keeps answers in order, [`dispatch`] finds the handler,
//! [`handlers`] translate between Kafka's words and [`partition`] or the metadata service, [`error_code`] alone maps their errors.
//! [`fetch_wait`] is the only place that waits for data, [`fetch_session`] the only one that remembers what a client was told;
//! [`down_conversion`] puts what was read into the words of old consumers. [`coordinator`] runs the groups' coordinators, [`group_lag`] tells
//! how far their groups are behind.
//!
//! Invariants: an append's order is fixed before the connection reads its next request; answers leave in the order of their requests;
//! no peer can make the broker hold more than a small multiple of what it sent, or more unread answers than one.

mod broker;
mod options;

mod listener;

mod answer_room;
mod connection;
mod connection_slots;
mod gathered;
mod hurry;
mod memory_budget;
mod pipeline;
mod session;

mod dispatch;
mod handlers;

mod down_conversion;
mod fetch_session;
mod fetch_wait;
mod producer_ids;
mod quota;
mod throttle;

mod coordinator;
mod group_lag;

mod durability;
mod leadership;
mod topics;

mod broker_config;
mod config_change;
mod config_resource;
mod group_config;
mod settings;
pub mod topic_config;

mod error_code;
mod metrics;

pub use broker::{Broker, BrokerHandle, Deps, StartError};
pub use broker_config::{BrokerConfigError, Configuration};
pub use group::{AssignorName, MigrationPolicy, Options as GroupOptions};
pub use group_config::{GROUP_CONFIGS, GroupConfigKey};
pub use listener::{BindError, BoundListener};
pub use options::{BrokerConfig, BrokerOptions, ListenerOptions};
pub use partition::Flusher;
pub use session::{Principal, Stage};
pub use topic_config::TopicDefaults;
