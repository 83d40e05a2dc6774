//! AlterClientQuotas and DescribeClientQuotas over the wire (KIP-546).

use std::sync::atomic::Ordering;

use protocol::ErrorCode;
use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use crate::harness::{Peer, TestBroker, text};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Type and name of each part; no name is the default.
pub(crate) type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
/// Type, how it is matched, and the name of what is.
type Filter<'a> = &'a [(&'a str, i8, Option<&'a str>)];
/// Key and value; no value removes.
pub(crate) type Op<'a> = (&'a str, Option<f64>);

fn entry(entity: Entity<'_>, ops: &[Op<'_>]) -> EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text));
    let op =
        |(key, value): &Op<'_>| OpData::default().with_key(text(key)).with_value(value.unwrap_or_default()).with_remove(value.is_none());
    EntryData::default().with_entity(entity.iter().map(part).collect()).with_ops(ops.iter().map(op).collect())
}

async fn ask(peer: &mut Peer, entries: Vec<EntryData>, validate_only: bool) -> Vec<(i16, Option<String>)> {
    let request = AlterClientQuotasRequest::default().with_entries(entries.clone()).with_validate_only(validate_only);
    let answer = peer.ask(1, &request).await;
    assert_eq!(answer.entries.len(), entries.len());
    for (answered, asked) in answer.entries.iter().zip(&entries) {
        let answered: Vec<_> = answered.entity.iter().map(|part| (&part.entity_type, &part.entity_name)).collect();
        assert_eq!(answered, asked.entity.iter().map(|part| (&part.entity_type, &part.entity_name)).collect::<Vec<_>>());
    }
    answer.entries.into_iter().map(|entry| (entry.error_code, entry.error_message.map(|text| text.to_string()))).collect()
}

/// Alters one entity's quotas, which must be in order.
pub(crate) async fn alter(peer: &mut Peer, entity: Entity<'_>, ops: &[Op<'_>]) {
    assert_eq!(ask(peer, vec![entry(entity, ops)], false).await, [(0, None)]);
}

/// What a filter finds, an entity a line: `type=name …: key=value …`.
async fn describe(peer: &mut Peer, filter: Filter<'_>, strict: bool) -> Result<Vec<String>, (i16, String)> {
    let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| {
        ComponentData::default().with_entity_type(text(kind)).with_match_type(*match_type).with_match(name.map(text))
    };
    let request = DescribeClientQuotasRequest::default().with_components(filter.iter().map(component).collect()).with_strict(strict);
    let answer = peer.ask(1, &request).await;
    let Some(entries) = answer.entries else { return Err((answer.error_code, answer.error_message.unwrap().to_string())) };
    assert_eq!(answer.error_code, 0);
    let lines = entries.into_iter().map(|entry| {
        let entity =
            entry.entity.iter().map(|part| format!("{}={}", &*part.entity_type, part.entity_name.as_deref().unwrap_or("<default>")));
        let values = entry.values.iter().map(|value| format!("{}={}", &*value.key, value.value));
        format!("{}: {}", entity.collect::<Vec<_>>().join(" "), values.collect::<Vec<_>>().join(" "))
    });
    Ok(lines.collect())
}

#[tokio::test]
async fn what_is_set_is_found_by_filters_strict_or_not() {
    let broker = TestBroker::start().await;
    let peer = &mut broker.connect().await;
    let rate = |value: f64| vec![("producer_byte_rate", Some(value))];
    alter(peer, &[("client-id", Some("a"))], &rate(1.0)).await;
    alter(peer, &[("client-id", None)], &rate(2.0)).await;
    alter(peer, &[("user", Some("u"))], &rate(3.0)).await;
    alter(peer, &[("user", Some("u")), ("client-id", Some("a"))], &rate(4.0)).await;
    alter(peer, &[("client-id", Some("a")), ("user", None)], &rate(5.0)).await;
    alter(peer, &[("ip", Some("127.0.0.1"))], &[("connection_creation_rate", Some(6.0))]).await;
    let all = [
        "client-id=<default>: producer_byte_rate=2",
        "client-id=a: producer_byte_rate=1",
        "user=u: producer_byte_rate=3",
        "user=<default> client-id=a: producer_byte_rate=5",
        "user=u client-id=a: producer_byte_rate=4",
        "ip=127.0.0.1: connection_creation_rate=6",
    ];
    let cases: [(Filter<'_>, bool, &[usize]); 13] = [
        (&[], false, &[0, 1, 2, 3, 4, 5]),
        (&[], true, &[]),
        (&[("client-id", ANY, None)], false, &[0, 1, 3, 4]),
        (&[("client-id", ANY, None)], true, &[0, 1]),
        (&[("client-id", EXACT, Some("a"))], false, &[1, 3, 4]),
        (&[("client-id", EXACT, Some("a"))], true, &[1]),
        (&[("client-id", EXACT, Some("b"))], false, &[]),
        (&[("client-id", DEFAULT, None)], false, &[0]),
        (&[("user", DEFAULT, None)], false, &[3]),
        (&[("user", DEFAULT, None)], true, &[]),
        (&[("user", ANY, None), ("client-id", EXACT, Some("a"))], true, &[3, 4]),
        (&[("client-id", ANY, None), ("user", EXACT, Some("u"))], false, &[4]),
        (&[("ip", ANY, None)], true, &[5]),
    ];
    for (filter, strict, found) in cases {
        let expected: Vec<_> = found.iter().map(|index| all[*index].to_owned()).collect();
        assert_eq!(describe(peer, filter, strict).await, Ok(expected), "{filter:?} {strict}");
    }
}

#[tokio::test]
async fn keys_are_set_and_removed_one_by_one_and_only_validated_when_that_is_asked_for() {
    let broker = TestBroker::start().await;
    let peer = &mut broker.connect().await;
    let entity: Entity<'_> = &[("user", Some("ANONYMOUS"))];
    alter(peer, entity, &[("consumer_byte_rate", Some(1024.0)), ("request_percentage", Some(0.5))]).await;
    alter(peer, entity, &[("consumer_byte_rate", Some(2048.0)), ("controller_mutation_rate", Some(7.25)), ("request_percentage", None)])
        .await;
    let is = [String::from("user=ANONYMOUS: consumer_byte_rate=2048 controller_mutation_rate=7.25")];
    assert_eq!(describe(peer, &[], false).await.unwrap(), is);
    // A key that nobody knows can be removed all the same.
    assert_eq!(ask(peer, vec![entry(entity, &[("consumer_byte_rate", None), ("bytes", None)])], true).await, [(0, None)]);
    assert_eq!(describe(peer, &[], false).await.unwrap(), is);
    alter(peer, entity, &[("consumer_byte_rate", None), ("controller_mutation_rate", None), ("bytes", None)]).await;
    assert_eq!(describe(peer, &[], false).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_is_refused_is_said_in_kafkas_words_and_the_rest_of_the_request_is_done() {
    let broker = TestBroker::start().await;
    let peer = &mut broker.connect().await;
    let rate = ("producer_byte_rate", Some(1.0));
    let combined = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId";
    let cases: [(Entity<'_>, &[Op<'_>], &str); 11] = [
        (&[], &[rate], "Invalid empty client quota entity"),
        (&[("group", Some("g"))], &[rate], "Unhandled client quota entity type: group"),
        (&[("user", Some(""))], &[rate], "Empty user not supported"),
        (&[("user", None), ("user", Some("u"))], &[rate], "Invalid client quota entity, duplicate entity entry user"),
        (&[("ip", None), ("client-id", Some("a"))], &[rate], combined),
        (&[("ip", None), ("user", Some("a"))], &[rate], combined),
        (&[("ip", Some("no.such"))], &[rate], "no.such is not a valid IP; give the address, host names are not resolved."),
        (&[("ip", None)], &[rate], "Invalid configuration key producer_byte_rate"),
        (&[("user", None)], &[("producer_byte_rate", Some(0.0))], "Quota producer_byte_rate must be greater than 0"),
        (&[("user", None)], &[("consumer_byte_rate", Some(1.5))], "consumer_byte_rate cannot be a fractional value."),
        (
            &[("client-id", Some("c"))],
            &[rate, ("producer_byte_rate", None)],
            "Duplicate quota key producer_byte_rate not updating quota for this entity ClientQuotaEntity(entries={client-id=c})",
        ),
    ];
    for (entity, ops, words) in cases {
        let answers = ask(peer, vec![entry(entity, ops), entry(&[("client-id", Some("good"))], &[rate])], false).await;
        assert_eq!(answers, [(ErrorCode::InvalidRequest.code(), Some(words.to_owned())), (0, None)]);
        assert_eq!(describe(peer, &[], false).await.unwrap(), ["client-id=good: producer_byte_rate=1"], "{words}");
    }
    // One that is named twice is not altered at all.
    let twice = || entry(&[("user", Some("u"))], &[rate]);
    let ignored = "Ignoring duplicate entity ClientQuotaEntity(entries={user=u})".to_owned();
    let expected = (ErrorCode::InvalidRequest.code(), Some(ignored));
    assert_eq!(ask(peer, vec![twice(), twice()], false).await, [expected.clone(), expected]);
    assert_eq!(describe(peer, &[("user", ANY, None)], false).await.unwrap(), [""; 0]);
    broker.metadata.away.store(true, Ordering::Relaxed);
    let good = entry(&[("user", Some("u"))], &[rate]);
    let away = &ask(peer, vec![entry(&[], &[rate]), good.clone()], false).await;
    assert_eq!([away[0].0, away[1].0], [ErrorCode::InvalidRequest.code(), ErrorCode::NotController.code()]);
    assert_eq!(ask(peer, vec![good], true).await, [(0, None)], "metadata is not asked");
}

#[tokio::test]
async fn a_request_of_too_many_changes_is_refused_whole() {
    let broker = TestBroker::start().await;
    let peer = &mut broker.connect().await;
    let ids: Vec<_> = (0..5_001).map(|number| number.to_string()).collect();
    let entries = |count: usize| {
        let ops = [("producer_byte_rate", Some(1.0)), ("consumer_byte_rate", Some(1.0))];
        ids[..count].iter().map(|id| entry(&[("client-id", Some(id))], &ops)).collect::<Vec<_>>()
    };
    let words = "Unable to perform excessively large batch operation.".to_owned();
    let refused = ask(peer, entries(5_001), false).await;
    assert!(refused.iter().all(|answer| *answer == (ErrorCode::PolicyViolation.code(), Some(words.clone()))));
    assert_eq!(describe(peer, &[], false).await.unwrap().len(), 0);
    assert!(ask(peer, entries(5_000), false).await.iter().all(|answer| *answer == (0, None)));
    assert_eq!(describe(peer, &[], false).await.unwrap().len(), 5_000);
}

#[tokio::test]
async fn a_filter_that_cannot_be_is_refused_in_kafkas_words() {
    let broker = TestBroker::start().await;
    let peer = &mut broker.connect().await;
    let combined =
        "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.";
    let cases: [(Filter<'_>, &str); 7] = [
        (&[("", ANY, None)], "Invalid empty entity type."),
        (&[("user", ANY, None), ("user", DEFAULT, None)], "Entity type user cannot appear more than once in the filter."),
        (&[("user", EXACT, None)], "Request specified MATCH_TYPE_EXACT, but set match string to null."),
        (&[("user", DEFAULT, Some("u"))], "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."),
        (&[("user", ANY, Some("u"))], "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."),
        (&[("user", 3, None)], "Unknown match type 3"),
        (&[("ip", ANY, None), ("user", ANY, None)], combined),
    ];
    for (filter, words) in cases {
        assert_eq!(describe(peer, filter, false).await, Err((ErrorCode::InvalidRequest.code(), words.to_owned())));
    }
    let unsupported = Err((ErrorCode::UnsupportedVersion.code(), "Unsupported entity type group".to_owned()));
    assert_eq!(describe(peer, &[("group", ANY, None)], false).await, unsupported);
}
