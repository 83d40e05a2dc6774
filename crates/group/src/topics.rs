//! What groups need to know about topics.

use types::TopicId;

/// The topics as the broker knows them when it calls.
pub trait Topics {
    /// The topic of that name.
    fn by_name(&self, name: &str) -> Option<TopicInfo>;
    /// The topic with that id.
    fn by_id(&self, id: TopicId) -> Option<TopicInfo>;
    /// All names.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
    /// Differs whenever anything of the above may differ.
    fn version(&self) -> u64;
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicInfo {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
}
