//! The objects, without the protocol.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// An object as it was put.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) body: Bytes,
    /// Never given twice by one server.
    pub(crate) tag: String,
    pub(crate) modified: SystemTime,
    /// SHA-256 in base64, if it came with the put.
    pub(crate) sha256: Option<String>,
}

/// Why an operation on a bucket was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    /// A part is missing or not the one that was put.
    InvalidPart,
    /// Something is there already.
    Exists,
}

/// Part of a listing.
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Object)>,
    /// Whether more follow.
    pub(crate) is_truncated: bool,
}

#[derive(Default)]
pub(crate) struct Buckets(Mutex<Held>);

#[derive(Default)]
struct Held {
    buckets: HashMap<String, BTreeMap<String, Object>>,
    uploads: HashMap<String, Upload>,
    /// Of tags and upload ids.
    last: u64,
}

struct Upload {
    bucket: String,
    key: String,
    parts: BTreeMap<i32, (String, Bytes)>,
}

impl Held {
    fn bucket(&mut self, bucket: &str) -> Result<&mut BTreeMap<String, Object>, Refused> {
        self.buckets.get_mut(bucket).ok_or(Refused::NoSuchBucket)
    }

    fn next(&mut self) -> String {
        self.last += 1;
        format!("{:032x}", self.last)
    }

    fn put(&mut self, bucket: &str, key: &str, body: Bytes, sha256: Option<String>, if_absent: bool) -> Result<String, Refused> {
        let tag = self.next();
        let objects = self.bucket(bucket)?;
        if if_absent && objects.contains_key(key) {
            return Err(Refused::Exists);
        }
        objects.insert(key.to_owned(), Object { body, tag: tag.clone(), modified: now(), sha256 });
        Ok(tag)
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of its own has a clock of its own")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Buckets {
    /// Whether it was made; `false` where it is there already.
    pub(crate) fn create(&self, bucket: &str) -> bool {
        let mut held = self.0.lock();
        let is_new = !held.buckets.contains_key(bucket);
        held.buckets.entry(bucket.to_owned()).or_default();
        is_new
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        self.0.lock().buckets.get(bucket).map(|objects| objects.keys().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn open_uploads(&self) -> usize {
        self.0.lock().uploads.len()
    }

    /// Answers the object's tag.
    pub(crate) fn put(&self, bucket: &str, key: &str, body: Bytes, sha256: Option<String>, if_absent: bool) -> Result<String, Refused> {
        self.0.lock().put(bucket, key, body, sha256, if_absent)
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Result<Object, Refused> {
        self.0.lock().bucket(bucket)?.get(key).cloned().ok_or(Refused::NoSuchKey)
    }

    pub(crate) fn list(&self, bucket: &str, prefix: &str, after: &str, limit: usize) -> Result<Page, Refused> {
        let mut held = self.0.lock();
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let found = held.bucket(bucket)?.range::<str, _>((from, Bound::Unbounded));
        let mut found = found.take_while(|(key, _)| key.starts_with(prefix));
        let objects = found.by_ref().take(limit).map(|(key, object)| (key.clone(), object.clone())).collect();
        Ok(Page { objects, is_truncated: found.next().is_some() })
    }

    pub(crate) fn delete<'a>(&self, bucket: &str, keys: impl IntoIterator<Item = &'a str>) -> Result<(), Refused> {
        let mut held = self.0.lock();
        let objects = held.bucket(bucket)?;
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }

    /// Answers the upload's id.
    pub(crate) fn begin_upload(&self, bucket: &str, key: &str) -> Result<String, Refused> {
        let mut held = self.0.lock();
        held.bucket(bucket)?;
        let id = held.next();
        held.uploads.insert(id.clone(), Upload { bucket: bucket.to_owned(), key: key.to_owned(), parts: BTreeMap::new() });
        Ok(id)
    }

    /// Answers the part's tag.
    pub(crate) fn put_part(&self, id: &str, number: i32, body: Bytes) -> Result<String, Refused> {
        let mut held = self.0.lock();
        let tag = held.next();
        held.uploads.get_mut(id).ok_or(Refused::NoSuchUpload)?.parts.insert(number, (tag.clone(), body));
        Ok(tag)
    }

    /// Puts the object together from the parts with these numbers and tags, in this order.
    pub(crate) fn complete_upload(&self, id: &str, parts: &[(i32, String)], if_absent: bool) -> Result<String, Refused> {
        let mut held = self.0.lock();
        let upload = held.uploads.get(id).ok_or(Refused::NoSuchUpload)?;
        let mut body = BytesMut::new();
        for (number, tag) in parts {
            match upload.parts.get(number) {
                Some((put, part)) if put == tag => body.extend_from_slice(part),
                _ => return Err(Refused::InvalidPart),
            }
        }
        let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
        let tag = held.put(&bucket, &key, body.freeze(), None, if_absent)?;
        held.uploads.remove(id);
        Ok(tag)
    }

    pub(crate) fn give_up_upload(&self, id: &str) -> Result<(), Refused> {
        self.0.lock().uploads.remove(id).map(drop).ok_or(Refused::NoSuchUpload)
    }
}
