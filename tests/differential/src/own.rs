//! What is each broker's own in an answer: replaced by a word, so that it compares equal and that it is there at all still counts.

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

use crate::value::Value;

/// Fields that every broker fills in for itself, with the value that says "nothing", which stays.
const OWN: &[(&str, &str)] = &[
    ("host", "\"\""),
    ("port", "-1"),
    ("cluster_id", "None"),
    ("log_append_time_ms", "-1"),
    ("producer_id", "-1"),
    ("session_id", "0"),
    ("log_dir", "\"\""),
    ("total_bytes", "-1"),
    ("usable_bytes", "-1"),
];

/// Fields that hold a group member's id.
const MEMBERS: &[&str] = &["member_id", "leader"];

/// Fields that say nothing about what a broker does.
const IGNORED: &[&str] = &["throttle_time_ms", "throttle_time"];

/// Length of the end of a member's id that a coordinator made up.
const UUID: usize = 36;

/// Length of a record batch's header.
const BATCH_HEADER: usize = 61;

/// Replaces in `answer` what is its broker's own. `names` are the topics whose ids are known: an id becomes its topic's name. `members`
/// are the ids that the broker made up for members of groups: they become those of the recording.
pub fn replace(answer: &mut Value, names: &HashMap<Uuid, String>, members: &HashMap<String, String>) {
    match answer {
        Value::Scalar(_) | Value::Bytes(_) => {}
        Value::List(values) => values.iter_mut().for_each(|value| replace(value, names, members)),
        Value::Fields(fields) => {
            fields.retain(|(name, value)| {
                let is_empty = name == "unknown_tagged_fields" && *value == Value::Fields(Vec::new());
                !is_empty && !IGNORED.contains(&&**name)
            });
            for (name, value) in fields {
                replace_field(name, value, names, members);
            }
        }
    }
}

fn replace_field(name: &str, value: &mut Value, names: &HashMap<Uuid, String>, members: &HashMap<String, String>) {
    match value {
        Value::Bytes(bytes) if name == "records" => *value = batches(bytes),
        Value::Scalar(text) if name == "topic_id" => {
            if let Some(topic) = text.parse().ok().and_then(|id: Uuid| names.get(&id)) {
                *text = format!("id of {topic}");
            }
        }
        Value::Scalar(text) if MEMBERS.contains(&name) => {
            let id = text.trim_matches('"');
            let made_up = id.len().checked_sub(UUID).filter(|at| id.get(*at..).is_some_and(|end| Uuid::try_parse(end).is_ok()));
            if let Some(recorded) = members.get(id) {
                *text = format!("\"{recorded}\"");
            } else if let Some(at) = made_up {
                // Of a member that waits for the answer which says its id.
                *text = format!("\"{}its own\"", &id[..at]);
            }
        }
        Value::Scalar(text) => {
            if OWN.iter().any(|(own, nothing)| *own == name && nothing != text) {
                *text = "its own".to_owned();
            }
        }
        _ => replace(value, names, members),
    }
}

/// Leaves in two answers to ApiVersions the APIs that both list.
pub fn keep_common_apis(left: &mut Value, right: &mut Value) {
    let keys = |value: &mut Value| -> BTreeSet<String> {
        match value.field_mut("api_keys") {
            Some(Value::List(apis)) => apis.iter().filter_map(Value::key).collect(),
            _ => BTreeSet::new(),
        }
    };
    let common: BTreeSet<String> = keys(left).intersection(&keys(right)).cloned().collect();
    for value in [left, right] {
        if let Some(Value::List(apis)) = value.field_mut("api_keys") {
            apis.retain(|api| api.key().is_some_and(|key| common.contains(&key)));
            for api in apis {
                name_api(api);
            }
        }
    }
}

/// Kafka's name instead of the number of an API: what a path shows.
fn name_api(api: &mut Value) {
    if let Some(Value::Scalar(key)) = api.field_mut("api_key")
        && let Some(known) = key.parse().ok().and_then(|number: i16| ApiKey::try_from(number).ok())
    {
        *key = format!("{known:?}");
    }
}

/// The batches of a fetched partition. Their leader epoch is outside of the checksum and compared like any other field; the records
/// stay as they are, compressed or not, because neither broker may touch them. A batch that is cut off at the end is left out, as
/// clients do: Apache Kafka fills up the bytes that were asked for with the beginning of the next.
fn batches(mut bytes: &[u8]) -> Value {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.get(8..12).and_then(|length| length.try_into().ok()).map_or(usize::MAX, |length| {
            // The length is of what follows it.
            12 + u32::from_be_bytes(length) as usize
        });
        if bytes.len() < length {
            break;
        }
        if length < BATCH_HEADER {
            batches.push(Value::Bytes(bytes.to_vec()));
            break;
        }
        let (batch, rest) = bytes.split_at(length);
        batches.push(fields_of(batch));
        bytes = rest;
    }
    Value::List(batches)
}

/// Every field of a batch of at least [`BATCH_HEADER`] bytes.
fn fields_of(batch: &[u8]) -> Value {
    let number = |range: std::ops::Range<usize>| {
        let sign = if batch[range.start] & 0x80 == 0 { 0 } else { -1 };
        batch[range].iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte))
    };
    let numbers = [
        ("base_offset", 0..8),
        ("leader_epoch", 12..16),
        ("magic", 16..17),
        ("crc", 17..21),
        ("attributes", 21..23),
        ("last_offset_delta", 23..27),
        ("base_timestamp", 27..35),
        ("max_timestamp", 35..43),
        ("batch_producer_id", 43..51),
        ("producer_epoch", 51..53),
        ("base_sequence", 53..57),
        ("count", 57..61),
    ];
    let mut fields: Vec<_> = numbers.map(|(name, range)| (name.to_owned(), Value::scalar(number(range)))).into();
    fields.push(("records".to_owned(), Value::Bytes(batch[BATCH_HEADER..].to_vec())));
    Value::Fields(fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
    use kafka_protocol::messages::{ApiVersionsResponse, FetchResponse, JoinGroupResponse, api_versions_response::ApiVersion};
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::value::{Difference, compare};

    fn fetched(id: u128, session: i32, offset: u8) -> Value {
        let mut batch = vec![0; BATCH_HEADER + 3];
        (batch[7], batch[11]) = (offset, u8::try_from(batch.len() - 12).unwrap());
        let partition = PartitionData::default().with_records(Some(Bytes::from([&batch[..], &batch].concat())));
        let topic = FetchableTopicResponse::default().with_topic_id(Uuid::from_u128(id)).with_partitions(vec![partition]);
        let response = FetchResponse::default().with_session_id(session).with_responses(vec![topic]);
        let mut value = Value::of(&response).unwrap();
        replace(&mut value, &HashMap::from([(Uuid::from_u128(id), "orders".to_owned())]), &HashMap::new());
        value
    }

    #[test]
    fn ids_become_names_and_own_values_a_word_that_nothing_does_not() {
        assert_eq!(compare(&fetched(1, 5, 0), &fetched(2, 6, 0)), []);
        let difference =
            |path: &str, left: &str, right: &str| Difference { path: path.to_owned(), left: left.to_owned(), right: right.to_owned() };
        assert_eq!(compare(&fetched(1, 5, 0), &fetched(2, 0, 0)), [difference("session_id", "its own", "0")]);
    }

    #[test]
    fn members_are_compared_by_the_ids_of_the_recording() {
        let described = |ids: [&str; 2]| {
            let id = |id: &str| StrBytes::from_string(id.to_owned());
            let members = ids.map(|member| JoinGroupResponseMember::default().with_member_id(id(member)));
            let joined = JoinGroupResponse::default().with_member_id(id(ids[0])).with_leader(id(ids[1])).with_members(members.into());
            let mut value = Value::of(&joined).unwrap();
            let recorded = [("x-1", "a"), ("y-1", "a"), ("x-2", "b"), ("y-2", "b")];
            replace(&mut value, &HashMap::new(), &recorded.map(|(own, recorded)| (own.to_owned(), recorded.to_owned())).into());
            value
        };
        assert_eq!(compare(&described(["x-1", "x-2"]), &described(["y-1", "y-2"])), []);
        let paths = |found: Vec<Difference>| found.into_iter().map(|found| found.path).collect::<Vec<_>>();
        assert_eq!(paths(compare(&described(["x-1", "x-2"]), &described(["y-2", "y-1"]))), ["leader", "member_id"]);
        assert_eq!(paths(compare(&described(["x-1", "x-2"]), &described(["y-1", "y-3"]))), ["leader", "members[b]", "members[y-3]"]);
        let unknown = [1, 2].map(|number| format!("client-{}", Uuid::from_u128(number)));
        assert_eq!(compare(&described(["x-1", &unknown[0]]), &described(["y-1", &unknown[1]])), []);
        assert_eq!(paths(compare(&described(["x-1", "x-2"]), &described(["y-1", &unknown[1]]))).len(), 3);
    }

    #[test]
    fn records_are_compared_batch_by_batch() {
        let paths: Vec<_> = compare(&fetched(1, 0, 7), &fetched(1, 0, 9)).into_iter().map(|found| found.path).collect();
        let batches = "responses[id of orders].partitions[0].records";
        assert_eq!(paths, ["[7]", "[7#2]", "[9]", "[9#2]"].map(|key| format!("{batches}{key}")));
    }

    #[test]
    fn only_apis_that_both_list_are_compared() {
        let listed = |apis: &[(i16, i16)]| {
            let apis = apis.iter().map(|(key, max)| ApiVersion::default().with_api_key(*key).with_max_version(*max));
            Value::of(&ApiVersionsResponse::default().with_api_keys(apis.collect())).unwrap()
        };
        let (mut left, mut right) = (listed(&[(0, 13), (1, 18)]), listed(&[(1, 17), (2, 3)]));
        keep_common_apis(&mut left, &mut right);
        let paths: Vec<_> = compare(&left, &right).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["api_keys[Fetch].max_version"]);
    }
}
