//! The gRPC service: messages to commands, answers to messages.

use std::sync::Arc;

use futures::stream::BoxStream;
use metadata_api::wire::{WireError, id_bytes, required, status_from_error, topic_id};
use metadata_api::{MetadataError, proto};
use runtime::Random;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};
use types::{BrokerEpoch, BrokerId, Offset, Timestamp, TopicId};

use super::driver::Message;
use super::feed::ImageFeed;
use crate::state::{Answer, Command};

/// Sends commands to the driver.
#[derive(Clone)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
}

impl Handle {
    pub(crate) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages }
    }

    /// Waits for the answer; the caller sets the deadline.
    pub(crate) async fn call(&self, command: Command) -> Result<Answer, MetadataError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Call { command, reply }).await?;
        // A driver that ends answers what it has written; what it had not looked at was not written.
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Sends anything.
    pub(crate) async fn send(&self, message: Message) -> Result<(), MetadataError> {
        self.messages.send(message).await.map_err(|_| stopped())
    }
}

fn stopped() -> MetadataError {
    MetadataError::Unavailable { detail: "the metadata service has stopped".to_owned() }
}

/// One way into the service: in process or over the network.
pub(crate) struct Handler {
    pub(crate) handle: Handle,
    pub(crate) feed: Arc<ImageFeed>,
    pub(crate) random: Arc<Random>,
    /// Brokers that come this way live in this process.
    pub(crate) local: bool,
}

/// The answer's kind is fixed by the command's.
macro_rules! expect_answer {
    ($self:ident, $command:expr, $kind:path) => {
        match $self.handle.call($command).await.map_err(|err| status_from_error(&err))? {
            $kind(answer) => answer,
            other => return Err(Status::internal(format!("unexpected answer {other:?}"))),
        }
    };
}

fn malformed(err: WireError) -> Status {
    status_from_error(&err.into())
}

type Reply<T> = Result<Response<T>, Status>;

fn revision(revision: types::Revision) -> Reply<proto::RevisionResponse> {
    Ok(Response::new(proto::RevisionResponse { revision: revision.0 }))
}

#[tonic::async_trait]
impl proto::metadata_server::Metadata for Handler {
    async fn register_broker(&self, request: Request<proto::RegisterBrokerRequest>) -> Reply<proto::RegisterBrokerResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let answer = expect_answer!(self, Command::RegisterBroker { request, local: self.local }, Answer::Registration);
        Ok(Response::new((&answer).into()))
    }

    async fn heartbeat(&self, request: Request<proto::HeartbeatRequest>) -> Reply<proto::HeartbeatResponse> {
        let answer = expect_answer!(self, Command::Heartbeat(request.into_inner().into()), Answer::Heartbeat);
        Ok(Response::new(proto::HeartbeatResponse { revision: answer.revision.0 }))
    }

    async fn resign_broker(&self, request: Request<proto::ResignBrokerRequest>) -> Reply<proto::RevisionResponse> {
        let proto::ResignBrokerRequest { broker, epoch } = request.into_inner();
        let command = Command::ResignBroker { broker: BrokerId(broker), epoch: BrokerEpoch(epoch) };
        revision(expect_answer!(self, command, Answer::Revision))
    }

    async fn publish(&self, request: Request<proto::PublishRequest>) -> Reply<proto::PublishResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let answer = expect_answer!(self, Command::Publish(Box::new(request)), Answer::Publish);
        Ok(Response::new((&answer).into()))
    }

    async fn replace_segments(&self, request: Request<proto::ReplaceSegmentsRequest>) -> Reply<proto::ReplaceSegmentsResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let answer = expect_answer!(self, Command::ReplaceSegments(Box::new(request)), Answer::SegmentsReplaced);
        Ok(Response::new((&answer).into()))
    }

    async fn create_topic(&self, request: Request<proto::CreateTopicRequest>) -> Reply<proto::CreateTopicResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let topic = TopicId::from_bytes(self.random.uuid_bytes());
        let answer = expect_answer!(self, Command::CreateTopic { request, topic }, Answer::TopicCreated);
        Ok(Response::new(proto::CreateTopicResponse { topic: id_bytes(answer.topic.as_bytes()), revision: answer.revision.0 }))
    }

    async fn create_partitions(&self, request: Request<proto::CreatePartitionsRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::CreatePartitions(request), Answer::Revision))
    }

    async fn delete_topic(&self, request: Request<proto::DeleteTopicRequest>) -> Reply<proto::RevisionResponse> {
        let topic = topic_id(&request.into_inner().topic).map_err(malformed)?;
        revision(expect_answer!(self, Command::DeleteTopic(topic), Answer::Revision))
    }

    async fn alter_topic_configs(&self, request: Request<proto::AlterTopicConfigsRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::AlterTopicConfigs(request), Answer::Revision))
    }

    async fn alter_resource_configs(&self, request: Request<proto::AlterResourceConfigsRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::AlterResourceConfigs(request), Answer::Revision))
    }

    async fn alter_client_quotas(&self, request: Request<proto::AlterClientQuotasRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::AlterClientQuotas(request), Answer::Revision))
    }

    async fn enforce_durability(&self, request: Request<proto::EnforceDurabilityRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::EnforceDurability(request), Answer::Revision))
    }

    async fn advance_log_start(&self, request: Request<proto::AdvanceLogStartRequest>) -> Reply<proto::AdvanceLogStartResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let answer = expect_answer!(self, Command::AdvanceLogStart(request), Answer::LogStart);
        Ok(Response::new(proto::AdvanceLogStartResponse { log_start: answer.0 }))
    }

    async fn elect_unclean(&self, request: Request<proto::ElectUncleanRequest>) -> Reply<proto::RevisionResponse> {
        let partitions = request.into_inner().partitions.into_iter().map(TryInto::try_into).collect::<Result<_, _>>().map_err(malformed)?;
        revision(expect_answer!(self, Command::ElectUnclean(partitions), Answer::Revision))
    }

    async fn partition_states(&self, request: Request<proto::PartitionStatesRequest>) -> Reply<proto::PartitionStatesResponse> {
        let proto::PartitionStatesRequest { broker, epoch, partitions } = request.into_inner();
        let (broker, epoch) = (BrokerId(broker), BrokerEpoch(epoch));
        let partitions = partitions.into_iter().map(TryInto::try_into).collect::<Result<_, _>>().map_err(malformed)?;
        let answer = expect_answer!(self, Command::PartitionStates { broker, epoch, partitions }, Answer::PartitionStates);
        Ok(Response::new(proto::PartitionStatesResponse { partitions: answer.iter().map(Into::into).collect() }))
    }

    async fn segments(&self, request: Request<proto::SegmentsRequest>) -> Reply<proto::SegmentPage> {
        let proto::SegmentsRequest { partition, from, limit } = request.into_inner();
        let partition = required(partition, "partition").and_then(TryInto::try_into).map_err(malformed)?;
        let answer = expect_answer!(self, Command::Segments { partition, from: Offset(from), limit }, Answer::Page);
        Ok(Response::new((&answer).into()))
    }

    async fn segment_at(&self, request: Request<proto::SegmentAtRequest>) -> Reply<proto::SegmentPage> {
        let proto::SegmentAtRequest { partition, timestamp } = request.into_inner();
        let partition = required(partition, "partition").and_then(TryInto::try_into).map_err(malformed)?;
        let answer = expect_answer!(self, Command::SegmentAt { partition, timestamp: Timestamp(timestamp) }, Answer::Page);
        Ok(Response::new((&answer).into()))
    }

    async fn segment_of_max_timestamp(&self, request: Request<proto::SegmentOfMaxTimestampRequest>) -> Reply<proto::SegmentPage> {
        let partition = required(request.into_inner().partition, "partition").and_then(TryInto::try_into).map_err(malformed)?;
        let answer = expect_answer!(self, Command::SegmentOfMaxTimestamp(partition), Answer::Page);
        Ok(Response::new((&answer).into()))
    }

    async fn allocate_producer_ids(
        &self,
        request: Request<proto::AllocateProducerIdsRequest>,
    ) -> Reply<proto::AllocateProducerIdsResponse> {
        let count = request.into_inner().count;
        let answer = expect_answer!(self, Command::AllocateProducerIds { count }, Answer::ProducerIds);
        Ok(Response::new(proto::AllocateProducerIdsResponse { first: answer.start, count }))
    }

    async fn take_slot(&self, request: Request<proto::TakeSlotRequest>) -> Reply<proto::TakeSlotResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        Ok(Response::new(expect_answer!(self, Command::TakeSlot(request), Answer::SlotTaken).into()))
    }

    async fn slot_rows(&self, request: Request<proto::SlotRowsRequest>) -> Reply<proto::RowPage> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        let answer = expect_answer!(self, Command::SlotRows(request), Answer::RowPage);
        Ok(Response::new((&answer).into()))
    }

    async fn save_rows(&self, request: Request<proto::SaveRowsRequest>) -> Reply<proto::RevisionResponse> {
        let request = request.into_inner().try_into().map_err(malformed)?;
        revision(expect_answer!(self, Command::SaveRows(request), Answer::Revision))
    }

    type WatchImageStream = BoxStream<'static, Result<proto::ImageDelta, Status>>;

    async fn watch_image(&self, _request: Request<proto::WatchImageRequest>) -> Reply<Self::WatchImageStream> {
        Ok(Response::new(self.feed.watch()))
    }
}
