//! DeleteTopics 0 (KIP-4).

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::{Fields, put_array, put_string};
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 0;

pub(super) fn decode(fields: &mut Fields<'_>) -> Result<DeleteTopicsRequest, MalformedError> {
    Ok(DeleteTopicsRequest::default().with_topic_names(fields.array(Fields::topic_name)?).with_timeout_ms(fields.i32()?))
}

pub(crate) fn encode(response: &DeleteTopicsResponse, head: &mut BytesMut) {
    put_array(head, &response.responses, |head, topic| {
        put_string(head, topic.name.as_ref().map_or("", |name| name));
        head.put_i16(topic.error_code);
    });
}
