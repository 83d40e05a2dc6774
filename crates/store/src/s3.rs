//! Objects in a bucket of S3 or of something that speaks like it.
//!
//! `object_store` builds, signs and parses; its own retries are off. What may be repeated, and what an answer means for the caller, is
//! decided here: a conditional put is attempted once, because only the caller can tell its own earlier attempt from a stranger's
//! object; everything else is repeated within [`RETRIES`].
//!
//! Bodies are signed (SHA-256), also over TLS: the store refuses a body that changed on its way, so the answer to a put says that it
//! holds our bytes.

mod answer;
mod bucket;
mod credentials;
#[cfg(test)]
mod fake;
mod probe;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetRange, GetResult, ObjectStore as _, PutMode, PutPayload, RetryConfig};
use runtime::{Backoff, Clock, Random};
use types::Timestamp;

use self::answer::{Answers, Dates, Failure};
pub(crate) use self::bucket::create as create_bucket;
use self::credentials::CachedCredentials;
use crate::open::S3Location;
use crate::{ObjectMeta, ObjectStore, OpenError, Operation, S3Options, StoreError, key};

/// For calls that can be repeated without a thought: get, head, list, delete.
const RETRIES: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 0.5, budget: Duration::from_secs(15) };

/// How long one attempt may take, apart from moving its body.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The slowest transfer of a body that is waited for, in bytes per second.
const SLOWEST_TRANSFER: u64 = 1024 * 1024;

const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Keys in one answer to a list, and in one request to delete: S3's limit for both.
const PAGE: usize = 1000;

const DEFAULT_REGION: &str = "us-east-1";

/// A prefix of a bucket.
pub(crate) struct S3Store {
    client: AmazonS3,
    location: S3Location,
    options: S3Options,
    credentials: Arc<CachedCredentials>,
    dates: Dates,
    retries: Backoff,
    time_limit: Duration,
    random: Arc<Random>,
}

impl S3Store {
    /// Takes region and credentials from the AWS configuration.
    pub(crate) async fn unasked(
        location: S3Location,
        options: &S3Options,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Result<Self, OpenError> {
        let (options, credentials) = configured(options, clock).await;
        Self::new(location, &options, credentials, random)
    }

    fn new(location: S3Location, options: &S3Options, credentials: Arc<CachedCredentials>, random: Arc<Random>) -> Result<Self, OpenError> {
        let dates = Dates::default();
        let builder = builder(&location, options, Arc::clone(&credentials)).with_http_connector(Answers::new(dates.clone()));
        let client = builder.build().map_err(|error| OpenError::Refused { url: location.url(), detail: error.to_string() })?;
        Ok(Self { client, location, options: options.clone(), credentials, dates, retries: RETRIES, time_limit: TIME_LIMIT, random })
    }

    /// For people.
    fn endpoint(&self) -> &str {
        self.options.endpoint.as_deref().unwrap_or("AWS")
    }

    fn path(&self, operation: Operation, key: &str) -> Result<Path, StoreError> {
        key::check(operation, key)?;
        Path::parse(format!("{}{key}", self.location.prefix)).map_err(|error| StoreError::refused(operation, key, error.to_string()))
    }

    /// One attempt, with a time limit that allows for `bytes` of body.
    async fn attempt<T>(
        &self,
        operation: Operation,
        key: &str,
        bytes: u64,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let limit = self.time_limit + Duration::from_secs(bytes / SLOWEST_TRANSFER);
        let failure = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::TimedOut(limit),
        };
        if failure.says_credentials_expired() {
            self.credentials.forget().await;
        }
        Err(failure.explain(operation, key, &self.location.bucket, self.endpoint()))
    }

    /// Attempts until it succeeds, fails for good, or the budget is spent.
    async fn repeat<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut retries = self.retries.start();
        loop {
            let answer = call().await;
            let passing = matches!(answer, Err(StoreError::Unavailable { .. } | StoreError::Unknown { .. }));
            if !passing || !retries.wait(&self.random).await {
                return answer;
            }
        }
    }

    async fn fetch(&self, operation: Operation, key: &str, options: GetOptions, limit: u64) -> Result<Bytes, StoreError> {
        let path = self.path(operation, key)?;
        let wanted = options.range.clone();
        self.repeat(|| async {
            let answer = self.attempt(operation, key, 0, self.client.get_opts(&path, options.clone())).await?;
            check_answer(key, &answer, wanted.as_ref(), limit)?;
            let length = answer.range.end - answer.range.start;
            let body = self.attempt(operation, key, length, gather(answer.into_stream(), length)).await?;
            if body.len() as u64 != length {
                return Err(StoreError::corrupt(key, format!("the body of {length} bytes came with {}", body.len())));
            }
            Ok(body)
        })
        .await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        token: Option<String>,
    ) -> Result<(Vec<ObjectMeta>, Option<String>), StoreError> {
        let full = format!("{}{prefix}", self.location.prefix);
        let options = PaginatedListOptions {
            offset: after.map(|after| format!("{}{after}", self.location.prefix)),
            max_keys: Some(limit.min(PAGE)),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let call = self.client.list_paginated(Some(&full).filter(|full| !full.is_empty()).map(String::as_str), options);
        let page = self.attempt(Operation::List, prefix, 0, call).await?;
        let objects = page.result.objects.into_iter().filter_map(|meta| {
            let key = meta.location.as_ref().strip_prefix(&self.location.prefix)?.to_owned();
            Some(ObjectMeta { key, length: meta.size, modified: Timestamp(meta.last_modified.timestamp_millis()) })
        });
        Ok((objects.collect(), page.page_token))
    }

    /// Deletes at most a page. A store that is busy with one key fails the whole page in `object_store`; repeating that does no harm.
    async fn delete_page(&self, keys: &[String]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let paths = keys.iter().map(|key| self.path(Operation::Delete, key)).collect::<Result<Vec<_>, _>>()?;
        // The time limit covers the page: its answers arrive together.
        let call = async {
            let mut answers = self.client.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed()).collect::<Vec<_>>().await;
            let is_whole = |answer: &object_store::Result<Path>| answer.as_ref().is_err_and(|error| !Failure::of(error).is_of_one_key());
            match answers.iter().position(is_whole) {
                // A request that failed as a whole has one answer for all its keys.
                Some(whole) => answers.swap_remove(whole).map(|_| Vec::new()),
                None => Ok(answers),
            }
        };
        let answers = self.attempt(Operation::Delete, &keys[0], 0, call).await?;
        if answers.len() != keys.len() {
            let detail = format!("{} answers for {} keys", answers.len(), keys.len());
            return Err(StoreError::unavailable(Operation::Delete, &keys[0], detail));
        }
        let explained = keys.iter().zip(answers).map(|(key, answer)| match answer {
            Ok(_) => Ok(()),
            Err(error) => match Failure::of(&error).explain(Operation::Delete, key, &self.location.bucket, self.endpoint()) {
                StoreError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        });
        Ok(explained.collect())
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let path = self.path(Operation::Put, key)?;
        let payload = PutPayload::from_iter(parts);
        let length = payload.content_length() as u64;
        self.attempt(Operation::Put, key, length, self.client.put_opts(&path, payload, PutMode::Create.into())).await.map(drop)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if !key::check_range(key, &range)? {
            return key::check(Operation::GetRange, key).map(|()| Bytes::new());
        }
        let length = range.end - range.start;
        self.fetch(Operation::GetRange, key, GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }, length).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.fetch(Operation::Get, key, GetOptions::default(), limit).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let path = self.path(Operation::Head, key)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let answer = self.repeat(|| self.attempt(Operation::Head, key, 0, self.client.get_opts(&path, options.clone()))).await?;
        let modified = Timestamp(answer.meta.last_modified.timestamp_millis());
        Ok(ObjectMeta { key: key.to_owned(), length: answer.meta.size, modified })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut found: Vec<ObjectMeta> = Vec::new();
        if !key::is_prefix(prefix) {
            return Ok(found);
        }
        let mut token = None;
        while found.len() < limit {
            let (page, next) = self.repeat(|| self.page(prefix, after, limit - found.len(), token.clone())).await?;
            for meta in page {
                let before = found.last().map(|last| last.key.as_str()).or(after);
                if before.is_some_and(|before| meta.key.as_str() <= before) {
                    let detail = format!("the store's listing is not in key order: {} after {}", meta.key, before.unwrap_or_default());
                    return Err(StoreError::refused(Operation::List, prefix, detail));
                }
                found.push(meta);
            }
            match next {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        Ok(found)
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        // Each once: MinIO answers a key that is repeated in a request by one without a name.
        let each: Vec<String> = keys.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let mut answers = HashMap::with_capacity(each.len());
        for page in each.chunks(PAGE) {
            match self.repeat(|| self.delete_page(page)).await {
                Ok(deleted) => answers.extend(page.iter().zip(deleted)),
                Err(error) => answers.extend(page.iter().map(|key| (key, Err(error.clone())))),
            }
        }
        keys.iter().map(|key| answers[key].clone()).collect()
    }

    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        self.repeat(|| self.page("", None, 1, None)).await?;
        Ok(self.dates.last())
    }
}

/// The options with the region of the AWS configuration, and its credentials.
async fn configured(options: &S3Options, clock: Arc<dyn Clock>) -> (S3Options, Arc<CachedCredentials>) {
    let mut options = options.clone();
    let (region, provider) = credentials::from_default_chain(options.region.take(), options.endpoint.is_some()).await;
    options.region = region;
    (options, CachedCredentials::new(provider, clock))
}

/// A client of the bucket that signs bodies, repeats nothing and has no time limit of its own.
fn builder(location: &S3Location, options: &S3Options, credentials: Arc<CachedCredentials>) -> AmazonS3Builder {
    let path_style = is_path_style(location, options);
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(options.region.as_deref().unwrap_or(DEFAULT_REGION))
        .with_credentials(credentials)
        .with_virtual_hosted_style_request(!path_style)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(client_options());
    match &options.endpoint {
        Some(endpoint) if path_style => builder.with_endpoint(endpoint),
        Some(endpoint) => builder.with_endpoint(host_of_bucket(endpoint, &location.bucket)),
        None => builder,
    }
}

/// A certificate for *.s3.REGION.amazonaws.com does not cover a bucket's name with dots.
fn is_path_style(location: &S3Location, options: &S3Options) -> bool {
    options.path_style.unwrap_or(options.endpoint.is_some() || location.bucket.contains('.'))
}

/// One total limit would cut off any large body on a slow line; the limits of this file grow with the body.
fn client_options() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIME_LIMIT).with_allow_http(true)
}

/// Where requests for a bucket go when its name is part of the host's.
fn host_of_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

/// Compares what the headers announce with what was asked for, before the body is read.
fn check_answer(key: &str, answer: &GetResult, wanted: Option<&GetRange>, limit: u64) -> Result<(), StoreError> {
    let length = answer.meta.size;
    match wanted {
        Some(GetRange::Bounded(range)) if answer.range != *range => {
            Err(StoreError::corrupt(key, format!("has {length} bytes, the range {range:?} was asked for, {:?} came", answer.range)))
        }
        None if limit < length => Err(StoreError::corrupt(key, format!("has {length} bytes, at most {limit} were expected"))),
        _ => Ok(()),
    }
}

/// The body as one piece; stops reading at the first byte too many.
async fn gather(mut body: stream::BoxStream<'static, object_store::Result<Bytes>>, length: u64) -> object_store::Result<Bytes> {
    let Some(first) = body.try_next().await? else { return Ok(Bytes::new()) };
    if first.len() as u64 == length {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
    whole.extend_from_slice(&first);
    while let Some(chunk) = body.try_next().await? {
        whole.extend_from_slice(&chunk);
        if length < whole.len() as u64 {
            break;
        }
    }
    Ok(whole.freeze())
}
