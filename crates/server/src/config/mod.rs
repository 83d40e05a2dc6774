//! Configuration: Kafka's `key=value` form, from a file, the environment and the command line, each value with where it came from.
//!
//! `keys` is the table of what exists, `layers` merges the sources into `Raw`, and `Config` is what the program works with:
//! validated, resolved, without a value that still means "default".

mod dynamic;
mod keys;
mod layers;
mod listener;
mod resolved;
mod shown;
mod value;

pub(crate) use dynamic::{DYNAMIC, StartedWith, is_dynamic};
pub(crate) use keys::KEYS;
pub(crate) use layers::{ConfigError, Layers, Raw};
pub(crate) use listener::Listener;
pub(crate) use resolved::{Config, StoreConfig, metadata_url};
