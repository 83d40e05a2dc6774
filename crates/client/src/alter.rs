//! Administration of topics that exist: the number of their partitions, the leader of one that has none.

use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::{CreatePartitionsRequest, ElectLeadersRequest};

use crate::admin::TOPIC_TIMEOUT_MS;
use crate::client::topic_name;
use crate::{Client, ClientError};

/// `ElectionType` that gives up what only a lost log holds.
const UNCLEAN: i8 = 1;

impl Client {
    /// Grows a topic to `total` partitions.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which describing the topic resolves.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<CreatePartitionsRequest>()?;
        let grown = CreatePartitionsTopic::default().with_name(topic_name(topic)).with_count(total).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(TOPIC_TIMEOUT_MS);
        let response = connection.request(version, &request).await?;
        let what = || format!("growing topic {topic} to {total} partitions");
        let result = response.results.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(topic).await;
        Ok(())
    }

    /// Gives a partition that has lost its leader another, although what the old one had not published is lost by that.
    ///
    /// # Errors
    /// The broker's refusal, also where the partition has a leader; an unknown outcome when the connection fails.
    pub async fn elect_unclean_leader(&self, topic: &str, partition: i32) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<ElectLeadersRequest>()?;
        let what = || format!("electing a leader of {topic}-{partition}");
        // A broker that does not know the kind of election would take the request for a harmless one.
        if version < 1 {
            return Err(ClientError::NoCommonVersion { address: connection.address().to_owned(), api: "ElectLeaders 1".to_owned() });
        }
        let partitions = TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = ElectLeadersRequest::default()
            .with_election_type(UNCLEAN)
            .with_topic_partitions(Some(vec![partitions]))
            .with_timeout_ms(TOPIC_TIMEOUT_MS);
        let response = connection.request(version, &request).await?;
        ClientError::check(what, response.error_code, None)?;
        let mut results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let result = results.next().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(topic).await;
        Ok(())
    }
}
