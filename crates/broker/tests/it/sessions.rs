//! Incremental fetch sessions (KIP-227) over the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::fetch_request::ForgottenTopic;
use protocol::messages::{DeleteTopicsRequest, FetchRequest, FetchResponse, TopicName};
use tokio::time::Instant;
use types::TopicId;
use wal::MemoryOptions;

use crate::harness::{Peer, TestBroker, batch, fetch_request, produce_request, text, values};

/// Names topics; ids come with version 13.
const NAMES: i16 = 12;
const IDS: i16 = 13;

/// What a client keeps of its session.
struct Session {
    peer: Peer,
    id: i32,
    epoch: i32,
}

impl Session {
    /// Asks in full.
    async fn open(broker: &TestBroker, version: i16, request: FetchRequest) -> (Self, FetchResponse) {
        let mut peer = broker.connect().await;
        let answer = peer.ask(version, &request.with_session_id(0).with_session_epoch(0)).await;
        assert_eq!(answer.error_code, 0);
        (Self { peer, id: answer.session_id, epoch: 1 }, answer)
    }

    async fn send(&mut self, version: i16, request: FetchRequest) -> i32 {
        let correlation = self.peer.send(version, &request.with_session_id(self.id).with_session_epoch(self.epoch)).await;
        self.epoch += 1;
        correlation
    }

    async fn ask(&mut self, version: i16, request: FetchRequest) -> FetchResponse {
        let correlation = self.send(version, request).await;
        self.peer.receive::<FetchRequest>(version, correlation).await
    }
}

/// Names no partition, and waits for a byte as long as `max_wait_ms`.
fn incremental(max_wait_ms: i32) -> FetchRequest {
    fetch_request("", &[]).with_topics(Vec::new()).with_max_wait_ms(max_wait_ms)
}

fn by_id(request: FetchRequest, topic: TopicId) -> FetchRequest {
    let mut request = request;
    for named in &mut request.topics {
        (named.topic, named.topic_id) = (TopicName::default(), topic.0);
    }
    request
}

fn forget(partitions: &[i32]) -> Vec<ForgottenTopic> {
    vec![ForgottenTopic::default().with_topic(TopicName(text("t"))).with_partitions(partitions.to_vec())]
}

/// Partitions of an answer with their error codes and values.
fn told(answer: &FetchResponse) -> BTreeMap<i32, (i16, Vec<String>)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition_index, (partition.error_code, values(partition)))).collect()
}

fn value(partition: i32, value: &str) -> BTreeMap<i32, (i16, Vec<String>)> {
    BTreeMap::from([(partition, (0, vec![value.to_owned()]))])
}

/// The id that the service of these tests gives the next topic: its revisions are in the first eight bytes.
fn next_topic_id(last: TopicId) -> TopicId {
    let mut bytes = *last.as_bytes();
    let revision = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    bytes[..8].copy_from_slice(&(revision + 1).to_be_bytes());
    TopicId::from_bytes(bytes)
}

async fn delete_topic(broker: &TestBroker, name: &str) {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text(name))]).with_timeout_ms(10_000);
    assert_eq!(broker.connect().await.ask(5, &request).await.responses[0].error_code, 0);
}

#[tokio::test]
async fn of_a_hundred_partitions_only_the_one_with_news_is_answered() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 100, &[]).await;
    let all: Vec<_> = (0..100).map(|partition| (partition, 0)).collect();
    let (mut session, whole) = Session::open(&broker, NAMES, fetch_request("t", &all).with_max_wait_ms(0)).await;
    assert_eq!(told(&whole).len(), 100);
    assert!(0 < session.id);
    assert_eq!(broker.metric("siltstone_fetch_sessions"), 1.0);
    assert_eq!(broker.metric("siltstone_fetch_session_partitions"), 100.0);

    let began = Instant::now();
    let nothing = session.ask(NAMES, incremental(100)).await;
    assert!(Duration::from_millis(100) <= began.elapsed(), "what has no news waits for some");
    assert_eq!((nothing.error_code, nothing.session_id, nothing.responses.len()), (0, session.id, 0));

    let correlation = session.send(NAMES, incremental(i32::MAX)).await;
    broker.connect().await.produce("t", 42, batch(&["news"])).await;
    let news = session.peer.receive::<FetchRequest>(NAMES, correlation).await;
    assert_eq!((news.session_id, told(&news)), (session.id, value(42, "news")));
    // The offset goes on as the request says.
    let correlation = session.send(NAMES, fetch_request("t", &[(42, 1)]).with_max_wait_ms(i32::MAX)).await;
    broker.connect().await.produce("t", 42, batch(&["more"])).await;
    let news = session.peer.receive::<FetchRequest>(NAMES, correlation).await;
    assert_eq!(told(&news), value(42, "more"));
}

#[tokio::test]
async fn partitions_are_added_and_forgotten_and_the_last_one_ends_the_session() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 3, &[]).await;
    let (mut session, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0), (1, 0)]).with_max_wait_ms(0)).await;
    let added = session.ask(NAMES, fetch_request("t", &[(2, 0)]).with_max_wait_ms(0)).await;
    assert_eq!(told(&added).into_keys().collect::<Vec<_>>(), [2]);
    session.ask(NAMES, incremental(0).with_forgotten_topics_data(forget(&[0, 1]))).await;
    let batches = (0..3).map(|partition| (partition, batch(&["x"]))).collect();
    broker.connect().await.ask(9, &produce_request("t", -1, batches)).await;
    assert_eq!(told(&session.ask(NAMES, incremental(0)).await), value(2, "x"));
    // There is nothing to wait for.
    let ended = session.ask(NAMES, incremental(i32::MAX).with_forgotten_topics_data(forget(&[2]))).await;
    assert_eq!((ended.error_code, ended.session_id, ended.responses.len()), (0, 0, 0));
    assert_eq!(session.ask(NAMES, incremental(0)).await.error_code, ErrorCode::FetchSessionIdNotFound.code());
    assert_eq!(broker.metric("siltstone_fetch_sessions"), 0.0);
}

#[tokio::test]
async fn wrong_epochs_and_unknown_ids_are_errors_of_the_whole_answer_and_leave_the_session() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let (mut session, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0)]).with_max_wait_ms(0)).await;
    let (unknown, wrong_epoch) = (ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch);
    let id = session.id;
    for (id, epoch, code) in [(id, 2, wrong_epoch), (id, -7, wrong_epoch), (id ^ 1, 1, unknown), (0, 1, unknown), (-1, 1, unknown)] {
        let request = fetch_request("t", &[(0, 0)]).with_max_wait_ms(i32::MAX).with_session_id(id).with_session_epoch(epoch);
        let answer = broker.connect().await.ask(NAMES, &request).await;
        assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (code.code(), 0, 0), "{id} {epoch}");
    }
    let ids = by_id(fetch_request("t", &[(0, 0)]), topic).with_session_id(id).with_session_epoch(1);
    let mixed = session.peer.ask(IDS, &ids).await;
    assert_eq!((mixed.error_code, mixed.session_id), (ErrorCode::FetchSessionTopicIdError.code(), 0));
    assert_eq!(session.ask(NAMES, incremental(0)).await.session_id, id);
    assert_eq!(broker.metric("siltstone_request_errors_total{api=\"Fetch\",error=\"FETCH_SESSION_TOPIC_ID_ERROR\"}"), 1.0);
}

#[tokio::test]
async fn a_session_outlives_its_connection_and_ends_with_the_final_epoch() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let (mut session, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0)]).with_max_wait_ms(0)).await;
    session.peer = broker.connect().await;
    assert_eq!(session.ask(NAMES, incremental(0)).await.session_id, session.id);
    session.epoch = -1;
    // A consumer that closes asks so and waits for the answer.
    let last = session.ask(NAMES, incremental(i32::MAX)).await;
    assert_eq!((last.error_code, last.session_id, last.responses.len()), (0, 0, 0));
    assert_eq!(broker.metric("siltstone_fetch_sessions"), 0.0);
}

#[tokio::test]
async fn above_the_slots_there_is_no_session_and_the_answer_is_whole() {
    let broker = TestBroker::start_with(|options| options.fetch_session_slots = 1, MemoryOptions::default()).await;
    broker.create_topic("t", 3, &[]).await;
    let (mut first, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0)]).with_max_wait_ms(0)).await;
    let (second, whole) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0), (1, 0)]).with_max_wait_ms(0)).await;
    assert_eq!((second.id, told(&whole).len()), (0, 2));
    assert_eq!(broker.metric("siltstone_fetch_session_evictions_total"), 0.0);
    // Two minutes later the larger one is worth more.
    broker.clock.advance(Duration::from_secs(121));
    let (third, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0), (1, 0)]).with_max_wait_ms(0)).await;
    assert!(0 < third.id);
    assert_eq!(broker.metric("siltstone_fetch_session_evictions_total"), 1.0);
    assert_eq!(first.ask(NAMES, incremental(0)).await.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[tokio::test]
async fn a_topic_deleted_and_made_anew_under_a_session_of_names_is_read_on() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let (mut session, _) = Session::open(&broker, NAMES, fetch_request("t", &[(0, 0)]).with_max_wait_ms(0)).await;
    delete_topic(&broker, "t").await;
    for _ in 0..2 {
        let gone = told(&session.ask(NAMES, incremental(i32::MAX)).await);
        assert_eq!(gone[&0].0, ErrorCode::UnknownTopicOrPartition.code(), "an error is told as long as it lasts");
    }
    broker.create_topic("t", 1, &[]).await;
    let back = told(&session.ask(NAMES, incremental(0)).await);
    assert_eq!(back[&0], (0, vec![]), "and so is its end");
    broker.connect().await.produce("t", 0, batch(&["anew"])).await;
    assert_eq!(told(&session.ask(NAMES, incremental(0)).await), value(0, "anew"));
}

#[tokio::test]
async fn a_session_of_ids_follows_a_new_topic_when_its_client_replaces_the_id() {
    let broker = TestBroker::start().await;
    let old = broker.create_topic("t", 1, &[]).await;
    let (mut session, whole) = Session::open(&broker, IDS, by_id(fetch_request("t", &[(0, 0)]).with_max_wait_ms(0), old)).await;
    assert_eq!(whole.responses[0].topic_id, old.0);
    delete_topic(&broker, "t").await;
    let new = broker.create_topic("t", 1, &[]).await;
    broker.connect().await.produce("t", 0, batch(&["anew"])).await;
    let gone = session.ask(IDS, incremental(i32::MAX)).await;
    assert_eq!(told(&gone)[&0].0, ErrorCode::UnknownTopicId.code());
    let replace = by_id(fetch_request("t", &[(0, 0)]), new)
        .with_forgotten_topics_data(vec![ForgottenTopic::default().with_topic_id(old.0).with_partitions(vec![0])]);
    let news = session.ask(IDS, replace).await;
    assert_eq!((news.responses[0].topic_id, told(&news)), (new.0, value(0, "anew")));
    assert_eq!(session.ask(IDS, by_id(fetch_request("t", &[(0, 1)]).with_max_wait_ms(0), new)).await.responses.len(), 0);
}

#[tokio::test]
async fn a_topic_whose_id_is_not_known_yet_is_told_of_when_it_is() {
    let broker = TestBroker::start().await;
    let known = broker.create_topic("t", 1, &[]).await;
    let unknown = next_topic_id(known);
    let mut request = by_id(fetch_request("t", &[(0, 0)]).with_max_wait_ms(0), known);
    request.topics.extend(by_id(fetch_request("t", &[(0, 0)]), unknown).topics);
    let (mut session, whole) = Session::open(&broker, IDS, request).await;
    assert_eq!(whole.responses[1].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    let still = session.ask(IDS, incremental(i32::MAX)).await;
    assert_eq!((still.responses.len(), still.responses[0].topic_id), (1, unknown.0));
    assert_eq!(broker.create_topic("later", 1, &[]).await, unknown);
    let resolved = session.ask(IDS, incremental(0)).await;
    assert_eq!((resolved.responses[0].topic_id, told(&resolved)[&0].clone()), (unknown.0, (0, vec![])));
    assert_eq!(session.ask(IDS, incremental(0)).await.responses.len(), 0);
}

#[tokio::test]
async fn t21_partitions_of_a_session_take_turns_when_the_budget_does_not_reach_all() {
    const PARTITIONS: i32 = 5;
    let broker = TestBroker::start().await;
    broker.create_topic("t", PARTITIONS, &[]).await;
    let large = "x".repeat(10_000);
    let batches = (0..PARTITIONS).map(|partition| (partition, batch(&[&large]))).collect();
    broker.connect().await.ask(9, &produce_request("t", -1, batches)).await;
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let (mut session, first) = Session::open(&broker, NAMES, fetch_request("t", &all).with_max_bytes(5000)).await;
    let served = |answer: &FetchResponse| {
        let told = told(answer);
        let served: Vec<_> = told.iter().filter(|(_, (_, values))| !values.is_empty()).map(|(index, _)| *index).collect();
        assert_eq!(served.len(), 1, "at least one batch, and no second");
        served[0]
    };
    let mut turns = vec![served(&first)];
    for _ in 1..2 * PARTITIONS {
        turns.push(served(&session.ask(NAMES, incremental(0).with_max_bytes(5000)).await));
    }
    assert_eq!(turns, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}
