//! What consumers of the classic protocol tell each other in the group's opaque fields: Kafka's `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment`, as far as the server reads and writes them. Big-endian; strings are int16-prefixed, arrays int32-prefixed.
//! What later versions added comes last, and is passed over.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// `protocol_type` of groups of consumers, whose metadata are subscriptions.
pub(crate) const CONSUMER: &str = "consumer";

/// Partitions by the name of their topic.
pub(crate) type Named = Vec<(String, Vec<i32>)>;

/// What a consumer offers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Subscription {
    pub(crate) version: i16,
    pub(crate) topics: BTreeSet<String>,
    /// Not said before version 1.
    pub(crate) owned: Option<Named>,
    pub(crate) rack_id: Option<String>,
}

/// What a consumer is given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Assignment {
    pub(crate) partitions: Named,
    /// An assignor of the clients' own put something into it.
    pub(crate) has_user_data: bool,
}

/// The topics of a subscription; `None` if they cannot be read. What follows them may be anything.
pub(crate) fn read_topics(mut bytes: Bytes) -> Option<BTreeSet<String>> {
    read_start(&mut bytes).map(|(_, topics)| topics)
}

/// Reads a subscription; `None` if it is none.
pub(crate) fn read_subscription(mut bytes: Bytes) -> Option<Subscription> {
    let (version, topics) = read_start(&mut bytes)?;
    read_bytes(&mut bytes)?;
    let owned = if 1 <= version { Some(read_array(&mut bytes, read_partitions)?) } else { None };
    if 2 <= version {
        // The generation in which it owned that.
        bytes.try_get_i32().ok()?;
    }
    let rack_id = if 3 <= version { read_nullable_string(&mut bytes)? } else { None };
    Some(Subscription { version, topics, owned, rack_id })
}

/// Reads an assignment, of which no bytes are one of nothing; `None` if it is none.
pub(crate) fn read_assignment(mut bytes: Bytes) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::default());
    }
    read_version(&mut bytes)?;
    let partitions = read_array(&mut bytes, read_partitions)?;
    let has_user_data = read_bytes(&mut bytes)?.is_some_and(|data| !data.is_empty());
    Some(Assignment { partitions, has_user_data })
}

/// An assignment for a consumer that speaks `version`.
pub(crate) fn write_assignment(version: i16, named: &Named) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_i32(named.len() as i32);
    for (name, partitions) in named {
        bytes.put_i16(name.len() as i16);
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}

/// The start of a subscription, which is the same in every version.
fn read_start(bytes: &mut Bytes) -> Option<(i16, BTreeSet<String>)> {
    let version = read_version(bytes)?;
    let topics = read_array(bytes, read_string)?;
    Some((version, topics.into_iter().collect()))
}

fn read_version(bytes: &mut Bytes) -> Option<i16> {
    bytes.try_get_i16().ok().filter(|version| 0 <= *version)
}

fn read_array<T>(bytes: &mut Bytes, read: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let count = bytes.try_get_i32().ok().filter(|count| 0 <= *count)?;
    (0..count).map(|_| read(bytes)).collect()
}

fn read_partitions(bytes: &mut Bytes) -> Option<(String, Vec<i32>)> {
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
            std::str::from_utf8(&text).ok().map(|text| Some(text.to_owned()))
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subscriptions_of_all_versions_are_read() {
        let v0 = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        let read = read_subscription(Bytes::from_static(v0)).unwrap();
        assert_eq!(read, Subscription { version: 0, topics: ["a".to_owned()].into(), owned: None, rack_id: None });
        let v3 = b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x01x\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x05\0\x01r";
        let read = read_subscription(Bytes::from_static(v3)).unwrap();
        let owned = Some(vec![("a".to_owned(), vec![0, 1])]);
        assert_eq!(read, Subscription { version: 3, topics: ["a".to_owned()].into(), owned, rack_id: Some("r".to_owned()) });
        for end in 0..v3.len() {
            assert_eq!(read_subscription(Bytes::copy_from_slice(&v3[..end])), None);
        }
    }

    #[test]
    fn topics_are_read_whatever_follows_them() {
        let names = Some(BTreeSet::from(["ab".to_owned(), "c".to_owned()]));
        assert_eq!(read_topics(Bytes::from_static(b"\0\x03\0\0\0\x02\0\x02ab\0\x01c")), names);
        assert_eq!(read_topics(Bytes::from_static(b"\0\x63\0\0\0\x02\0\x02ab\0\x01cxyz")), names);
    }

    #[test]
    fn what_is_no_subscription_is_not_read() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0\0\0\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\0\0\0\x01\0\x05a",
            b"\0\0\0\0\0\x01\xff\xff",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert_eq!((read_topics(bytes.clone()), read_subscription(bytes.clone())), (None, None), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn assignments_read_back(
            version in 0_i16..4,
            partitions in prop::collection::vec(("[a-z.]{1,9}", prop::collection::vec(any::<i32>(), 0..5)), 0..4),
        ) {
            let bytes = write_assignment(version, &partitions);
            prop_assert_eq!(read_assignment(bytes.clone()), Some(Assignment { partitions, has_user_data: false }));
            for end in 1..bytes.len() {
                prop_assert_eq!(read_assignment(bytes.slice(..end)), None);
            }
        }
    }
}
