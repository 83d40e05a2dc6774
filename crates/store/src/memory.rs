//! Objects in memory: for tests, simulations and `memory://`. Gone with the process.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use runtime::Clock;
use types::Timestamp;

use crate::{ObjectMeta, ObjectStore, Operation, StoreError, key};

/// A store in this process's memory.
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Object>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    modified: Timestamp,
}

impl MemoryStore {
    /// Empty; objects take their time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { objects: Mutex::default(), clock }
    }

    fn object(&self, key: &str) -> Result<Object, StoreError> {
        self.objects.lock().get(key).cloned().ok_or_else(|| StoreError::not_found(key))
    }
}

/// Whether `key` lies in the folder `folder`.
fn is_below(key: &str, folder: &str) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The key that is a folder of `key`, or that has `key` as a folder.
fn clash<'a>(objects: &'a BTreeMap<String, Object>, key: &str) -> Option<&'a str> {
    let inside = objects.range(format!("{key}/")..).next().map(|(other, _)| other.as_str()).filter(|other| is_below(other, key));
    let mut folders = key.match_indices('/').map(|(slash, _)| &key[..slash]);
    inside.or_else(|| folders.find_map(|folder| objects.get_key_value(folder)).map(|(other, _)| other.as_str()))
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        key::check(Operation::Put, key)?;
        let mut objects = self.objects.lock();
        if objects.contains_key(key) {
            return Err(StoreError::already_exists(key));
        }
        if let Some(other) = clash(&objects, key) {
            return Err(StoreError::refused(Operation::Put, key, format!("one of this key and {other} would be the other's folder")));
        }
        let mut body = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        parts.iter().for_each(|part| body.extend_from_slice(part));
        objects.insert(key.to_owned(), Object { body: body.freeze(), modified: Timestamp(self.clock.wall_ms()) });
        Ok(())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        key::check(Operation::GetRange, key)?;
        if !key::check_range(key, &range)? {
            return Ok(Bytes::new());
        }
        let body = self.object(key)?.body;
        let length = body.len() as u64;
        if length < range.end {
            return Err(StoreError::corrupt(key, format!("has {length} bytes, the range {range:?} was asked for")));
        }
        Ok(body.slice(range.start as usize..range.end as usize))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        key::check(Operation::Get, key)?;
        let body = self.object(key)?.body;
        if limit < body.len() as u64 {
            return Err(StoreError::corrupt(key, format!("has {} bytes, at most {limit} were expected", body.len())));
        }
        Ok(body)
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        key::check(Operation::Head, key)?;
        let object = self.object(key)?;
        Ok(ObjectMeta { key: key.to_owned(), length: object.body.len() as u64, modified: object.modified })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let from = match after {
            Some(after) if prefix <= after => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = self.objects.lock();
        let found = objects.range::<str, _>((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found
            .map(|(key, object)| ObjectMeta { key: key.clone(), length: object.body.len() as u64, modified: object.modified })
            .collect())
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut objects = self.objects.lock();
        keys.iter()
            .map(|key| {
                key::check(Operation::Delete, key)?;
                objects.remove(key);
                Ok(())
            })
            .collect()
    }
}
