//! A client that costs the process next to nothing: a blocking socket on the test's own thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{BrokerId, CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName};
use protocol::{StrBytes, client};
use records::{BatchBuilder, Codec};
use types::Timestamp;

/// How long anything may take; it only bounds a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;

pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(broker: SocketAddr) -> Self {
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).unwrap();
    }

    /// The next answer, without its length.
    fn receive(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        frame.into()
    }

    /// The next answer, which is to a Produce that succeeded.
    pub(crate) fn acknowledged(&mut self) {
        let answer = client::decode_response::<ProduceRequest>(PRODUCE_VERSION, self.receive()).unwrap();
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        assert!(partitions.into_iter().all(|partition| partition.error_code == 0), "{answer:?}");
    }

    /// Sends `frames`, Produce requests, so that `in_flight` of them are never answered yet.
    pub(crate) fn produce_all(&mut self, frames: &[Bytes], in_flight: usize) {
        for (number, frame) in frames.iter().enumerate() {
            if in_flight <= number {
                self.acknowledged();
            }
            self.send(frame);
        }
        (0..in_flight.min(frames.len())).for_each(|_| self.acknowledged());
    }

    /// Reads a partition up to `end`; returns the requests it took and the bytes of batches they brought.
    pub(crate) fn read_to(&mut self, end: i64, topic: &str, partition: i32) -> (u64, u64) {
        let (mut offset, mut requests, mut bytes) = (0, 0, 0);
        while offset < end {
            self.send(&fetch(topic, partition, offset));
            let answer = client::decode_response::<FetchRequest>(FETCH_VERSION, self.receive()).unwrap();
            let fetched = &answer.responses[0].partitions[0];
            assert_eq!(fetched.error_code, 0);
            requests += 1;
            let fetched = fetched.records.clone().unwrap_or_default();
            bytes += fetched.len() as u64;
            if let Some(last) = records::batches(fetched).last() {
                offset = last.unwrap().header.next_offset().0;
            }
        }
        (requests, bytes)
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, durability: &str) {
        let config = CreatableTopicConfig::default().with_name(text("durability")).with_value(Some(text(durability)));
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(PATIENCE.as_millis() as i32);
        self.send(&client::encode_request(0, None, CREATE_TOPICS_VERSION, &request).unwrap());
        let answer = client::decode_response::<CreateTopicsRequest>(CREATE_TOPICS_VERSION, self.receive()).unwrap();
        assert_eq!((answer.topics[0].error_code, &answer.topics[0].error_message), (0, &None));
    }
}

/// The frame of a Produce with `acks=all`, one batch for each partition that is named.
pub(crate) fn produce(topic: &str, batches: impl IntoIterator<Item = (i32, Bytes)>) -> Bytes {
    let partitions = batches.into_iter().map(|(index, batch)| PartitionProduceData::default().with_index(index).with_records(Some(batch)));
    let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(partitions.collect());
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(PATIENCE.as_millis() as i32).with_topic_data(vec![topic]);
    client::encode_request(0, None, PRODUCE_VERSION, &request).unwrap()
}

/// The frame of a Fetch of at most 1 MiB.
fn fetch(topic: &str, partition: i32, offset: i64) -> Bytes {
    let partition = FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic]);
    client::encode_request(0, None, FETCH_VERSION, &request).unwrap()
}

/// A batch of so many records, each with a value of so many bytes.
pub(crate) fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in 0..records {
        let value: Vec<u8> = (0..value_bytes).map(|byte| (byte * 31 + number * 7) as u8).collect();
        builder.push(Timestamp(1_700_000_000_000), None, Some(&value), &[]);
    }
    builder.build()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
