//! The Fetch response, encoded by hand: kafka-protocol copies records into its buffer, and a response may hold 50 MiB of them.
//! Layouts are those of Kafka's FetchResponse.json; a test compares every version with kafka-protocol's encoding.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use types::TopicId;

use crate::ErrorCode;
use crate::gather::Gather;

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;

/// Answer to a Fetch. What its version lacks is left out.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FetchResponse {
    /// How long the client should stay quiet, in milliseconds; from version 1.
    pub throttle_time_ms: i32,
    /// An error of the whole request; from version 7.
    pub error_code: ErrorCode,
    /// The fetch session; 0 for none; from version 7.
    pub session_id: i32,
    /// What was read, by topic.
    pub topics: Vec<FetchedTopic>,
    /// Addresses of the leaders named in [`FetchedPartition::current_leader`] (KIP-951); from version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What was read of one topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FetchedTopic {
    /// Its name; up to version 12.
    pub name: TopicName,
    /// Its id (KIP-516); from version 13.
    pub id: TopicId,
    /// What was read, by partition.
    pub partitions: Vec<FetchedPartition>,
}

/// What was read of one partition.
#[derive(Clone, PartialEq, Debug)]
pub struct FetchedPartition {
    /// Index of the partition.
    pub partition_index: i32,
    /// An error of this partition.
    pub error_code: ErrorCode,
    /// First offset that is not visible yet; -1 with an error.
    pub high_watermark: i64,
    /// First offset that is not visible to read-committed consumers; -1 with an error; from version 4.
    pub last_stable_offset: i64,
    /// First offset of the log; -1 with an error; from version 5.
    pub log_start_offset: i64,
    /// Where the client's log leaves this one (KIP-595); from version 12.
    pub diverging_epoch: Option<EpochEndOffset>,
    /// Who leads, if the request went to another broker or epoch; from version 12.
    pub current_leader: Option<LeaderIdAndEpoch>,
    /// Aborted transactions among the records: `None` for read-uncommitted requests, a list for read-committed ones; from version 4.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A broker that should rather be asked (KIP-392); -1 for none; from version 11.
    pub preferred_read_replica: i32,
    /// Whole record batches, or up to version 3 messages, one after the other, cut anywhere.
    pub records: Vec<Bytes>,
}

impl Default for FetchedPartition {
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: ErrorCode::None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }
}

impl FetchedPartition {
    /// A partition of which nothing can be read.
    pub fn failed(partition_index: i32, error_code: ErrorCode) -> Self {
        Self { partition_index, error_code, ..Self::default() }
    }

    /// Bytes of its records.
    pub fn record_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// The end of a leader epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndOffset {
    /// The epoch.
    pub epoch: i32,
    /// Its end, exclusive.
    pub end_offset: i64,
}

/// A partition's leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderIdAndEpoch {
    /// Its broker id; -1 for none.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
}

/// A transaction whose records among those fetched are to be skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
}

/// A broker's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: i32,
    /// Its host name.
    pub host: StrBytes,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<StrBytes>,
}

impl FetchResponse {
    pub(crate) fn encode(self, version: i16, out: &mut Gather) {
        if 1 <= version {
            out.head().put_i32(self.throttle_time_ms);
        }
        if 7 <= version {
            out.head().put_i16(self.error_code.code());
            out.head().put_i32(self.session_id);
        }
        put_count(out.head(), version, self.topics.len());
        for topic in self.topics {
            topic.encode(version, out);
        }
        if FLEXIBLE <= version {
            put_node_endpoints(out.head(), version, &self.node_endpoints);
        }
    }
}

impl FetchedTopic {
    fn encode(self, version: i16, out: &mut Gather) {
        if version < 13 {
            put_string(out.head(), version, &self.name);
        } else {
            out.head().put_slice(self.id.as_bytes());
        }
        put_count(out.head(), version, self.partitions.len());
        for partition in self.partitions {
            partition.encode(version, out);
        }
        if FLEXIBLE <= version {
            put_no_tags(out.head());
        }
    }
}

impl FetchedPartition {
    fn encode(self, version: i16, out: &mut Gather) {
        let record_bytes = self.record_bytes();
        let head = out.head();
        head.put_i32(self.partition_index);
        head.put_i16(self.error_code.code());
        head.put_i64(self.high_watermark);
        if 4 <= version {
            head.put_i64(self.last_stable_offset);
        }
        if 5 <= version {
            head.put_i64(self.log_start_offset);
        }
        if 4 <= version {
            put_aborted_transactions(head, version, self.aborted_transactions.as_deref());
        }
        if 11 <= version {
            head.put_i32(self.preferred_read_replica);
        }
        put_count(head, version, record_bytes);
        for slice in self.records {
            out.push(slice);
        }
        if FLEXIBLE <= version {
            put_partition_tags(out.head(), self.diverging_epoch, self.current_leader);
        }
    }
}

fn put_aborted_transactions(head: &mut BytesMut, version: i16, aborted: Option<&[AbortedTransaction]>) {
    let Some(aborted) = aborted else { return put_null(head, version) };
    put_count(head, version, aborted.len());
    for transaction in aborted {
        head.put_i64(transaction.producer_id);
        head.put_i64(transaction.first_offset);
        if FLEXIBLE <= version {
            put_no_tags(head);
        }
    }
}

/// Tag 0 is the diverging epoch, tag 1 the current leader; both are structures of fixed size with an empty set of tags.
fn put_partition_tags(head: &mut BytesMut, diverging_epoch: Option<EpochEndOffset>, current_leader: Option<LeaderIdAndEpoch>) {
    put_varint(head, usize::from(diverging_epoch.is_some()) + usize::from(current_leader.is_some()));
    if let Some(EpochEndOffset { epoch, end_offset }) = diverging_epoch {
        put_tag(head, 0, 4 + 8 + 1);
        head.put_i32(epoch);
        head.put_i64(end_offset);
        put_no_tags(head);
    }
    if let Some(LeaderIdAndEpoch { leader_id, leader_epoch }) = current_leader {
        put_tag(head, 1, 4 + 4 + 1);
        head.put_i32(leader_id);
        head.put_i32(leader_epoch);
        put_no_tags(head);
    }
}

/// The response's own tagged fields: tag 0 is the list of addresses.
fn put_node_endpoints(head: &mut BytesMut, version: i16, endpoints: &[NodeEndpoint]) {
    if version < 16 || endpoints.is_empty() {
        return put_no_tags(head);
    }
    let mut content = BytesMut::new();
    put_count(&mut content, version, endpoints.len());
    for endpoint in endpoints {
        content.put_i32(endpoint.node_id);
        put_string(&mut content, version, &endpoint.host);
        content.put_i32(endpoint.port);
        match &endpoint.rack {
            Some(rack) => put_string(&mut content, version, rack),
            None => put_null(&mut content, version),
        }
        put_no_tags(&mut content);
    }
    put_varint(head, 1);
    put_tag(head, 0, content.len());
    head.put_slice(&content);
}

fn put_no_tags(head: &mut BytesMut) {
    head.put_u8(0);
}

fn put_tag(head: &mut BytesMut, tag: usize, size: usize) {
    put_varint(head, tag);
    put_varint(head, size);
}

/// The count of an array, or the length of bytes.
fn put_count(head: &mut BytesMut, version: i16, count: usize) {
    if version < FLEXIBLE {
        head.put_i32(i32::try_from(count).expect("what a frame holds has at most 2^31-1 bytes"));
    } else {
        put_varint(head, count + 1);
    }
}

/// A null array, or a null string of a flexible version.
fn put_null(head: &mut BytesMut, version: i16) {
    if version < FLEXIBLE {
        head.put_i32(-1);
    } else {
        put_varint(head, 0);
    }
}

fn put_string(head: &mut BytesMut, version: i16, text: &str) {
    if version < FLEXIBLE {
        head.put_i16(i16::try_from(text.len()).expect("topic names have at most 249 bytes"));
    } else {
        put_varint(head, text.len() + 1);
    }
    head.put_slice(text.as_bytes());
}

/// An unsigned number in groups of seven bits, least significant first.
pub(crate) fn put_varint(head: &mut BytesMut, mut value: usize) {
    while 0x80 <= value {
        head.put_u8(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    head.put_u8(value as u8);
}

#[cfg(test)]
mod tests;
