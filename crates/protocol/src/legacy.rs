//! The versions that Kafka 4 dropped (KIP-896) and that clients of its first years still send: Produce 0 to 2, Fetch 0 to 3,
//! ListOffsets 0, OffsetCommit 0 and 1, CreateTopics 0 and 1, DeleteTopics 0, DescribeConfigs 0. kafka-protocol has their
//! schemas no longer, so they are read and written here.
//!
//! All are of fixed layout: big-endian numbers, strings behind a 16-bit length, bytes and arrays behind a 32-bit one, -1 for null, no
//! tagged fields. A request becomes the structure of its newer versions; only ListOffsets 0 asks for what those cannot say, and has
//! types of its own. Fetch answers of every version are written by [`crate::FetchResponse`].

pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod describe_configs;
mod fetch;
pub(crate) mod list_offsets;
pub(crate) mod offset_commit;
pub(crate) mod produce;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::wire::{MalformedError, Reader};
use crate::{ApiKey, Request};

/// Decodes `body` if kafka-protocol cannot; `None` for the versions that it can. To be called for what has passed the guard, which
/// bounds what the arrays in it take.
pub(crate) fn decode(api: ApiKey, version: i16, body: &Bytes) -> Option<Result<Request, MalformedError>> {
    let mut fields = Fields { reader: Reader::new(body), body };
    let request = match (api, version) {
        (ApiKey::Produce, ..=produce::LAST) => produce::decode(&mut fields).map(Request::Produce),
        (ApiKey::Fetch, ..=fetch::LAST) => fetch::decode(&mut fields, version).map(Request::Fetch),
        (ApiKey::ListOffsets, ..=list_offsets::LAST) => list_offsets::decode(&mut fields).map(Request::ListOffsetsV0),
        (ApiKey::OffsetCommit, ..=offset_commit::LAST) => offset_commit::decode(&mut fields, version).map(Request::OffsetCommit),
        (ApiKey::CreateTopics, ..=create_topics::LAST) => create_topics::decode(&mut fields, version).map(Request::CreateTopics),
        (ApiKey::DeleteTopics, ..=delete_topics::LAST) => delete_topics::decode(&mut fields).map(Request::DeleteTopics),
        (ApiKey::DescribeConfigs, ..=describe_configs::LAST) => describe_configs::decode(&mut fields).map(Request::DescribeConfigs),
        _ => return None,
    };
    Some(request)
}

/// Reads a body's fields one after the other. Strings and bytes are slices of the body.
struct Fields<'a> {
    reader: Reader<'a>,
    body: &'a Bytes,
}

impl Fields<'_> {
    fn bool(&mut self) -> Result<bool, MalformedError> {
        Ok(self.reader.take(1)? != [0])
    }

    fn i8(&mut self) -> Result<i8, MalformedError> {
        self.reader.i8()
    }

    fn i16(&mut self) -> Result<i16, MalformedError> {
        self.reader.i16()
    }

    fn i32(&mut self) -> Result<i32, MalformedError> {
        self.reader.i32()
    }

    fn i64(&mut self) -> Result<i64, MalformedError> {
        self.reader.i64()
    }

    fn string(&mut self) -> Result<StrBytes, MalformedError> {
        self.nullable_string()?.ok_or_else(|| self.reader.null())
    }

    fn nullable_string(&mut self) -> Result<Option<StrBytes>, MalformedError> {
        let Some(length) = self.reader.string_length(false)? else { return Ok(None) };
        let start = self.reader.position();
        self.reader.utf8(length)?;
        Ok(Some(StrBytes::from_utf8(self.body.slice(start..start + length)).expect("just found to be UTF-8")))
    }

    fn topic_name(&mut self) -> Result<TopicName, MalformedError> {
        self.string().map(TopicName)
    }

    fn nullable_bytes(&mut self) -> Result<Option<Bytes>, MalformedError> {
        let Some(length) = self.reader.length(false)? else { return Ok(None) };
        let start = self.reader.position();
        self.reader.take(length)?;
        Ok(Some(self.body.slice(start..start + length)))
    }

    fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Result<T, MalformedError>) -> Result<Vec<T>, MalformedError> {
        self.nullable_array(element)?.ok_or_else(|| self.reader.null())
    }

    fn nullable_array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, MalformedError>,
    ) -> Result<Option<Vec<T>>, MalformedError> {
        let Some(count) = self.reader.length(false)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }
}

fn put_array<T>(head: &mut BytesMut, elements: &[T], mut put: impl FnMut(&mut BytesMut, &T)) {
    head.put_i32(i32::try_from(elements.len()).expect("what a frame holds has at most 2^31-1 bytes"));
    elements.iter().for_each(|element| put(head, element));
}

/// Cut where the length ends: a name came behind such a length itself, and of a message for people the beginning will do.
fn put_string(head: &mut BytesMut, text: &str) {
    let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
    head.put_i16(text.len() as i16);
    head.put_slice(text.as_bytes());
}

fn put_nullable_string(head: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(head, text),
        None => head.put_i16(-1),
    }
}

#[cfg(test)]
mod tests;
