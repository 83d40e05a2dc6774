//! Compares Siltstone with Apache Kafka: requests that real clients sent are recorded once ([`recording`]) and replayed against both
//! ([`replay`]); their answers must be the same, but for what differences.txt declares ([`differences`]).

pub mod differences;
pub mod frame;
pub mod own;
pub mod recording;
pub mod replay;
pub mod translate;
pub mod value;
