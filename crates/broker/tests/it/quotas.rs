//! Byte rates by user and client id (KIP-13, KIP-219) over the wire. The broker's clock stands still, so what is owed does not get less by itself.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ProduceRequest, TopicName,
};
use tokio::time::Instant;
use wal::MemoryOptions;

use crate::client_quotas::{Entity, Op, alter};
use crate::harness::{TestBroker, batch, fetch_request, produce_request, text, values};

/// A client may take ten seconds of its rate at once.
const BURST_SECONDS: usize = 10;

async fn start(producer: usize, consumer: usize) -> TestBroker {
    let rates = |options: &mut broker::BrokerOptions| {
        options.producer_bytes_per_second = producer as u64;
        options.consumer_bytes_per_second = consumer as u64;
    };
    let broker = TestBroker::start_with(rates, MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    broker
}

fn produce(acks: i16, bytes: usize) -> ProduceRequest {
    produce_request("t", acks, vec![(0, batch(&[&"x".repeat(bytes)]))])
}

#[tokio::test]
async fn without_quotas_nobody_is_throttled() {
    let broker = start(0, 0).await;
    let mut peer = broker.connect().await;
    for _ in 0..3 {
        assert_eq!(peer.ask(9, &produce(-1, 1_000_000)).await.throttle_time_ms, 0);
    }
    assert_eq!(peer.ask(12, &fetch_request("t", &[(0, 0)])).await.throttle_time_ms, 0);
    assert_eq!(broker.metric("siltstone_throttled_seconds_total{api=\"Produce\"}"), 0.0);
}

#[tokio::test]
async fn a_producer_above_its_rate_is_answered_at_once_with_a_pause_and_others_are_not() {
    const RATE: usize = 1000;
    let broker = start(RATE, 0).await;
    let answer = broker.connect().await.ask(9, &produce(-1, BURST_SECONDS * RATE + 2000)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "the batch is appended all the same");
    assert!((2000..2500).contains(&answer.throttle_time_ms), "{}", answer.throttle_time_ms);
    let counted = broker.metric("siltstone_throttled_seconds_total{api=\"Produce\"}");
    assert_eq!((counted * 1000.0).round() as i32, answer.throttle_time_ms);
    // The quota is the client id's, whichever connection it comes by.
    assert!(answer.throttle_time_ms < broker.connect().await.ask(9, &produce(-1, 1)).await.throttle_time_ms);
    let mut other = broker.connect().await;
    other.client_id = "other";
    assert_eq!(other.ask(9, &produce(-1, 1)).await.throttle_time_ms, 0);
    broker.clock.advance(Duration::from_secs(5));
    assert_eq!(broker.connect().await.ask(9, &produce(-1, 1)).await.throttle_time_ms, 0);
}

#[tokio::test]
async fn the_connection_of_a_throttled_producer_is_not_read_until_its_pause_is_over() {
    // A pause of a tenth of a second, and a little for what a request has besides its records.
    const RATE: usize = 100_000;
    for acks in [-1, 0] {
        let broker = start(RATE, 0).await;
        let mut peer = broker.connect().await;
        peer.ask(0, &ApiVersionsRequest::default()).await;
        let began = Instant::now();
        let correlation = peer.send(9, &produce(acks, BURST_SECONDS * RATE + RATE / 10)).await;
        if acks != 0 {
            let answer = peer.receive::<ProduceRequest>(9, correlation).await;
            assert!((100..200).contains(&answer.throttle_time_ms), "{}", answer.throttle_time_ms);
        } else {
            // Nothing tells the producer, so the pause begins when its request is counted.
            while broker.metric("siltstone_throttled_seconds_total{api=\"Produce\"}") == 0.0 {
                tokio::task::yield_now().await;
            }
        }
        peer.ask(0, &ApiVersionsRequest::default()).await;
        assert!(Duration::from_millis(100) <= began.elapsed(), "acks {acks}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_consumer_above_its_rate_is_answered_without_data_and_reads_on_after_its_pause() {
    const RATE: usize = 1000;
    let broker = start(0, RATE).await;
    let mut producer = broker.connect().await;
    for _ in 0..3 {
        producer.ask(9, &produce(-1, 8 * RATE)).await;
    }
    let ask = async |session: (i32, i32), offset: i64| {
        let request = fetch_request("t", &[(0, offset)]).with_session_id(session.0).with_session_epoch(session.1);
        // By another connection each time: a pause is not what this test waits for.
        broker.connect().await.ask(12, &request.with_max_wait_ms(i32::MAX)).await
    };
    let first = ask((0, 0), 0).await;
    let session = first.session_id;
    // No answer holds more than the burst, so the second batch is not in the first answer.
    assert_eq!((values(&first.responses[0].partitions[0]).len(), first.throttle_time_ms), (1, 0));
    let second = ask((session, 1), 1).await;
    assert_eq!((values(&second.responses[0].partitions[0]).len(), second.throttle_time_ms), (1, 0));
    // 16 seconds of its rate are gone, 10 are free.
    let throttled = ask((session, 2), 2).await;
    assert_eq!((throttled.error_code, throttled.session_id, throttled.responses.len()), (0, session, 0));
    assert!((6000..7000).contains(&throttled.throttle_time_ms), "{}", throttled.throttle_time_ms);
    let fetched = broker.metric("siltstone_topic_records_out_total{topic=\"t\"}");
    assert_eq!(fetched, 2.0, "what is not answered is not counted");
    broker.clock.advance(Duration::from_secs(7));
    let third = ask((session, 3), 2).await;
    assert_eq!((third.session_id, values(&third.responses[0].partitions[0]).len(), third.throttle_time_ms), (session, 1, 0));
    assert!(6.0 < broker.metric("siltstone_throttled_seconds_total{api=\"Fetch\"}"));
}

#[tokio::test]
async fn a_throttled_whole_fetch_gets_no_session_and_old_versions_are_throttled_too() {
    const RATE: usize = 100;
    let broker = start(0, RATE).await;
    broker.connect().await.ask(9, &produce(-1, 20 * RATE)).await;
    for version in [4, 6, 12] {
        let request = fetch_request("t", &[(0, 0)]).with_session_epoch(0);
        // Larger than all it may take, and still answered: a consumer must get past it.
        if version == 4 {
            let whole = broker.connect().await.ask(version, &request).await;
            assert_eq!(values(&whole.responses[0].partitions[0]).len(), 1);
        }
        let throttled = broker.connect().await.ask::<FetchRequest>(version, &request).await;
        assert!((10_000..=12_000).contains(&throttled.throttle_time_ms), "{}", throttled.throttle_time_ms);
        assert_eq!((throttled.session_id, throttled.responses.len()), (0, 0));
    }
}

/// The pause after a Produce of `bytes` by this client id, on a connection of its own.
async fn pause_after(broker: &TestBroker, client_id: &'static str, bytes: usize) -> i32 {
    let mut peer = broker.connect().await;
    peer.client_id = client_id;
    peer.ask(9, &produce(-1, bytes)).await.throttle_time_ms
}

#[tokio::test]
async fn what_is_set_while_the_broker_runs_counts_at_once_and_before_the_static_rate() {
    const RATE: usize = 1000;
    let broker = start(RATE, 0).await;
    let peer = &mut broker.connect().await;
    assert_eq!(pause_after(&broker, "a", BURST_SECONDS * RATE + 2000).await / 1000, 2);
    // Ten times the rate: what is owed is a tenth in time.
    let entity: Entity<'_> = &[("client-id", Some("a"))];
    alter(peer, entity, &[("producer_byte_rate", Some(10.0 * RATE as f64))]).await;
    assert_eq!(pause_after(&broker, "a", 1).await, 0);
    assert_eq!(pause_after(&broker, "b", BURST_SECONDS * RATE + 2000).await / 1000, 2, "others have the static rate");
    // A tenth of the first: what is owed takes longer than any pause.
    alter(peer, entity, &[("producer_byte_rate", Some(RATE as f64 / 10.0))]).await;
    assert_eq!(pause_after(&broker, "a", 1).await, 20_000);
    alter(peer, entity, &[("producer_byte_rate", None)]).await;
    assert_eq!(pause_after(&broker, "a", 1).await, 0, "what took longer than the longest pause was forgiven");
}

#[tokio::test]
async fn a_default_is_each_ones_own_and_a_users_quota_is_for_all_its_client_ids() {
    const RATE: usize = 1000;
    const MUCH: usize = BURST_SECONDS * RATE + 2000;
    let rate: Op<'_> = ("producer_byte_rate", Some(RATE as f64));
    for (entity, shared) in [
        (&[("client-id", None)][..], false),
        (&[("user", Some("ANONYMOUS"))], true),
        (&[("user", None)], true),
        (&[("user", None), ("client-id", None)], false),
        (&[("user", Some("ANONYMOUS")), ("client-id", None)], false),
    ] {
        let broker = start(0, 0).await;
        alter(&mut broker.connect().await, entity, &[rate]).await;
        assert_eq!(pause_after(&broker, "a", MUCH).await / 1000, 2, "{entity:?}");
        assert_eq!(0 < pause_after(&broker, "b", 1).await, shared, "{entity:?}");
    }
    // Nobody is called so.
    let broker = start(0, 0).await;
    alter(&mut broker.connect().await, &[("user", Some("User:ANONYMOUS"))], &[rate]).await;
    assert_eq!(pause_after(&broker, "a", MUCH).await, 0);
}

#[tokio::test]
async fn a_consumers_rate_that_is_set_while_the_broker_runs_throttles_it() {
    const RATE: usize = 1000;
    let broker = start(0, 0).await;
    broker.connect().await.ask(9, &produce(-1, 30 * RATE)).await;
    let peer = &mut broker.connect().await;
    let fetch = async || broker.connect().await.ask(12, &fetch_request("t", &[(0, 0)])).await;
    assert_eq!(fetch().await.throttle_time_ms, 0);
    alter(peer, &[("client-id", Some("test"))], &[("consumer_byte_rate", Some(RATE as f64)), ("producer_byte_rate", Some(1e9))]).await;
    assert_eq!(fetch().await.throttle_time_ms, 0, "what was fetched before was not counted");
    let throttled = fetch().await;
    assert_eq!(throttled.throttle_time_ms / 1000, 20);
    assert!(throttled.responses.is_empty());
    alter(peer, &[("client-id", Some("test"))], &[("consumer_byte_rate", None)]).await;
    assert_eq!(values(&fetch().await.responses[0].partitions[0]).len(), 1);
}

#[tokio::test]
async fn an_address_that_connects_more_often_than_it_may_is_refused_and_what_is_open_stays() {
    let broker = start(0, 0).await;
    let mut open = broker.connect().await;
    alter(&mut open, &[("ip", Some("127.0.0.1"))], &[("connection_creation_rate", Some(1.0))]).await;
    // What ten seconds allow, and one that is paid for afterwards.
    for _ in 0..=BURST_SECONDS {
        broker.connect().await.ask(0, &ApiVersionsRequest::default()).await;
    }
    assert!(broker.connect().await.is_closed().await);
    assert_eq!(broker.metric("siltstone_connections_refused_total{reason=\"connection_creation_rate\"}"), 1.0);
    open.ask(0, &ApiVersionsRequest::default()).await;
    broker.clock.advance(Duration::from_secs(1));
    broker.connect().await.ask(0, &ApiVersionsRequest::default()).await;
    assert!(broker.connect().await.is_closed().await);
    alter(&mut open, &[("ip", Some("127.0.0.1"))], &[("connection_creation_rate", None)]).await;
    broker.connect().await.ask(0, &ApiVersionsRequest::default()).await;
}

fn creation(name: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic::default().with_name(TopicName(text(name))).with_num_partitions(partitions).with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

/// A broker whose client "test" has created as many partitions at its rate of 1 a second as no pause follows, and 2 more.
async fn with_an_exceeded_mutation_rate() -> TestBroker {
    let broker = start(0, 0).await;
    alter(&mut broker.connect().await, &[("client-id", Some("test"))], &[("controller_mutation_rate", Some(1.0))]).await;
    let created = broker.connect().await.ask(7, &creation("many", BURST_SECONDS as i32 + 2)).await;
    assert_eq!((created.topics[0].error_code, created.throttle_time_ms), (0, 2000), "what begins within the rate is done");
    broker
}

#[tokio::test]
async fn changes_of_topics_above_their_rate_are_refused_until_what_was_changed_is_paid_for() {
    let broker = with_an_exceeded_mutation_rate().await;
    let exceeded = ErrorCode::ThrottlingQuotaExceeded.code();
    // By connections of their own: a pause is not what this test waits for.
    let create = async || broker.connect().await.ask(7, &creation("more", 1)).await;
    let grow = async || {
        let topic = CreatePartitionsTopic::default().with_name(TopicName(text("t"))).with_count(3).with_assignments(None);
        broker.connect().await.ask(3, &CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)).await
    };
    let delete = async || {
        let topic = DeleteTopicState::default().with_name(Some(TopicName(text("t"))));
        broker.connect().await.ask(6, &DeleteTopicsRequest::default().with_topics(vec![topic])).await
    };
    let refused = create().await;
    let words = Some(text("The throttling quota has been exceeded."));
    assert_eq!((refused.topics[0].error_code, &refused.topics[0].error_message, refused.throttle_time_ms), (exceeded, &words, 2000));
    let refused = grow().await;
    assert_eq!((refused.results[0].error_code, refused.throttle_time_ms), (exceeded, 2000));
    let refused = delete().await;
    assert_eq!((refused.responses[0].error_code, refused.throttle_time_ms), (exceeded, 2000));
    let mut other = broker.connect().await;
    other.client_id = "other";
    assert_eq!(other.ask(7, &creation("other", 1)).await.topics[0].error_code, 0);

    broker.clock.advance(Duration::from_secs(2));
    let validated = broker.connect().await.ask(7, &creation("more", 100).with_validate_only(true)).await;
    assert_eq!((validated.topics[0].error_code, validated.throttle_time_ms), (0, 0), "what is only validated costs nothing");
    let created = create().await;
    assert_eq!((created.topics[0].error_code, created.throttle_time_ms), (0, 1000));
    broker.clock.advance(Duration::from_secs(1));
    let grown = grow().await;
    assert_eq!((grown.results[0].error_code, grown.throttle_time_ms), (0, 2000), "two partitions are new");
    broker.clock.advance(Duration::from_secs(2));
    let deleted = delete().await;
    assert_eq!((deleted.responses[0].error_code, deleted.throttle_time_ms), (0, 3000), "three partitions are gone");
}

#[tokio::test]
async fn clients_that_do_not_know_of_a_mutation_rate_pause_and_get_what_they_ask_for() {
    let broker = with_an_exceeded_mutation_rate().await;
    let created = broker.connect().await.ask(5, &creation("more", 1)).await;
    assert_eq!((created.topics[0].error_code, created.throttle_time_ms), (0, 3000));
    assert!(3.0 <= broker.metric("siltstone_throttled_seconds_total{api=\"CreateTopics\"}"));
}
