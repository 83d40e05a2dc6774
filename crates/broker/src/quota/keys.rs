//! The keys of client quotas (KIP-13, KIP-124, KIP-599, KIP-612): whom each may be set for, and what its values may be.

use metadata_api::{ClientQuotaEntity, QuotaValue};
use protocol::ErrorCode;

use crate::handlers::refusal::Refusal;

/// Bytes of Produce requests per second.
pub(super) const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes of record batches fetched per second.
pub(super) const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";

/// Topics' partitions created and deleted per second (KIP-599).
pub(super) const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Connections per second.
pub(super) const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// How far an integral value may lie from a whole number; Kafka's.
const EPSILON: f64 = 1e-6;

/// Kafka's types of values.
enum Kind {
    Int,
    Long,
    Double,
}

struct Key {
    name: &'static str,
    kind: Kind,
    /// For addresses; the others are for users and client ids.
    of_ips: bool,
}

const fn key(name: &'static str, kind: Kind, of_ips: bool) -> Key {
    Key { name, kind, of_ips }
}

const KEYS: [Key; 5] = [
    key(PRODUCER_BYTE_RATE, Kind::Long, false),
    key(CONSUMER_BYTE_RATE, Kind::Long, false),
    key("request_percentage", Kind::Double, false),
    key(CONTROLLER_MUTATION_RATE, Kind::Double, false),
    key(CONNECTION_CREATION_RATE, Kind::Int, true),
];

/// The value as it is kept.
///
/// # Errors
/// Kafka's, in its words: a key that entities of this kind do not have, a value that is not above 0, too large, or not whole where it
/// must be.
pub(crate) fn check(entity: &ClientQuotaEntity, key: &str, value: f64) -> Result<QuotaValue, Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let of_ips = matches!(entity, ClientQuotaEntity::Ip(_));
    let Some(found) = KEYS.iter().find(|found| found.name == key && found.of_ips == of_ips) else {
        return refuse(format!("Invalid configuration key {key}"));
    };
    let Some(kept) = QuotaValue::new(value) else { return refuse(format!("Quota {key} must be greater than 0")) };
    let largest = match found.kind {
        Kind::Double => return Ok(kept),
        Kind::Int if f64::from(i32::MAX) < value => "an INT",
        Kind::Long if i64::MAX as f64 <= value => "a LONG",
        Kind::Int | Kind::Long if EPSILON < value.fract() => return refuse(format!("{key} cannot be a fractional value.")),
        Kind::Int | Kind::Long => return Ok(kept),
    };
    refuse(format!("Proposed value for {key} is too large for {largest}."))
}

#[cfg(test)]
mod tests {
    use metadata_api::QuotaEntityName;

    use super::*;

    #[test]
    fn keys_and_values_are_checked_in_kafkas_words() {
        let client = ClientQuotaEntity::ClientId(QuotaEntityName::Default);
        let ip = ClientQuotaEntity::Ip(QuotaEntityName::Default);
        let good = [
            (&client, PRODUCER_BYTE_RATE, 1.0),
            (&client, CONSUMER_BYTE_RATE, 1_235.000_000_1),
            (&client, "request_percentage", 56.623_67),
            (&client, "controller_mutation_rate", 0.1),
            (&ip, "connection_creation_rate", f64::from(i32::MAX)),
        ];
        for (entity, key, value) in good {
            assert_eq!(check(entity, key, value).ok().map(QuotaValue::get), Some(value), "{key}");
        }
        let refused = [
            (&client, "bytes", 1.0, "Invalid configuration key bytes"),
            (&client, "connection_creation_rate", 1.0, "Invalid configuration key connection_creation_rate"),
            (&ip, PRODUCER_BYTE_RATE, 1.0, "Invalid configuration key producer_byte_rate"),
            (&client, CONSUMER_BYTE_RATE, -2.0, "Quota consumer_byte_rate must be greater than 0"),
            (&client, "request_percentage", 0.0, "Quota request_percentage must be greater than 0"),
            (&client, "request_percentage", f64::NAN, "Quota request_percentage must be greater than 0"),
            (&client, PRODUCER_BYTE_RATE, 36_893_488_147_419_103_232.4, "Proposed value for producer_byte_rate is too large for a LONG."),
            (&client, PRODUCER_BYTE_RATE, f64::INFINITY, "Proposed value for producer_byte_rate is too large for a LONG."),
            (&ip, "connection_creation_rate", 2_147_483_648.0, "Proposed value for connection_creation_rate is too large for an INT."),
            (&client, PRODUCER_BYTE_RATE, 2.245, "producer_byte_rate cannot be a fractional value."),
        ];
        for (entity, key, value, text) in refused {
            let refusal = check(entity, key, value).unwrap_err();
            assert_eq!((refusal.code, &*refusal.message), (ErrorCode::InvalidRequest, text));
        }
    }
}
