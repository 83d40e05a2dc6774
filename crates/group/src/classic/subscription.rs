//! The topics in a consumer's metadata. Of Kafka's `ConsumerProtocolSubscription` only the start is read, which is the same in every
//! version: the version (int16), then the topics (int32 and as many int16-prefixed strings).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::member::Member;

/// The topics of all members together; `None` if one of them cannot be read.
pub(super) fn of_all(members: &BTreeMap<Arc<str>, Member>, protocol: Option<&str>) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    if members.is_empty() {
        return Some(all);
    }
    let protocol = protocol?;
    for member in members.values() {
        all.append(&mut topics(member.metadata(protocol))?);
    }
    Some(all)
}

/// The topics of one member.
fn topics(mut metadata: Bytes) -> Option<BTreeSet<String>> {
    let version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let name = metadata.get(..length)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        metadata.advance(length);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_of_any_version() {
        let names = BTreeSet::from(["ab".to_owned(), "c".to_owned()]);
        // Version 3, two topics, user data, and what version 3 added.
        let bytes = Bytes::from_static(b"\0\x03\0\0\0\x02\0\x02ab\0\x01c\xff\xff\xff\xff\0\0\0\0\0\0\0\x05");
        assert_eq!(topics(bytes), Some(names));
    }

    #[test]
    fn what_is_no_subscription_is_not_read() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0\0\0\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\0\0\0\x01\0\x05a",
        ] {
            assert_eq!(topics(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
