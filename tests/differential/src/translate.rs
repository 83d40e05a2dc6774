//! What in a recorded request belongs to the broker that it was recorded with, and what another broker has in its place: ids of topics,
//! by way of their names, of fetch sessions and of groups' members, and the members' epochs.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::recording::Exchange;

/// Ids of topics as one broker gave them.
#[derive(Clone, Default, Debug)]
pub struct TopicIds {
    names: HashMap<Uuid, String>,
    ids: HashMap<String, Uuid>,
}

impl TopicIds {
    /// Learns what an answer says.
    pub fn learn(&mut self, answer: &ResponseKind) {
        for (name, id) in named_ids(answer) {
            self.names.insert(id, name.clone());
            self.ids.insert(name, id);
        }
    }

    /// The names by their ids, also of topics that are gone.
    pub fn names(&self) -> &HashMap<Uuid, String> {
        &self.names
    }
}

fn named_ids(answer: &ResponseKind) -> Vec<(String, Uuid)> {
    let named = |name: &TopicName, id: Uuid| (!id.is_nil()).then(|| (name.to_string(), id));
    match answer {
        ResponseKind::Metadata(body) => {
            body.topics.iter().filter_map(|topic| topic.name.as_ref().and_then(|name| named(name, topic.topic_id))).collect()
        }
        ResponseKind::CreateTopics(body) => body.topics.iter().filter_map(|topic| named(&topic.name, topic.topic_id)).collect(),
        ResponseKind::DescribeTopicPartitions(body) => {
            body.topics.iter().filter_map(|topic| topic.name.as_ref().and_then(|name| named(name, topic.topic_id))).collect()
        }
        _ => Vec::new(),
    }
}

/// Fetch sessions of the recorded broker, by connection, and the other broker's in their place.
#[derive(Clone, Default, Debug)]
pub struct Sessions(HashMap<(u32, i32), i32>);

impl Sessions {
    /// Learns from the recorded and the other broker's answer to the same request.
    pub fn learn(&mut self, connection: u32, recorded: &ResponseKind, own: &ResponseKind) {
        if let (ResponseKind::Fetch(recorded), ResponseKind::Fetch(own)) = (recorded, own)
            && recorded.session_id != 0
        {
            self.0.insert((connection, recorded.session_id), own.session_id);
        }
    }
}

/// Members of the recorded broker's groups, and the other broker's in their place.
#[derive(Clone, Default, Debug)]
pub struct Members {
    own: HashMap<String, String>,
    recorded: HashMap<String, String>,
    /// By the member's recorded id and its recorded epoch (KIP-848).
    epochs: HashMap<(String, i32), i32>,
}

impl Members {
    /// Learns from the recorded and the other broker's answer to the same request.
    ///
    /// # Errors
    /// When the request cannot be decoded.
    pub fn learn(&mut self, exchange: &Exchange, recorded: &ResponseKind, own: &ResponseKind) -> Result<()> {
        match (recorded, own) {
            (ResponseKind::JoinGroup(recorded), ResponseKind::JoinGroup(own)) => {
                self.learn_id(&recorded.member_id, &own.member_id);
            }
            (ResponseKind::ConsumerGroupHeartbeat(recorded), ResponseKind::ConsumerGroupHeartbeat(own)) => {
                let (id, epochs) = (|id: &Option<StrBytes>| id.as_deref().unwrap_or_default().to_owned(), &mut self.epochs);
                if let (_, RequestKind::ConsumerGroupHeartbeat(request)) = decode(exchange)? {
                    let member = if request.member_id.is_empty() { id(&recorded.member_id) } else { request.member_id.to_string() };
                    epochs.insert((member, recorded.member_epoch), own.member_epoch);
                }
                self.learn_id(&id(&recorded.member_id), &id(&own.member_id));
            }
            _ => {}
        }
        Ok(())
    }

    fn learn_id(&mut self, recorded: &str, own: &str) {
        // A member keeps its id: that another one comes later is for the comparison to see.
        if !recorded.is_empty() && !own.is_empty() && !self.own.contains_key(recorded) {
            self.own.insert(recorded.to_owned(), own.to_owned());
            self.recorded.insert(own.to_owned(), recorded.to_owned());
        }
    }

    /// The recorded ids by the other broker's.
    pub fn recorded(&self) -> &HashMap<String, String> {
        &self.recorded
    }

    fn translate(&self, id: &mut StrBytes) {
        if let Some(own) = self.own.get(id.as_str()) {
            *id = StrBytes::from_string(own.clone());
        }
    }

    fn translate_with_epoch(&self, id: &mut StrBytes, epoch: &mut i32) {
        if let Some(own) = self.epochs.get(&(id.to_string(), *epoch)) {
            *epoch = *own;
        }
        self.translate(id);
    }
}

/// What a broker has in the place of what a recording names.
#[derive(Clone, Default, Debug)]
pub struct Known {
    /// Its topics.
    pub ids: TopicIds,
    /// Its fetch sessions.
    pub sessions: Sessions,
    /// Its groups' members.
    pub members: Members,
}

fn decode(exchange: &Exchange) -> Result<(usize, RequestKind)> {
    let Exchange { head, request, .. } = exchange;
    let body_start = head.body_start(request)?;
    Ok((body_start, RequestKind::decode(head.api, &mut request.slice(body_start..), head.version)?))
}

/// The recorded request as another broker has to be asked: `recorded` are the ids of the broker it was recorded with, `own` is what the
/// other has. What is not known stays as it is: a client may well ask for what does not exist.
///
/// # Errors
/// When the request cannot be decoded or encoded again.
pub fn translate(exchange: &Exchange, recorded: &TopicIds, own: &Known) -> Result<Bytes> {
    let Exchange { connection, head, request, .. } = exchange;
    let (body_start, mut body) = decode(exchange)?;
    let id = |id: &mut Uuid| {
        if let Some(own) = recorded.names.get(id).and_then(|name| own.ids.ids.get(name)) {
            *id = *own;
        }
    };
    let members = &own.members;
    match &mut body {
        RequestKind::Metadata(body) => body.topics.iter_mut().flatten().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::Produce(body) => body.topic_data.iter_mut().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::DeleteTopics(body) => body.topics.iter_mut().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::Fetch(body) => {
            body.topics.iter_mut().for_each(|topic| id(&mut topic.topic_id));
            body.forgotten_topics_data.iter_mut().for_each(|topic| id(&mut topic.topic_id));
            if let Some(own) = own.sessions.0.get(&(*connection, body.session_id)) {
                body.session_id = *own;
            }
        }
        RequestKind::JoinGroup(body) => members.translate(&mut body.member_id),
        RequestKind::SyncGroup(body) => {
            members.translate(&mut body.member_id);
            body.assignments.iter_mut().for_each(|assignment| members.translate(&mut assignment.member_id));
        }
        RequestKind::Heartbeat(body) => members.translate(&mut body.member_id),
        RequestKind::LeaveGroup(body) => {
            members.translate(&mut body.member_id);
            body.members.iter_mut().for_each(|member| members.translate(&mut member.member_id));
        }
        RequestKind::OffsetCommit(body) => members.translate_with_epoch(&mut body.member_id, &mut body.generation_id_or_member_epoch),
        RequestKind::OffsetFetch(body) => {
            for group in &mut body.groups {
                if let Some(id) = &mut group.member_id {
                    members.translate_with_epoch(id, &mut group.member_epoch);
                }
            }
        }
        RequestKind::ConsumerGroupHeartbeat(body) => {
            members.translate_with_epoch(&mut body.member_id, &mut body.member_epoch);
            body.topic_partitions.iter_mut().flatten().for_each(|topic| id(&mut topic.topic_id));
        }
        _ => return Ok(request.clone()),
    }
    let mut translated = BytesMut::from(&request[..body_start]);
    body.encode(&mut translated, head.version).with_context(|| format!("encode {:?} version {}", head.api, head.version))?;
    Ok(translated.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
    use kafka_protocol::messages::fetch_request::FetchTopic;
    use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
    use kafka_protocol::messages::{
        ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, JoinGroupResponse,
        MetadataResponse, RequestHeader,
    };
    use kafka_protocol::protocol::Encodable;

    use super::*;
    use crate::frame::Head;

    fn metadata(id: u128) -> ResponseKind {
        let name = TopicName(StrBytes::from_static_str("orders"));
        let topic = MetadataResponseTopic::default().with_name(Some(name)).with_topic_id(Uuid::from_u128(id));
        ResponseKind::Metadata(MetadataResponse::default().with_topics(vec![topic]))
    }

    fn fetch(id: u128, session: i32) -> Exchange {
        let mut request = BytesMut::new();
        let header = RequestHeader::default().with_request_api_key(ApiKey::Fetch as i16).with_request_api_version(17);
        header.encode(&mut request, ApiKey::Fetch.request_header_version(17)).unwrap();
        let topic = FetchTopic::default().with_topic_id(Uuid::from_u128(id));
        FetchRequest::default().with_session_id(session).with_topics(vec![topic]).encode(&mut request, 17).unwrap();
        Exchange { connection: 4, head: Head::of(&request).unwrap(), request: request.freeze(), answer: None, answered_after: 1 }
    }

    #[test]
    fn ids_are_replaced_by_those_of_the_same_name_and_sessions_by_those_of_the_same_connection() {
        let (mut recorded, mut own) = (TopicIds::default(), Known::default());
        recorded.learn(&metadata(1));
        own.ids.learn(&metadata(2));
        let session = |id| ResponseKind::Fetch(FetchResponse::default().with_session_id(id));
        own.sessions.learn(4, &session(70), &session(71));
        own.sessions.learn(5, &session(80), &session(81));

        let translated = |exchange| translate(&exchange, &recorded, &own).unwrap();
        assert_eq!(translated(fetch(1, 70)), fetch(2, 71).request);
        assert_eq!(translated(fetch(3, 80)), fetch(3, 80).request, "what is not known stays");
    }

    /// A heartbeat of the consumer protocol in version 1, where the member makes up its id.
    fn heartbeat(member: &'static str, epoch: i32, topic: u128) -> Exchange {
        let mut request = BytesMut::new();
        let header = RequestHeader::default().with_request_api_key(ApiKey::ConsumerGroupHeartbeat as i16).with_request_api_version(1);
        header.encode(&mut request, ApiKey::ConsumerGroupHeartbeat.request_header_version(1)).unwrap();
        let owned = TopicPartitions::default().with_topic_id(Uuid::from_u128(topic));
        let body = ConsumerGroupHeartbeatRequest::default().with_member_id(StrBytes::from_static_str(member)).with_member_epoch(epoch);
        body.with_topic_partitions(Some(vec![owned])).encode(&mut request, 1).unwrap();
        Exchange { connection: 4, head: Head::of(&request).unwrap(), request: request.freeze(), answer: None, answered_after: 1 }
    }

    #[test]
    fn members_have_the_epochs_and_ids_that_their_broker_gave_them() {
        let (mut recorded, mut own) = (TopicIds::default(), Known::default());
        recorded.learn(&metadata(1));
        own.ids.learn(&metadata(2));
        let id = StrBytes::from_static_str;
        let joined = |name| ResponseKind::JoinGroup(JoinGroupResponse::default().with_member_id(id(name)));
        let at = |epoch| ResponseKind::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse::default().with_member_epoch(epoch));
        own.members.learn(&heartbeat("a", 0, 1), &joined("a"), &joined("x")).unwrap();
        own.members.learn(&heartbeat("a", 0, 1), &joined("a"), &joined("y")).unwrap();
        own.members.learn(&heartbeat("a", 0, 1), &at(1), &at(2)).unwrap();
        own.members.learn(&heartbeat("b", 0, 1), &at(1), &at(3)).unwrap();
        assert_eq!(own.members.recorded(), &HashMap::from([("x".to_owned(), "a".to_owned())]));

        let translated = |exchange| translate(&exchange, &recorded, &own).unwrap();
        assert_eq!(translated(heartbeat("a", 1, 1)), heartbeat("x", 2, 2).request);
        assert_eq!(translated(heartbeat("b", 1, 3)), heartbeat("b", 3, 3).request);
        assert_eq!(translated(heartbeat("a", 9, 1)), heartbeat("x", 9, 2).request);
    }
}
