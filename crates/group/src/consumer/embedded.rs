//! What consumers of the classic protocol say and are told: Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, as
//! far as the server needs them to assign for such a consumer. Big-endian; strings are int16-prefixed, arrays int32-prefixed.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::assignment::{Held, Partitions};
use crate::Topics;

/// A subscription of a consumer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Embedded {
    pub(super) version: i16,
    pub(super) topics: BTreeSet<String>,
    /// Not said before version 1.
    pub(super) owned: Option<Vec<(String, Vec<i32>)>>,
    pub(super) rack_id: Option<String>,
}

/// Reads a subscription; `None` if it is none. What later versions added is passed over.
pub(super) fn read_subscription(mut bytes: Bytes) -> Option<Embedded> {
    let version = bytes.try_get_i16().ok().filter(|version| 0 <= *version)?;
    let topics = read_array(&mut bytes, read_string)?.into_iter().collect();
    read_bytes(&mut bytes)?;
    let owned = if 1 <= version { Some(read_array(&mut bytes, read_topic)?) } else { None };
    if 2 <= version {
        bytes.try_get_i32().ok()?;
    }
    let rack_id = if 3 <= version { read_nullable_string(&mut bytes)? } else { None };
    Some(Embedded { version, topics, owned, rack_id })
}

/// Reads an assignment, and whether an assignor of the client's own put something into it; `None` if it is none.
pub(super) fn read_assignment(mut bytes: Bytes, topics: &dyn Topics) -> Option<(Partitions, bool)> {
    if bytes.is_empty() {
        return Some((Partitions::new(), false));
    }
    bytes.try_get_i16().ok().filter(|version| 0 <= *version)?;
    let assigned = read_array(&mut bytes, read_topic)?;
    let has_user_data = read_bytes(&mut bytes)?.is_some_and(|data| !data.is_empty());
    Some((by_id(assigned, topics), has_user_data))
}

/// By id, without topics that are gone.
pub(super) fn by_id(named: Vec<(String, Vec<i32>)>, topics: &dyn Topics) -> Partitions {
    let mut partitions = Partitions::new();
    for (name, of_topic) in named.into_iter().filter(|(_, of_topic)| !of_topic.is_empty()) {
        if let Some(topic) = topics.by_name(&name) {
            partitions.entry(topic.id).or_default().extend(of_topic);
        }
    }
    partitions
}

/// What a member has, for a consumer that speaks `version`.
pub(super) fn write_assignment(version: i16, held: &Held, topics: &dyn Topics) -> Bytes {
    let named: Vec<_> = held.iter().filter_map(|(id, partitions)| Some((topics.by_id(*id)?.name, partitions))).collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_i32(named.len() as i32);
    for (name, partitions) in named {
        bytes.put_i16(name.len() as i16);
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(partitions.len() as i32);
        partitions.keys().for_each(|partition| bytes.put_i32(*partition));
    }
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}

fn read_array<T>(bytes: &mut Bytes, read: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let count = bytes.try_get_i32().ok().filter(|count| 0 <= *count)?;
    (0..count).map(|_| read(bytes)).collect()
}

fn read_topic(bytes: &mut Bytes) -> Option<(String, Vec<i32>)> {
    Some((read_string(bytes)?, read_array(bytes, |bytes| bytes.try_get_i32().ok())?))
}

fn read_string(bytes: &mut Bytes) -> Option<String> {
    read_nullable_string(bytes)?
}

/// The outer option: whether it could be read.
fn read_nullable_string(bytes: &mut Bytes) -> Option<Option<String>> {
    match bytes.try_get_i16().ok()? {
        -1 => Some(None),
        length => {
            let text = take(bytes, usize::try_from(length).ok()?)?;
            String::from_utf8(text.to_vec()).ok().map(Some)
        }
    }
}

fn read_bytes(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match bytes.try_get_i32().ok()? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_all_versions_are_read() {
        let v0 = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        let read = read_subscription(Bytes::from_static(v0)).unwrap();
        assert_eq!(read, Embedded { version: 0, topics: ["a".to_owned()].into(), owned: None, rack_id: None });
        let v3 = b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x01x\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x05\0\x01r";
        let read = read_subscription(Bytes::from_static(v3)).unwrap();
        let owned = Some(vec![("a".to_owned(), vec![0, 1])]);
        assert_eq!(read, Embedded { version: 3, topics: ["a".to_owned()].into(), owned, rack_id: Some("r".to_owned()) });
        for end in 0..v3.len() {
            assert_eq!(read_subscription(Bytes::copy_from_slice(&v3[..end])), None);
        }
        assert_eq!(read_subscription(Bytes::from_static(b"\0\0\x7f\xff\xff\xff")), None);
    }
}
