//! What in a recorded request belongs to the broker that it was recorded with, and what another broker has in its place: ids of topics,
//! by way of their names, and of fetch sessions.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestKind, ResponseKind, TopicName};
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

/// The recorded request as another broker has to be asked: `recorded` are the ids of the broker it was recorded with, `own` and
/// `sessions` those of the other. What is not known stays as it is: a client may well ask for what does not exist.
///
/// # Errors
/// When the request cannot be decoded or encoded again.
pub fn translate(exchange: &Exchange, recorded: &TopicIds, own: &TopicIds, sessions: &Sessions) -> Result<Bytes> {
    let Exchange { connection, head, request, .. } = exchange;
    let body_start = head.body_start(request)?;
    let mut body = RequestKind::decode(head.api, &mut request.slice(body_start..), head.version)?;
    let id = |id: &mut Uuid| {
        if let Some(own) = recorded.names.get(id).and_then(|name| own.ids.get(name)) {
            *id = *own;
        }
    };
    match &mut body {
        RequestKind::Metadata(body) => body.topics.iter_mut().flatten().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::Produce(body) => body.topic_data.iter_mut().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::DeleteTopics(body) => body.topics.iter_mut().for_each(|topic| id(&mut topic.topic_id)),
        RequestKind::Fetch(body) => {
            body.topics.iter_mut().for_each(|topic| id(&mut topic.topic_id));
            body.forgotten_topics_data.iter_mut().for_each(|topic| id(&mut topic.topic_id));
            if let Some(own) = sessions.0.get(&(*connection, body.session_id)) {
                body.session_id = *own;
            }
        }
        _ => return Ok(request.clone()),
    }
    let mut translated = BytesMut::from(&request[..body_start]);
    body.encode(&mut translated, head.version).with_context(|| format!("encode {:?} version {}", head.api, head.version))?;
    Ok(translated.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_request::FetchTopic;
    use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
    use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse, MetadataResponse, RequestHeader};
    use kafka_protocol::protocol::{Encodable, StrBytes};

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
        Exchange { connection: 4, head: Head::of(&request).unwrap(), request: request.freeze(), answer: None }
    }

    #[test]
    fn ids_are_replaced_by_those_of_the_same_name_and_sessions_by_those_of_the_same_connection() {
        let (mut recorded, mut own, mut sessions) = (TopicIds::default(), TopicIds::default(), Sessions::default());
        recorded.learn(&metadata(1));
        own.learn(&metadata(2));
        let session = |id| ResponseKind::Fetch(FetchResponse::default().with_session_id(id));
        sessions.learn(4, &session(70), &session(71));
        sessions.learn(5, &session(80), &session(81));

        let translated = |exchange| translate(&exchange, &recorded, &own, &sessions).unwrap();
        assert_eq!(translated(fetch(1, 70)), fetch(2, 71).request);
        assert_eq!(translated(fetch(3, 80)), fetch(3, 80).request, "what is not known stays");
    }
}
