//! Reads assigned partitions of a topic, without a group. Positions are this consumer's own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, FetchResponse};
use records::{DamagedBatch, RecordHeader, batches, decode_records};
use types::TopicId;

use crate::client::topic_name;
use crate::connection::{Answer, Connection};
use crate::retry::Attempts;
use crate::{Client, ClientError, OffsetSpec};

/// What the records of one batch may take when they are decompressed.
const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024 * 1024;

/// What a consumer does when its position is no longer, or not yet, in the log (`auto.offset.reset`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OutOfRange {
    /// It fails.
    #[default]
    Fail,
    /// It goes on at the log start offset.
    Earliest,
    /// It goes on at the end.
    Latest,
}

/// How a consumer behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerOptions {
    /// How long a broker may wait for `min_bytes`.
    pub max_wait: Duration,
    /// What a broker waits for.
    pub min_bytes: i32,
    /// Bound on one answer; a single batch may be larger.
    pub max_bytes: i32,
    /// Bound on one partition in an answer; a single batch may be larger.
    pub partition_max_bytes: i32,
    /// Whether records of open and aborted transactions are left out by the broker's last stable offset.
    pub read_committed: bool,
    /// What to do where a position is out of range.
    pub out_of_range: OutOfRange,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 8 * 1024 * 1024,
            read_committed: false,
            out_of_range: OutOfRange::Fail,
        }
    }
}

/// A record read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970; -1 for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<RecordHeader>,
}

/// A consumer of some partitions of one topic.
pub struct Consumer {
    client: Client,
    topic: String,
    options: ConsumerOptions,
    /// The offset to be read next, by partition.
    positions: BTreeMap<i32, i64>,
    /// As of the last answer, by partition.
    high_watermarks: BTreeMap<i32, i64>,
}

impl Consumer {
    /// Starts reading `partitions` of `topic`, each from its own place. Where no record is as late as a timestamp, from the end.
    ///
    /// # Errors
    /// When the topic or a partition does not exist, or a start cannot be found.
    pub async fn assign(
        client: Client,
        topic: &str,
        partitions: &[(i32, OffsetSpec)],
        options: ConsumerOptions,
    ) -> Result<Self, ClientError> {
        let listed = client.list_offsets(topic, partitions).await?;
        let mut positions: BTreeMap<_, _> = listed.iter().filter_map(|(partition, listed)| Some((*partition, listed.offset?))).collect();
        let unmatched: Vec<_> = listed
            .keys()
            .filter(|partition| !positions.contains_key(partition))
            .map(|partition| (*partition, OffsetSpec::Latest))
            .collect();
        if !unmatched.is_empty() {
            let ends = client.list_offsets(topic, &unmatched).await?;
            positions.extend(ends.iter().map(|(partition, listed)| (*partition, listed.offset.unwrap_or(0))));
        }
        Ok(Self { client, topic: topic.to_owned(), options, positions, high_watermarks: BTreeMap::new() })
    }

    /// Starts reading at given offsets.
    pub fn at(client: Client, topic: &str, positions: BTreeMap<i32, i64>, options: ConsumerOptions) -> Self {
        Self { client, topic: topic.to_owned(), options, positions, high_watermarks: BTreeMap::new() }
    }

    /// Reads a partition no longer.
    pub fn unassign(&mut self, partition: i32) {
        self.positions.remove(&partition);
    }

    /// The offset to be read next, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// The high watermark of the last answer, by partition.
    pub fn high_watermarks(&self) -> &BTreeMap<i32, i64> {
        &self.high_watermarks
    }

    /// Where the partitions end now. Reading until [`Self::has_reached`] reads everything that was visible by now.
    ///
    /// # Errors
    /// When a leader cannot be asked.
    pub async fn ends(&self) -> Result<BTreeMap<i32, i64>, ClientError> {
        let asked: Vec<_> = self.positions.keys().map(|partition| (*partition, OffsetSpec::Latest)).collect();
        let listed = self.client.list_offsets(&self.topic, &asked).await?;
        Ok(listed.into_iter().map(|(partition, listed)| (partition, listed.offset.unwrap_or(0))).collect())
    }

    /// Whether every position is at or behind `ends`.
    pub fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        ends.iter().all(|(partition, end)| self.positions.get(partition).is_none_or(|position| end <= position))
    }

    /// The next records, by partition in offset order. Empty when nothing came within [`ConsumerOptions::max_wait`]. Leaders that
    /// move or cannot be reached are tried again within the client's retry timeout.
    ///
    /// # Errors
    /// The first partition's that cannot be read.
    pub async fn poll(&mut self) -> Result<Vec<ConsumerRecord>, ClientError> {
        let client = self.client.clone();
        let mut attempts = client.attempts();
        loop {
            let (records, passing) = self.fetch().await?;
            match passing {
                Some(error) if records.is_empty() => self.wait_after(error, &mut attempts).await?,
                Some(_) => {
                    self.client.forget(&self.topic).await;
                    return Ok(records);
                }
                None => return Ok(records),
            }
        }
    }

    async fn wait_after(&self, error: ClientError, attempts: &mut Attempts<'_>) -> Result<(), ClientError> {
        self.client.forget(&self.topic).await;
        attempts.wait_after(error).await
    }

    /// One round over all leaders: what came, and an error that may pass.
    async fn fetch(&mut self) -> Result<(Vec<ConsumerRecord>, Option<ClientError>), ClientError> {
        let mut round = Round::default();
        let answers = match self.ask_leaders().await {
            Ok(answers) => answers,
            Err(error) => {
                round.note(error)?;
                return Ok((round.records, round.passing));
            }
        };
        for answer in answers {
            match answer.wait().await {
                Ok(response) => self.read(response, &mut round).await?,
                Err(error) => round.note(error)?,
            }
        }
        Ok((round.records, round.passing))
    }

    /// Sends one Fetch to every leader, before any answer is awaited.
    async fn ask_leaders(&self) -> Result<Vec<Answer<FetchRequest>>, ClientError> {
        let mut by_leader: HashMap<String, (Connection, TopicId, Vec<FetchPartition>)> = HashMap::new();
        for (partition, position) in &self.positions {
            let (connection, topic, _) = self.client.leader(&self.topic, *partition).await?;
            let (_, _, partitions) = by_leader.entry(connection.address().to_owned()).or_insert_with(|| (connection, topic.id, Vec::new()));
            partitions.push(
                FetchPartition::default()
                    .with_partition(*partition)
                    .with_fetch_offset(*position)
                    .with_partition_max_bytes(self.options.partition_max_bytes),
            );
        }
        let mut answers = Vec::with_capacity(by_leader.len());
        for (connection, topic, partitions) in by_leader.into_values() {
            let version = connection.version::<FetchRequest>()?;
            answers.push(connection.begin(version, &self.request(version, topic, partitions)).await?);
        }
        Ok(answers)
    }

    fn request(&self, version: i16, topic: TopicId, partitions: Vec<FetchPartition>) -> FetchRequest {
        let mut topic_request = FetchTopic::default().with_partitions(partitions);
        if version < 13 {
            topic_request.topic = topic_name(&self.topic);
        } else {
            topic_request.topic_id = topic.0;
        }
        FetchRequest::default()
            .with_max_wait_ms(i32::try_from(self.options.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.options.min_bytes)
            .with_max_bytes(self.options.max_bytes)
            .with_isolation_level(i8::from(self.options.read_committed))
            .with_topics(vec![topic_request])
    }

    async fn read(&mut self, response: FetchResponse, round: &mut Round) -> Result<(), ClientError> {
        if let Err(error) = ClientError::check(|| format!("fetching from {}", self.topic), response.error_code, None) {
            return round.note(error);
        }
        for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            self.read_partition(partition, round).await?;
        }
        Ok(())
    }

    async fn read_partition(&mut self, data: PartitionData, round: &mut Round) -> Result<(), ClientError> {
        let partition = data.partition_index;
        let Some(position) = self.positions.get(&partition).copied() else { return Ok(()) };
        let what = || format!("fetching {}-{partition} at offset {position}", self.topic);
        match ClientError::check(what, data.error_code, None) {
            Ok(()) => {}
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => return self.reset(partition, error).await,
            Err(error) => return round.note(error),
        }
        self.high_watermarks.insert(partition, data.high_watermark);
        let next = self.read_batches(partition, position, data.records.unwrap_or_default(), &mut round.records)?;
        self.positions.insert(partition, next);
        Ok(())
    }

    /// Appends the records at or above `position` to `out`; returns the next position. A batch that was cut at the end of the answer
    /// is left for the next.
    fn read_batches(&self, partition: i32, position: i64, bytes: Bytes, out: &mut Vec<ConsumerRecord>) -> Result<i64, ClientError> {
        let corrupt = |offset: i64, reason: String| ClientError::Corrupt { topic: self.topic.clone(), partition, offset, reason };
        let mut next = position;
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(DamagedBatch::Truncated { .. }) if position < next => break,
                Err(error) => return Err(corrupt(next, error.to_string())),
            };
            if !batch.header.control {
                let records = decode_records(&batch.bytes, MAX_DECOMPRESSED_BYTES).map_err(|error| corrupt(next, error.to_string()))?;
                out.extend(records.into_iter().filter(|record| position <= record.offset.0).map(|record| ConsumerRecord {
                    partition,
                    offset: record.offset.0,
                    timestamp: record.timestamp.0,
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                }));
            }
            // The header's, because the last records of a batch may be compacted away.
            next = next.max(batch.header.next_offset().0);
        }
        Ok(next)
    }

    async fn reset(&mut self, partition: i32, error: ClientError) -> Result<(), ClientError> {
        let spec = match self.options.out_of_range {
            OutOfRange::Fail => return Err(error),
            OutOfRange::Earliest => OffsetSpec::Earliest,
            OutOfRange::Latest => OffsetSpec::Latest,
        };
        let listed = self.client.list_offsets(&self.topic, &[(partition, spec)]).await?;
        let offset = listed.get(&partition).and_then(|listed| listed.offset).ok_or(error)?;
        self.positions.insert(partition, offset);
        Ok(())
    }
}

/// What one round of fetches brought.
#[derive(Default)]
struct Round {
    records: Vec<ConsumerRecord>,
    passing: Option<ClientError>,
}

impl Round {
    /// Keeps an error that may pass, and gives back one that will not.
    fn note(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.passing = Some(error);
        Ok(())
    }
}
