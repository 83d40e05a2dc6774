//! Uploads that end in certainty, over a store whose answers may be lost.
//!
//! A put whose answer was lost may land at any later time. That does no harm, because every attempt under a key carries the same bytes
//! and is refused once something is there (rule R9). What "something" is, is found out by reading it.

use std::time::Duration;

use bytes::Bytes;
use runtime::{Backoff, Random};

use crate::{ObjectStore, StoreError};

/// A default for [`put_verified`]: patient enough for a throttled start, short enough that the caller hears of an outage.
pub const UPLOAD_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.5, budget: Duration::from_secs(60) };

/// How much of an object is held at once to compare it.
const COMPARE_BYTES: u64 = 8 * 1024 * 1024;

/// What an object is to hold. Length and checksum are fixed before the first attempt.
#[derive(Clone, Debug)]
pub struct Body {
    parts: Vec<Bytes>,
    length: u64,
    crc: u32,
}

impl Body {
    /// Reads all of `parts` once to compute the checksum.
    pub fn new(parts: Vec<Bytes>) -> Self {
        let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        Self::with_checksum(parts, crc)
    }

    /// With the CRC-32C of the concatenated parts, computed while they were made.
    pub fn with_checksum(parts: Vec<Bytes>, crc: u32) -> Self {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts, length, crc }
    }

    /// In order; concatenated they are the object.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// CRC-32C (Castagnoli) of all bytes.
    pub fn crc(&self) -> u32 {
        self.crc
    }
}

/// Puts `body` under `key` and returns `Ok` only when the store surely holds exactly these bytes there, durably.
///
/// Repeats within `backoff`, always with the same bytes. Errors:
/// - `AlreadyExists`: other bytes are there. Take a new key.
/// - `Unknown`: the budget is spent and an attempt may still land. Call again with the same body, or take a new key and count this one
///   as garbage; never take it for absent.
/// - `Unavailable`: the budget is spent, and surely nothing of ours was stored.
/// - `Refused`: a person has to act; surely nothing of ours was stored.
pub async fn put_verified(store: &dyn ObjectStore, key: &str, body: &Body, backoff: Backoff, random: &Random) -> Result<(), StoreError> {
    let mut retries = backoff.start();
    // The first attempt whose outcome nobody knows: after it, no later answer proves that nothing was or will be stored.
    let mut in_doubt: Option<StoreError> = None;
    loop {
        let failure = match attempt(store, key, body).await {
            Ok(()) => return Ok(()),
            Err(differs @ StoreError::AlreadyExists { .. }) => return Err(differs),
            Err(failure) => failure,
        };
        let passing = is_passing(&failure);
        if matches!(failure, StoreError::Unknown { .. }) {
            in_doubt.get_or_insert_with(|| failure.clone());
        }
        if !passing || !retries.wait(random).await {
            return Err(in_doubt.unwrap_or(failure));
        }
    }
}

fn is_passing(failure: &StoreError) -> bool {
    match failure {
        // Found, and gone when it was compared: a listing or a HEAD that lags.
        StoreError::NotFound { .. } | StoreError::Unknown { .. } | StoreError::Unavailable { .. } => true,
        StoreError::AlreadyExists { .. } | StoreError::Refused { .. } | StoreError::Corrupt { .. } => false,
    }
}

/// One put. If something is there already it succeeds when that is our own; `AlreadyExists` means that it is not.
async fn attempt(store: &dyn ObjectStore, key: &str, body: &Body) -> Result<(), StoreError> {
    match store.put(key, body.parts.clone()).await {
        Err(StoreError::AlreadyExists { .. }) if holds(store, key, body).await? => Ok(()),
        answer => answer,
    }
}

/// Whether the object consists of exactly these bytes, by length and checksum.
async fn holds(store: &dyn ObjectStore, key: &str, body: &Body) -> Result<bool, StoreError> {
    if store.head(key).await?.length != body.length {
        return Ok(false);
    }
    let mut crc = 0;
    let mut position = 0;
    while position < body.length {
        let end = body.length.min(position + COMPARE_BYTES);
        crc = crc32c::crc32c_append(crc, &store.get_range(key, position..end).await?);
        position = end;
    }
    Ok(crc == body.crc)
}

#[cfg(test)]
mod tests;
