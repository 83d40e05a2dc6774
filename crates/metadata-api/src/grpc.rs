//! The client over tonic. It is generic over the transport: a channel to another process, or the service itself, called in process
//! with the same messages, encoded and decoded.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use types::{BrokerEpoch, BrokerId, Offset, ProducerId, Revision, Timestamp, TopicId, TopicPartition};

use crate::proto::metadata_client::MetadataClient as Stub;
use crate::wire::{apply_delta, error_from_status, id_bytes};
use crate::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClusterImage, CreatePartitions, CreateTopic,
    EnforceDurability, HeartbeatAnswer, HeartbeatRequest, MetadataClient, MetadataError, PartitionState, PublishAnswer, PublishRequest,
    RegisterBroker, Registration, ReplaceAnswer, ReplaceSegments, RowPage, SaveRows, SegmentPage, SlotRows, SlotTaken, TakeSlot,
    TopicCreated, proto,
};

/// Largest message either side accepts: a publish of 75,000 partitions with their producers, or the image of a million partitions.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;

/// Wait before the image stream is opened again.
const WATCH_RETRY: Duration = Duration::from_millis(200);

/// What a transport must be: cheap to clone, usable from any task.
pub trait Transport:
    GrpcService<
        Body,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Transport for T where
    T: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// [`MetadataClient`] over gRPC messages. Every call ends within the deadline; a write that did not is [`MetadataError::Unknown`].
pub struct GrpcClient<T> {
    stub: Stub<T>,
    deadline: Duration,
    image: watch::Receiver<Arc<ClusterImage>>,
}

impl GrpcClient<Channel> {
    /// A client of the service at `url` (`http://host:port`). Connects when it is first used and again whenever needed.
    pub fn connect(url: String, deadline: Duration) -> Result<Self, MetadataError> {
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|err| MetadataError::Invalid { detail: format!("metadata.url must be http://host:port, got {url}: {err}") })?
            .connect_timeout(deadline)
            // The image stream has no deadline: without pings it would wait for ever on a host that vanished.
            .http2_keep_alive_interval(deadline)
            .keep_alive_timeout(deadline)
            .keep_alive_while_idle(true);
        Ok(Self::over(endpoint.connect_lazy(), deadline))
    }
}

impl<T: Transport> GrpcClient<T> {
    /// A client over `transport`; must be called within a tokio runtime, where the image is kept up to date until nobody holds it.
    pub fn over(transport: T, deadline: Duration) -> Self {
        let stub = Stub::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (sender, image) = watch::channel(Arc::new(ClusterImage::default()));
        runtime::spawn("metadata-image", follow_image(stub.clone(), deadline, sender));
        Self { stub, deadline, image }
    }

    /// Waits until the image has been received once.
    pub async fn ready(&self) -> Result<(), MetadataError> {
        let mut image = self.image.clone();
        let first = image.wait_for(|image| Revision::default() < image.revision);
        match tokio::time::timeout(self.deadline, first).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(MetadataError::Unavailable { detail: "no cluster image within the deadline".to_owned() }),
        }
    }

    async fn within<R>(&self, is_write: bool, call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, MetadataError> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(error_from_status(&status, is_write)),
            Err(_) => {
                let detail = format!("no answer within {} ms", self.deadline.as_millis());
                Err(if is_write { MetadataError::Unknown { detail } } else { MetadataError::Unavailable { detail } })
            }
        }
    }

    async fn write<R>(&self, call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, MetadataError> {
        self.within(true, call).await
    }

    async fn read<R>(&self, call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, MetadataError> {
        self.within(false, call).await
    }
}

/// Applies deltas until nobody looks at the image any more. A stream that ends, or an answer that never comes, is begun again.
async fn follow_image<T: Transport>(mut stub: Stub<T>, deadline: Duration, sender: watch::Sender<Arc<ClusterImage>>) {
    let follow = async {
        loop {
            let opened = tokio::time::timeout(deadline, stub.watch_image(proto::WatchImageRequest {})).await;
            if let Ok(Ok(response)) = opened {
                let mut deltas = response.into_inner();
                while let Ok(Some(delta)) = deltas.message().await {
                    let mut image = ClusterImage::clone(&sender.borrow());
                    if apply_delta(&mut image, delta).is_err() {
                        break;
                    }
                    sender.send_replace(Arc::new(image));
                }
            }
            tokio::time::sleep(WATCH_RETRY).await;
        }
    };
    tokio::select! {
        () = sender.closed() => {}
        () = follow => {}
    }
}

#[async_trait]
impl<T: Transport> MetadataClient for GrpcClient<T> {
    async fn register_broker(&self, request: RegisterBroker) -> Result<Registration, MetadataError> {
        Ok(self.write(self.stub.clone().register_broker(proto::RegisterBrokerRequest::from(&request))).await?.try_into()?)
    }

    async fn heartbeat(&self, request: HeartbeatRequest) -> Result<HeartbeatAnswer, MetadataError> {
        Ok(self.write(self.stub.clone().heartbeat(proto::HeartbeatRequest::from(request))).await?.into())
    }

    async fn resign_broker(&self, broker: BrokerId, epoch: BrokerEpoch) -> Result<Revision, MetadataError> {
        let request = proto::ResignBrokerRequest { broker: broker.0, epoch: epoch.0 };
        Ok(Revision(self.write(self.stub.clone().resign_broker(request)).await?.revision))
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        Ok(self.write(self.stub.clone().publish(proto::PublishRequest::from(&request))).await?.try_into()?)
    }

    async fn replace_segments(&self, request: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
        Ok(self.write(self.stub.clone().replace_segments(proto::ReplaceSegmentsRequest::from(&request))).await?.try_into()?)
    }

    async fn create_topic(&self, request: CreateTopic) -> Result<TopicCreated, MetadataError> {
        Ok(self.write(self.stub.clone().create_topic(proto::CreateTopicRequest::from(&request))).await?.try_into()?)
    }

    async fn create_partitions(&self, request: CreatePartitions) -> Result<Revision, MetadataError> {
        let call = self.write(self.stub.clone().create_partitions(proto::CreatePartitionsRequest::from(&request))).await?;
        Ok(Revision(call.revision))
    }

    async fn delete_topic(&self, topic: TopicId) -> Result<Revision, MetadataError> {
        let request = proto::DeleteTopicRequest { topic: id_bytes(topic.as_bytes()) };
        Ok(Revision(self.write(self.stub.clone().delete_topic(request)).await?.revision))
    }

    async fn alter_topic_configs(&self, request: AlterTopicConfigs) -> Result<Revision, MetadataError> {
        let call = self.write(self.stub.clone().alter_topic_configs(proto::AlterTopicConfigsRequest::from(&request))).await?;
        Ok(Revision(call.revision))
    }

    async fn alter_resource_configs(&self, request: AlterResourceConfigs) -> Result<Revision, MetadataError> {
        let call = self.write(self.stub.clone().alter_resource_configs(proto::AlterResourceConfigsRequest::from(&request))).await?;
        Ok(Revision(call.revision))
    }

    async fn alter_client_quotas(&self, request: AlterClientQuotas) -> Result<Revision, MetadataError> {
        Ok(Revision(self.write(self.stub.clone().alter_client_quotas(proto::AlterClientQuotasRequest::from(&request))).await?.revision))
    }

    async fn enforce_durability(&self, request: EnforceDurability) -> Result<Revision, MetadataError> {
        let call = self.write(self.stub.clone().enforce_durability(proto::EnforceDurabilityRequest::from(&request))).await?;
        Ok(Revision(call.revision))
    }

    async fn advance_log_start(&self, request: AdvanceLogStart) -> Result<Offset, MetadataError> {
        Ok(Offset(self.write(self.stub.clone().advance_log_start(proto::AdvanceLogStartRequest::from(request))).await?.log_start))
    }

    async fn elect_unclean(&self, partitions: Vec<TopicPartition>) -> Result<Revision, MetadataError> {
        let request = proto::ElectUncleanRequest { partitions: partitions.into_iter().map(Into::into).collect() };
        Ok(Revision(self.write(self.stub.clone().elect_unclean(request)).await?.revision))
    }

    async fn partition_states(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<PartitionState>, MetadataError> {
        let partitions = partitions.into_iter().map(Into::into).collect();
        let request = proto::PartitionStatesRequest { broker: broker.0, epoch: epoch.0, partitions };
        let answer = self.read(self.stub.clone().partition_states(request)).await?;
        Ok(answer.partitions.into_iter().map(PartitionState::try_from).collect::<Result<_, _>>()?)
    }

    async fn segments(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<SegmentPage, MetadataError> {
        let request = proto::SegmentsRequest { partition: Some(partition.into()), from: from.0, limit };
        Ok(self.read(self.stub.clone().segments(request)).await?.try_into()?)
    }

    async fn segment_at(&self, partition: TopicPartition, timestamp: Timestamp) -> Result<SegmentPage, MetadataError> {
        let request = proto::SegmentAtRequest { partition: Some(partition.into()), timestamp: timestamp.0 };
        Ok(self.read(self.stub.clone().segment_at(request)).await?.try_into()?)
    }

    async fn segment_of_max_timestamp(&self, partition: TopicPartition) -> Result<SegmentPage, MetadataError> {
        let request = proto::SegmentOfMaxTimestampRequest { partition: Some(partition.into()) };
        Ok(self.read(self.stub.clone().segment_of_max_timestamp(request)).await?.try_into()?)
    }

    async fn allocate_producer_ids(&self, count: u32) -> Result<Range<ProducerId>, MetadataError> {
        let block = self.write(self.stub.clone().allocate_producer_ids(proto::AllocateProducerIdsRequest { count })).await?;
        let end = block.first.checked_add(block.count.into());
        end.map(|end| block.first..end).ok_or_else(|| MetadataError::Invalid { detail: format!("producer ids from {}", block.first) })
    }

    async fn take_slot(&self, request: TakeSlot) -> Result<SlotTaken, MetadataError> {
        Ok(self.write(self.stub.clone().take_slot(proto::TakeSlotRequest::from(request))).await?.into())
    }

    async fn slot_rows(&self, request: SlotRows) -> Result<RowPage, MetadataError> {
        Ok(self.read(self.stub.clone().slot_rows(proto::SlotRowsRequest::from(&request))).await?.try_into()?)
    }

    async fn save_rows(&self, request: SaveRows) -> Result<Revision, MetadataError> {
        Ok(Revision(self.write(self.stub.clone().save_rows(proto::SaveRowsRequest::from(&request))).await?.revision))
    }

    fn image(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.image.clone()
    }
}
