//! Peers that mean no good, or do not know what they say.

use std::time::Duration;

use bytes::Bytes;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, TopicName,
};
use protocol::{ErrorCode, client};
use runtime::Random;
use tokio::io::AsyncWriteExt;
use types::TopicPartition;
use wal::MemoryOptions;

use crate::harness::{Peer, SOON, TestBroker, batch, fetch_request, produce_request, text, values};

/// A frame of these bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

async fn still_serves(broker: &TestBroker) {
    let answer = broker.connect().await.ask(0, &ApiVersionsRequest::default()).await;
    assert_eq!(answer.error_code, 0);
}

#[tokio::test]
async fn an_api_versions_request_of_the_future_is_answered_in_version_0_and_the_connection_lives() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    peer.stream.write_all(&frame(b"\x00\x12\x00\x63\x00\x00\x00\x07whatever follows")).await.unwrap();
    let answer = client::decode_response::<ApiVersionsRequest>(0, peer.receive_frame().await).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    let own = answer.api_keys.iter().find(|key| key.api_key == 18).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 4));
    assert_eq!(peer.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    let unnamed = peer.ask(3, &ApiVersionsRequest::default().with_client_software_name(text("a b"))).await;
    assert_eq!(unnamed.error_code, ErrorCode::InvalidRequest.code());
}

#[tokio::test]
async fn what_is_not_a_served_request_closes_its_connection_and_no_other() {
    let broker = TestBroker::start().await;
    let metadata_header = b"\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff";
    let bodies: Vec<Vec<u8>> = vec![
        b"\x00\x00".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // An unknown API, an old version, a version of the future.
        b"\x03\xe7\x00\x00\x00\x00\x00\x01\xff\xff".to_vec(),
        b"\x00\x00\x00\x02\x00\x00\x00\x01\xff\xff".to_vec(),
        b"\x00\x03\x00\x63\x00\x00\x00\x01\xff\xff".to_vec(),
        // Two bodies of a few bytes that claim two thousand million topics.
        [&metadata_header[..], b"\x7f\xff\xff\xff\x00\x00\x00\x00"].concat(),
        [&metadata_header[..], b"\x03\x3c\x0c\x00\xb6"].concat(),
        // A client id that is longer than the frame.
        b"\x00\x03\x00\x00\x00\x00\x00\x01\x7f\xff".to_vec(),
    ];
    for body in bodies {
        let mut peer = broker.connect().await;
        peer.stream.write_all(&frame(&body)).await.unwrap();
        assert!(peer.is_closed().await, "{body:?}");
    }
    for prefix in [-1i32, 0, 1, i32::MIN, i32::MAX, 100 << 20 | 1] {
        let mut peer = broker.connect().await;
        peer.stream.write_all(&prefix.to_be_bytes()).await.unwrap();
        assert!(peer.is_closed().await, "{prefix}");
    }
    let mut raw = broker.connect().await;
    raw.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(raw.is_closed().await);
    still_serves(&broker).await;
}

#[tokio::test]
async fn only_produce_may_be_large_and_only_after_a_valid_request() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("max.message.bytes", "20000000")]).await;
    let large = produce_request("t", -1, vec![(0, batch(&[&"x".repeat(12_000_000)]))]);
    let mut first = broker.connect().await;
    let sent = client::encode_request(1, None, 9, &large).unwrap();
    let _ = first.stream.write_all(&sent).await;
    assert!(first.is_closed().await);
    let mut peer = broker.connect().await;
    peer.ask(0, &ApiVersionsRequest::default()).await;
    let answer = peer.ask(9, &large).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let mut other = broker.connect().await;
    other.ask(0, &ApiVersionsRequest::default()).await;
    other.stream.write_all(&(9i32 << 20).to_be_bytes()).await.unwrap();
    other.stream.write_all(b"\x00\x03\x00\x00").await.unwrap();
    assert!(other.is_closed().await);
}

#[tokio::test]
async fn twenty_connections_that_announce_90_mb_and_hold_it_back_leave_room_for_the_others() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut holding = Vec::new();
    for _ in 0..20 {
        let mut peer = broker.connect().await;
        peer.ask(0, &ApiVersionsRequest::default()).await;
        peer.stream.write_all(&90_000_000i32.to_be_bytes()).await.unwrap();
        peer.stream.write_all(b"\x00\x00\x00\x09\x00\x00\x00\x01\xff\xff").await.unwrap();
        holding.push(peer);
    }
    let mut honest = broker.connect().await;
    for _ in 0..50 {
        assert_eq!(honest.produce("t", 0, batch(&["still"])).await.error_code, 0);
    }
    assert!(broker.metric("siltstone_request_memory_bytes") < 4e6);
}

#[tokio::test]
async fn abandoned_long_polls_go_away_with_their_sockets() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut polls = Vec::new();
    for _ in 0..300 {
        let mut peer = broker.connect().await;
        peer.send(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(i32::MAX)).await;
        polls.push(peer);
    }
    assert_eq!(broker.metric("siltstone_connections"), 300.0 + f64::from(u8::from(broker.metric("siltstone_connections") > 300.0)));
    drop(polls);
    let gone = async {
        while broker.metric("siltstone_connections") != 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("closed soon");
}

/// Seven that ask for all of t-0 again and again, and read nothing.
async fn ask_and_do_not_read(broker: &TestBroker) -> Vec<Peer> {
    let mut request = fetch_request("t", &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut peers = Vec::new();
    for _ in 0..7 {
        let mut peer = broker.connect().await;
        for _ in 0..20 {
            peer.send(12, &request).await;
        }
        peers.push(peer);
    }
    peers
}

#[tokio::test]
async fn answers_that_are_not_read_are_bounded_in_memory() {
    let broker = TestBroker::start_with(|options| options.answer_memory_bytes = 8 << 20, MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    let mut producer = broker.connect().await;
    for _ in 0..40 {
        producer.produce("t", 0, batch(&[&"x".repeat(500_000)])).await;
    }
    let lazy = ask_and_do_not_read(&broker).await;
    while broker.metric("siltstone_answer_memory_bytes") < 7.0 * f64::from(1 << 20) {
        tokio::task::yield_now().await;
    }
    // Seven hold what they do not read; the eighth share is enough to go on with.
    assert!(broker.metric("siltstone_answer_memory_bytes") <= f64::from(8 << 20));
    assert_eq!(broker.connect().await.produce("t", 0, batch(&["still"])).await.error_code, 0);
    drop(lazy);
    let gone = async {
        while broker.metric("siltstone_answer_memory_bytes") != 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("given back");
}

/// Trap T23 where the answers of history are too many to be sent, and not its reads too many to be made.
#[tokio::test]
async fn t23_consumers_of_history_that_do_not_read_leave_room_for_those_at_the_tail() {
    let broker = TestBroker::start_with(|options| options.answer_memory_bytes = 8 << 20, MemoryOptions::default()).await;
    let id = broker.create_topic("t", 1, &[]).await;
    let mut producer = broker.connect().await;
    for _ in 0..20 {
        producer.produce("t", 0, batch(&[&"x".repeat(500_000)])).await;
    }
    broker.offload(TopicPartition::new(id, 0)).await;
    // A read finds out that the write-ahead log was trimmed.
    producer.fetch("t", 0, 0).await;
    let lazy = ask_and_do_not_read(&broker).await;
    // More are made than the kernel takes from the broker, and then none.
    let half = f64::from(4 << 20);
    while broker.metric("siltstone_answer_memory_bytes") < half - f64::from(1 << 20) {
        tokio::task::yield_now().await;
    }
    for n in 20..30 {
        producer.produce("t", 0, batch(&["new"])).await;
        let at_tail = tokio::time::timeout(SOON, producer.fetch("t", 0, n)).await.expect("answered soon");
        assert_eq!(values(&at_tail), ["new"]);
    }
    assert!(broker.metric("siltstone_answer_memory_bytes") <= half);
    drop(lazy);
}

#[tokio::test]
async fn connections_above_the_limits_are_closed_and_places_come_back() {
    let broker = TestBroker::start_with(|options| options.max_connections_per_ip = 2, MemoryOptions::default()).await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    first.ask(0, &ApiVersionsRequest::default()).await;
    second.ask(0, &ApiVersionsRequest::default()).await;
    assert!(broker.connect().await.is_closed().await);
    assert_eq!(broker.metric("siltstone_connections_refused_total{reason=\"max_connections_per_ip\"}"), 1.0);
    assert_eq!(broker.metric("siltstone_connections_refused_total{reason=\"max_connections\"}"), 0.0);
    assert_eq!(broker.metric("siltstone_connections_accepted_total"), 2.0);
    drop(first);
    while broker.metric("siltstone_connections") != 1.0 {
        tokio::task::yield_now().await;
    }
    still_serves(&broker).await;
}

#[tokio::test]
async fn a_connection_above_the_total_is_refused_for_that() {
    let broker = TestBroker::start_with(|options| options.max_connections = 1, MemoryOptions::default()).await;
    let mut only = broker.connect().await;
    only.ask(0, &ApiVersionsRequest::default()).await;
    assert!(broker.connect().await.is_closed().await);
    assert_eq!(broker.metric("siltstone_connections_refused_total{reason=\"max_connections\"}"), 1.0);
}

/// Waits until one connection was closed for `reason`.
async fn closed(broker: &TestBroker, reason: &str) {
    let line = format!("siltstone_connections_closed_total{{reason=\"{reason}\"}} 1");
    let counted = async {
        while !broker.metrics_text().contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, counted).await.unwrap_or_else(|_| panic!("no {line}"));
}

#[tokio::test]
async fn connections_are_counted_by_what_ended_them() {
    let impatient = TestBroker::start_with(|options| options.max_idle = Duration::from_millis(20), MemoryOptions::default()).await;
    assert!(impatient.connect().await.is_closed().await);
    closed(&impatient, "idle").await;
    let broker = TestBroker::start().await;
    let mut wrong = broker.connect().await;
    wrong.stream.write_all(&frame(b"\x03\xe7\x00\x00\x00\x00\x00\x01\xff\xff")).await.unwrap();
    assert!(wrong.is_closed().await);
    closed(&broker, "refused").await;
    drop(broker.connect().await);
    closed(&broker, "peer").await;
}

/// Valid frames of many kinds, without their lengths.
fn valid_frames() -> Vec<Bytes> {
    let topics = vec![MetadataRequestTopic::default().with_name(Some(TopicName(text("t"))))];
    let wanted = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![FetchPartition::default(); 3]);
    let fetch = FetchRequest::default().with_topics(vec![wanted]).with_max_bytes(1000);
    let encoded = [
        client::encode_request(1, None, 9, &produce_request("t", -1, vec![(0, batch(&["a", "b"])), (1, batch(&["c"]))])),
        client::encode_request(1, None, 3, &produce_request("t", 1, vec![(0, batch(&["a"]))])),
        client::encode_request(1, Some(text("me")), 12, &fetch),
        client::encode_request(1, None, 4, &fetch),
        client::encode_request(1, None, 0, &MetadataRequest::default().with_topics(Some(topics.clone()))),
        client::encode_request(1, None, 12, &MetadataRequest::default().with_topics(Some(topics))),
        client::encode_request(1, None, 7, &CreateTopicsRequest::default().with_validate_only(true)),
        client::encode_request(1, None, 6, &ListOffsetsRequest::default()),
        client::encode_request(1, None, 3, &ApiVersionsRequest::default().with_client_software_name(text("x"))),
    ];
    encoded.into_iter().map(|frame| frame.unwrap().slice(4..)).collect()
}

#[tokio::test]
async fn mutated_requests_are_answered_or_close_their_connection_and_nothing_else() {
    const SEED: u64 = 20_261_124;
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let random = Random::seeded(SEED);
    let frames = valid_frames();
    for round in 0..3000 {
        let mut bytes = frames[random.below(frames.len() as u64) as usize].to_vec();
        for _ in 0..=random.below(4) {
            let position = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[position] = random.u64() as u8,
                1 => bytes[position] ^= 1 << random.below(8),
                2 if 12 < position => bytes.truncate(position),
                _ => bytes.insert(position, random.u64() as u8),
            }
        }
        let mut peer = broker.connect().await;
        peer.stream.write_all(&frame(&bytes)).await.unwrap();
        // A mutated fetch may wait for long and acks=0 has no answer: the end of the stream is an end for everybody.
        peer.stream.shutdown().await.unwrap();
        let mut answered = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut peer.stream, &mut answered);
        let ended = tokio::time::timeout(SOON, reading).await;
        assert!(ended.is_ok(), "seed {SEED}, round {round}: neither answered nor closed: {bytes:?}");
    }
    assert!(broker.metric("siltstone_request_memory_bytes") <= 1e6);
    still_serves(&broker).await;
}

#[tokio::test]
async fn a_peer_that_is_slow_by_the_byte_is_served_like_any_other() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let request = client::encode_request(1, None, 9, &produce_request("t", -1, vec![(0, batch(&["slow"]))])).unwrap();
    for byte in request.iter() {
        peer.stream.write_all(&[*byte]).await.unwrap();
    }
    let answer = peer.receive::<ProduceRequest>(9, 1).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    assert!(Duration::ZERO < SOON);
}
