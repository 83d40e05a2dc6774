//! Clients of Kafka's first years over the wire: they never ask for ApiVersions, write message sets and are given message sets.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol_3_9::messages::create_topics_request::CreatableTopic;
use kafka_protocol_3_9::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol_3_9::messages::fetch_response::PartitionData;
use kafka_protocol_3_9::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol_3_9::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol_3_9::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
};
use kafka_protocol_3_9::protocol::StrBytes;
use partition::{Acks, AppendRequest, Origin};
use protocol::{ApiKey, ErrorCode};
use records::{BatchBuilder, BatchHeader, Codec, UpConversionLimits, decode_records, up_convert};
use tokio::time::Instant;
use types::{Timestamp, TopicPartition};

use crate::harness::{NOW, Peer, TestBroker, batch, build, produce_request, values};

/// Key and value of what `records::tests::golden` holds.
type Pair = (Option<Bytes>, Option<Bytes>);

/// The set that a client of `format` ("v0", "v1") made, as captured for the tests of `records`.
fn golden(client: &str, format: &str, codec: &str) -> Bytes {
    let path = format!("{}/../records/tests/golden/{client}-{format}-{codec}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn golden_pairs() -> Vec<Pair> {
    pairs_of_set(&golden("kafka-python-2.0.2", "v1", "none"))
}

fn pairs_of_set(set: &Bytes) -> Vec<Pair> {
    pairs_of_batch(&up_convert(set, &UpConversionLimits { max_decompressed_bytes: 1 << 20 }).unwrap())
}

fn pairs_of_batch(batch: &Bytes) -> Vec<Pair> {
    decode_records(batch, 1 << 20).unwrap().into_iter().map(|record| (record.key, record.value)).collect()
}

/// Offset, magic and attributes of the outer messages of a set, which must be whole.
fn outer_messages(set: &Bytes) -> Vec<(i64, u8, u8)> {
    let (mut rest, mut found) = (&set[..], Vec::new());
    while !rest.is_empty() {
        let size = i32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
        found.push((i64::from_be_bytes(rest[..8].try_into().unwrap()), rest[16], rest[17]));
        rest = &rest[12 + size..];
    }
    found
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn old_produce(topic: &str, acks: i16, sets: Vec<(i32, Bytes)>) -> ProduceRequest {
    let partitions = sets.into_iter().map(|(index, set)| PartitionProduceData::default().with_index(index).with_records(Some(set)));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(partitions.collect());
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// Waits up to half a second for one byte.
fn old_fetch(version: i16, topic: &str, partitions: &[(i32, i64)], partition_max_bytes: i32) -> FetchRequest {
    let partitions = partitions.iter().map(|(index, offset)| {
        FetchPartition::default().with_partition(*index).with_fetch_offset(*offset).with_partition_max_bytes(partition_max_bytes)
    });
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(partitions.collect());
    let request = FetchRequest::default().with_replica_id(BrokerId(-1)).with_max_wait_ms(500).with_min_bytes(1).with_topics(vec![topic]);
    if version < 3 { request } else { request.with_max_bytes(50 << 20) }
}

/// What one partition gives from `offset` on.
async fn fetch(peer: &mut Peer, version: i16, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let answer = peer.ask_old(version, &old_fetch(version, topic, &[(partition, offset)], 1 << 20)).await;
    answer.responses[0].partitions[0].clone()
}

fn set_of(data: &PartitionData) -> Bytes {
    assert_eq!(data.error_code, 0);
    data.records.clone().unwrap()
}

/// Appends markers of transactions, which no client may write.
fn append_markers(broker: &TestBroker, partition: TopicPartition, count: usize) {
    let partition = broker.partitions.get(partition).unwrap();
    for _ in 0..count {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 0, -1).transactional().control();
        builder.push(Timestamp(NOW), Some(b"\0\0\0\x01"), Some(b"\0\0\0\0\0\0"), &[]);
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).unwrap();
        let request = AppendRequest { batch, header, acks: Acks::Leader, origin: Origin::Coordinator, now: Timestamp(NOW) };
        drop(partition.append(request).unwrap());
    }
}

#[tokio::test]
async fn what_clients_of_any_age_write_is_read_by_clients_of_any_age() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 36, &[]).await;
    let mut peer = broker.connect().await;
    let mut partition = 0;
    for (client, format, versions) in [
        ("kafka-python-2.0.2", "v0", 0..=1),
        ("kafka-python-2.0.2", "v1", 2..=2),
        ("kafka-clients-0.9.0.1", "v0", 1..=1),
        ("kafka-clients-0.10.2.2", "v1", 2..=2),
        ("sarama-1.22.1", "v1", 2..=2),
    ] {
        for (codec, version) in ["none", "gzip", "snappy", "lz4"].into_iter().flat_map(|codec| versions.clone().map(move |v| (codec, v))) {
            let context = format!("{client} {format} {codec}, Produce {version}");
            let answer = peer.ask_old(version, &old_produce("t", -1, vec![(partition, golden(client, format, codec))])).await;
            let produced = &answer.responses[0].partition_responses[0];
            assert_eq!((produced.error_code, produced.base_offset, produced.log_append_time_ms), (0, 0, -1), "{context}");
            for version in 0..=3 {
                let data = fetch(&mut peer, version, "t", partition, 0).await;
                let set = set_of(&data);
                assert_eq!((data.high_watermark, pairs_of_set(&set)), (5, golden_pairs()), "{context}, Fetch {version}");
                let magic = u8::from(2 <= version);
                assert!(outer_messages(&set).iter().all(|message| message.1 == magic), "{context}, Fetch {version}");
                assert_eq!(outer_messages(&set).last().unwrap().0, 4, "{context}, Fetch {version}");
            }
            let data = peer.fetch("t", partition, 0).await;
            assert_eq!(pairs_of_batch(&data.records.unwrap()), golden_pairs(), "{context}, Fetch 12");
            partition += 1;
        }
    }
}

#[tokio::test]
async fn what_new_producers_write_is_read_by_old_consumers() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 5, &[]).await;
    let mut peer = broker.connect().await;
    for (partition, codec) in (0..).zip(Codec::ALL) {
        for values in [["a", "b"], ["c", "d"]] {
            assert_eq!(peer.produce("t", partition, build(BatchBuilder::new(codec), &values)).await.error_code, 0);
        }
        for version in 0..=3 {
            // From within the first batch on: what lies below is not wanted.
            let set = set_of(&fetch(&mut peer, version, "t", partition, 1).await);
            let values: Vec<_> = pairs_of_set(&set).into_iter().map(|(_, value)| value.unwrap()).collect();
            assert_eq!(values, ["b", "c", "d"], "{codec:?}, Fetch {version}");
            let offsets: Vec<_> = outer_messages(&set).iter().map(|message| message.0).collect();
            let expected: &[i64] = if matches!(codec, Codec::None | Codec::Zstd) { &[1, 2, 3] } else { &[1, 3] };
            assert_eq!(offsets, expected, "{codec:?}, Fetch {version}");
        }
    }
    assert_eq!(broker.metric("siltstone_topic_records_out_total{topic=\"t\"}"), 5.0 * 4.0 * 3.0);
    assert_eq!(broker.metric("siltstone_answer_memory_bytes"), 0.0);
}

#[tokio::test]
async fn a_corrupt_set_is_told_and_its_neighbours_succeed() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 7, &[]).await;
    let good = golden("kafka-python-2.0.2", "v1", "gzip");
    let mut flipped = BytesMut::from(&good[..]);
    flipped[20] ^= 1;
    let sets = vec![
        (0, good.clone()),
        (1, flipped.freeze()),
        (2, good.slice(..good.len() - 1)),
        (3, Bytes::new()),
        (4, good.clone()),
        (5, batch(&["ahead of its version"])),
        (9, good.clone()),
    ];
    let mut peer = broker.connect().await;
    let answer = peer.ask_old(2, &old_produce("t", -1, sets)).await;
    let codes: Vec<_> = answer.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::CorruptMessage,
        ErrorCode::CorruptMessage,
        ErrorCode::InvalidRecord,
        ErrorCode::None,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
    ];
    assert_eq!(codes, expected.map(ErrorCode::code));
    assert_eq!(pairs_of_set(&set_of(&fetch(&mut peer, 2, "t", 4, 0).await)), golden_pairs());
    assert_eq!(values(&peer.fetch("t", 5, 0).await), ["ahead of its version"]);
    // From version 3 on only a batch will do.
    let answer = peer.ask(3, &produce_request("t", -1, vec![(0, good)])).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::InvalidRecord.code());
}

#[tokio::test]
async fn a_set_above_the_limit_of_its_topic_is_refused_before_and_after_it_is_converted() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("max.message.bytes", "200")]).await;
    let mut peer = broker.connect().await;
    let one = golden("kafka-python-2.0.2", "v1", "none");
    let many = one.repeat(4);
    assert!(200 < one.len() && one.len() < 1000 && 1000 < many.len());
    for set in [one, many.into()] {
        let answer = peer.ask_old(2, &old_produce("t", -1, vec![(0, set)])).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::MessageTooLarge.code());
    }
    // 34 bytes of an empty message become 7 of a record.
    let empty = message(1, 0, b"");
    let answer = peer.ask_old(2, &old_produce("t", -1, vec![(0, empty.repeat(18).into())])).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// A message with a null key.
fn message(magic: u8, attributes: u8, value: &[u8]) -> Vec<u8> {
    let mut content = vec![magic, attributes];
    if magic == 1 {
        content.extend_from_slice(&NOW.to_be_bytes());
    }
    content.extend_from_slice(&(-1i32).to_be_bytes());
    content.extend_from_slice(&(value.len() as i32).to_be_bytes());
    content.extend_from_slice(value);
    let mut crc = !0u32;
    for byte in &content {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    [&[0; 8][..], &(content.len() as i32 + 4).to_be_bytes(), &(!crc).to_be_bytes(), &content].concat()
}

/// Most memory that this process ever had, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_in_bounded_memory() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    // A member of gzip that opens to 4 MiB, 250 times: 1 GB in all.
    let mut zeros = BatchBuilder::new(Codec::Gzip);
    zeros.push(Timestamp(NOW), None, Some(&vec![0; 4 << 20]), &[]);
    let bomb = message(1, 1, &zeros.build()[records::HEADER_BYTES..].repeat(250));
    assert!(bomb.len() < 2 << 20);
    let before = peak_memory();
    let answer = broker.connect().await.ask_old(2, &old_produce("t", -1, vec![(0, bomb.into())])).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::MessageTooLarge.code());
    // Two buffers of up to 128 MiB while the larger takes over; other tests run beside this one.
    assert!(peak_memory() - before < 400 << 20, "{before} {}", peak_memory());
}

#[tokio::test]
async fn acks_mean_what_they_mean_in_newer_versions() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let set = golden("kafka-python-2.0.2", "v0", "none");
    for version in 0..=2 {
        let mut peer = broker.connect().await;
        peer.send_old(version, &old_produce("t", 0, vec![(0, set.clone())])).await;
        for (acks, nth) in [(1, 1), (-1, 2)] {
            let answer = peer.ask_old(version, &old_produce("t", acks, vec![(0, set.clone())])).await;
            let produced = &answer.responses[0].partition_responses[0];
            assert_eq!(
                (produced.error_code, produced.base_offset),
                (0, (i64::from(version) * 3 + nth) * 5),
                "version {version}, acks {acks}"
            );
        }
        peer.send_old(version, &old_produce("nowhere", 0, vec![(0, set.clone())])).await;
        assert!(peer.is_closed().await, "version {version}");
    }
}

#[tokio::test]
async fn pipelined_sets_keep_the_order_of_their_requests() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let sets = ["gzip", "none", "lz4", "snappy"].map(|codec| golden("kafka-python-2.0.2", "v1", codec));
    let mut correlations = Vec::new();
    for set in sets.iter().cycle().take(20) {
        correlations.push(peer.send_old(2, &old_produce("t", -1, vec![(0, set.clone())])).await);
    }
    for (nth, correlation) in (0..).zip(correlations) {
        let answer = peer.receive_old::<ProduceRequest>(2, correlation).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, 5 * nth);
    }
}

#[tokio::test]
async fn log_append_time_is_answered_and_told_to_consumers_that_know_it() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut peer = broker.connect().await;
    for (partition, version, format) in [(0, 1, "v0"), (1, 2, "v1")] {
        let set = golden("kafka-python-2.0.2", format, "none");
        let answer = peer.ask_old(version, &old_produce("t", -1, vec![(partition, set)])).await;
        let produced = &answer.responses[0].partition_responses[0];
        assert_eq!((produced.error_code, produced.log_append_time_ms), (0, if version < 2 { -1 } else { NOW }));
        let set = set_of(&fetch(&mut peer, 2, "t", partition, 0).await);
        assert!(outer_messages(&set).iter().all(|(_, _, attributes)| attributes & 8 != 0));
        assert_eq!(set[18..26], NOW.to_be_bytes());
        let set = set_of(&fetch(&mut peer, 1, "t", partition, 0).await);
        assert!(outer_messages(&set).iter().all(|(_, magic, attributes)| (*magic, *attributes) == (0, 0)));
    }
}

#[tokio::test]
async fn a_partitions_limit_is_kept_but_for_a_first_batch() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    let value = "x".repeat(1000);
    for _ in 0..5 {
        peer.ask(9, &produce_request("t", -1, vec![(0, batch(&[&value])), (1, batch(&[&value]))])).await;
    }
    let mut ask = async |version: i16, partition_max_bytes: i32, max_bytes: i32| {
        let mut request = old_fetch(version, "t", &[(0, 0), (1, 0)], partition_max_bytes);
        if 3 <= version {
            request.max_bytes = max_bytes;
        }
        let answer = peer.ask_old(version, &request).await;
        let counts: Vec<_> = answer.responses[0].partitions.iter().map(|data| outer_messages(&set_of(data)).len()).collect();
        counts
    };
    for version in 0..=3 {
        assert_eq!(ask(version, 3500, i32::MAX).await, [3, 3], "version {version}");
        assert_eq!(ask(version, 10, i32::MAX).await.iter().sum::<usize>(), 1, "version {version}");
    }
    assert_eq!(ask(3, 1 << 20, 100).await.iter().sum::<usize>(), 1);
    let within = ask(3, 1 << 20, 7500).await.iter().sum::<usize>();
    assert!((6..=7).contains(&within), "{within}");
}

#[tokio::test]
async fn a_fetchs_limit_counts_messages_and_not_the_batches_they_came_from() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 5, &[]).await;
    let mut peer = broker.connect().await;
    let wanted: Vec<_> = (0..5).map(|partition| (partition, 0)).collect();
    let dense = build(BatchBuilder::new(Codec::Zstd), &[&"x".repeat(100_000)]);
    let batches = wanted.iter().map(|(partition, _)| (*partition, dense.clone())).collect();
    peer.ask(9, &produce_request("t", -1, batches)).await;
    let mut served = [0; 5];
    for _ in 0..100 {
        let answer = peer.ask_old(3, &old_fetch(3, "t", &wanted, 1 << 20).with_max_bytes(150_000)).await;
        let with_records = answer.responses[0].partitions.iter().filter(|data| !set_of(data).is_empty());
        let with_records: Vec<_> = with_records.map(|data| data.partition_index as usize).collect();
        assert_eq!(with_records.len(), 2, "the second passes the limit, and then it is enough");
        with_records.iter().for_each(|partition| served[*partition] += 1);
    }
    assert!(served.iter().all(|count| 10 <= *count), "{served:?}");
}

#[tokio::test]
async fn a_consumer_is_led_past_what_it_cannot_be_given() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    append_markers(&broker, TopicPartition::new(topic, 0), 20);
    peer.produce("t", 0, batch(&["b"])).await;
    peer.produce("t", 1, batch(&["busy"])).await;
    for version in 0..=3 {
        // A limit below two markers, and a neighbour that always has something: neither keeps it from "b".
        let answer = peer.ask_old(version, &old_fetch(version, "t", &[(0, 1), (1, 0)], 100)).await;
        let sets: Vec<_> = answer.responses[0].partitions.iter().map(set_of).collect();
        assert_eq!(outer_messages(&sets[0]).iter().map(|message| message.0).collect::<Vec<_>>(), [21], "version {version}");
        assert_eq!(outer_messages(&sets[1]).len(), 1, "version {version}");
    }
}

#[tokio::test]
async fn a_consumer_behind_the_last_record_waits_there_and_does_not_spin() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let (mut producer, mut consumer) = (broker.connect().await, broker.connect().await);
    producer.produce("t", 0, batch(&["a"])).await;
    append_markers(&broker, TopicPartition::new(topic, 0), 3);
    // Behind the markers in the log, so that they are visible from here on.
    producer.produce("t", 0, batch(&["b"])).await;
    append_markers(&broker, TopicPartition::new(topic, 0), 3);
    while consumer.fetch("t", 0, 0).await.high_watermark < 8 {}

    let began = Instant::now();
    let data = fetch(&mut consumer, 2, "t", 0, 5).await;
    assert_eq!((set_of(&data).len(), data.high_watermark), (0, 8));
    assert!(Duration::from_millis(450) <= began.elapsed(), "{:?}", began.elapsed());

    let request = old_fetch(2, "t", &[(0, 5)], 1 << 20).with_max_wait_ms(60_000);
    let correlation = consumer.send_old(2, &request).await;
    producer.produce("t", 0, batch(&["c"])).await;
    let answer = consumer.receive_old::<FetchRequest>(2, correlation).await;
    assert_eq!(outer_messages(&set_of(&answer.responses[0].partitions[0]))[0].0, 8);
}

#[tokio::test]
async fn large_conversions_side_by_side_give_back_what_they_took() {
    let broker = TestBroker::start_with(|options| options.answer_memory_bytes = 2 << 20, wal::MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    let mut producer = broker.connect().await;
    let value = "x".repeat(100_000);
    for _ in 0..5 {
        assert_eq!(producer.produce("t", 0, build(BatchBuilder::new(Codec::Zstd), &[&*value; 8])).await.error_code, 0);
    }
    let consumers = (0..8).map(|_| async {
        let mut peer = broker.connect().await;
        let mut offset = 0;
        while offset < 40 {
            let set = set_of(&fetch(&mut peer, 2, "t", 0, offset).await);
            assert_eq!(outer_messages(&set)[0].0, offset);
            offset = outer_messages(&set).last().unwrap().0 + 1;
        }
    });
    futures::future::join_all(consumers).await;
    while 0.0 < broker.metric("siltstone_answer_memory_bytes") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn errors_reach_old_consumers_with_the_marks() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    for version in 0..=3 {
        let out = fetch(&mut peer, version, "t", 0, 9).await;
        assert_eq!((out.error_code, out.high_watermark), (ErrorCode::OffsetOutOfRange.code(), 1), "version {version}");
        let unknown = fetch(&mut peer, version, "nowhere", 0, 0).await;
        assert_eq!((unknown.error_code, unknown.high_watermark), (ErrorCode::UnknownTopicOrPartition.code(), -1), "version {version}");
    }
}

#[tokio::test]
async fn version_0_lists_offsets_before_a_time_newest_first() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    for times in [[100, 150], [200, 300]] {
        let mut builder = BatchBuilder::new(Codec::None);
        times.iter().for_each(|time| builder.push(Timestamp(*time), None, Some(b"x"), &[]));
        assert_eq!(peer.produce("t", 0, builder.build()).await.error_code, 0);
    }
    let mut list = async |topic: &str, partition: i32, timestamp: i64, max: i32| {
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp).with_max_num_offsets(max);
        let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
        let answer = peer.ask_old(0, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])).await;
        let partition = &answer.topics[0].partitions[0];
        (partition.error_code, partition.old_style_offsets.clone())
    };
    assert_eq!(list("t", 0, -1, 1).await, (0, vec![4]));
    assert_eq!(list("t", 0, -1, 10).await, (0, vec![4, 0]));
    assert_eq!(list("t", 0, -2, 10).await, (0, vec![0]));
    assert_eq!(list("t", 0, 160, 10).await, (0, vec![2, 0]));
    assert_eq!(list("t", 0, 301, 1).await, (0, vec![4]));
    assert_eq!(list("t", 0, 100, 1).await, (0, vec![]), "nothing is older");
    assert_eq!(list("t", 0, -3, 1).await, (0, vec![]), "nothing is older");
    assert_eq!(list("t", 0, -1, 0).await, (0, vec![]));
    assert_eq!(list("t", 0, -1, -1).await, (0, vec![]));
    assert_eq!(list("t", 1, -1, 2).await, (0, vec![0]));
    assert_eq!(list("t", 2, -1, 1).await, (ErrorCode::UnknownTopicOrPartition.code(), vec![]));
    assert_eq!(list("nowhere", 0, -1, 1).await, (ErrorCode::UnknownTopicOrPartition.code(), vec![]));
}

#[tokio::test]
async fn topics_are_created_and_deleted_in_the_first_versions() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let topic = |name: &str| CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1);
    let request = |name: &str| CreateTopicsRequest::default().with_topics(vec![topic(name)]).with_timeout_ms(10_000);
    let only_validated = peer.ask_old(1, &request("b").with_validate_only(true)).await;
    assert_eq!((only_validated.topics[0].error_code, &only_validated.topics[0].error_message), (0, &None));
    assert_eq!(peer.ask_old(0, &request("a")).await.topics[0].error_code, 0);
    assert_eq!(peer.ask_old(1, &request("b")).await.topics[0].error_code, 0);
    let again = peer.ask_old(1, &request("b")).await;
    assert_eq!(again.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());
    assert!(again.topics[0].error_message.is_some());
    let names = ["a", "b", "c"].map(topic_name).to_vec();
    let deleted = peer.ask_old(0, &DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(1000)).await;
    let codes: Vec<_> = deleted.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 0, ErrorCode::UnknownTopicOrPartition.code()]);
}

#[test]
fn the_versions_tested_here_are_those_that_are_listed() {
    for api in [ApiKey::Produce, ApiKey::Fetch, ApiKey::ListOffsets, ApiKey::CreateTopics, ApiKey::DeleteTopics] {
        assert_eq!(api.versions().min, 0, "{}", api.name());
    }
}
