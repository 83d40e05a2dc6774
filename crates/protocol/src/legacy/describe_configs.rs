//! DescribeConfigs 0 (KIP-133), which says of a config only whether it is a default, not where else it comes from (until KIP-226).

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{Fields, put_array, put_nullable_string, put_string};
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 0;

/// Kafka's number for a config that nobody has set.
const DEFAULT_CONFIG: i8 = 5;

pub(super) fn decode(fields: &mut Fields<'_>) -> Result<DescribeConfigsRequest, MalformedError> {
    let resources = fields.array(|fields| {
        Ok(DescribeConfigsResource::default()
            .with_resource_type(fields.i8()?)
            .with_resource_name(fields.string()?)
            .with_configuration_keys(fields.nullable_array(Fields::string)?))
    })?;
    Ok(DescribeConfigsRequest::default().with_resources(resources))
}

pub(crate) fn encode(response: &DescribeConfigsResponse, head: &mut BytesMut) {
    head.put_i32(response.throttle_time_ms);
    put_array(head, &response.results, |head, result| {
        head.put_i16(result.error_code);
        put_nullable_string(head, result.error_message.as_deref());
        head.put_i8(result.resource_type);
        put_string(head, &result.resource_name);
        put_array(head, &result.configs, |head, config| {
            put_string(head, &config.name);
            put_nullable_string(head, config.value.as_deref());
            head.put_u8(u8::from(config.read_only));
            head.put_u8(u8::from(config.config_source == DEFAULT_CONFIG));
            head.put_u8(u8::from(config.is_sensitive));
        });
    });
}
