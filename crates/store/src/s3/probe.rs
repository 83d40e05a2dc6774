//! What a probe asks of S3 beyond [`crate::ObjectStore`]: things that a broker does not do, or not on purpose.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::{AmazonS3, Checksum};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use object_store::multipart::MultipartStore;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore as _, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;

use super::S3Store;
use super::answer::{Answers, Failure};
use crate::{Operation, StoreError};

const CHECKSUM_HEADER: &str = "x-amz-checksum-sha256";

impl S3Store {
    /// The last `count` bytes, asked for without knowing the length.
    pub(crate) async fn last_bytes(&self, key: &str, count: u64) -> Result<Bytes, StoreError> {
        let path = self.path(Operation::GetRange, key)?;
        let options = GetOptions { range: Some(GetRange::Suffix(count)), ..GetOptions::default() };
        self.attempt(Operation::GetRange, key, count, async { self.client.get_opts(&path, options).await?.bytes().await }).await
    }

    /// All keys below `prefix`, `limit` in each answer, every page but the first asked for by the token that came with the one before.
    pub(crate) async fn list_by_tokens(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let (page, next) = self.page(prefix, None, limit, token).await?;
            // A token that leads nowhere would lead there for ever.
            let is_last = next.is_none() || page.is_empty();
            keys.extend(page.into_iter().map(|meta| meta.key));
            if is_last {
                return Ok(keys);
            }
            token = next;
        }
    }

    /// Puts one object as a multipart upload.
    pub(crate) async fn put_in_parts(&self, key: &str, parts: &[Bytes]) -> Result<(), StoreError> {
        let path = self.path(Operation::Put, key)?;
        let length = parts.iter().map(|part| part.len() as u64).sum();
        let call = async {
            let upload = self.client.create_multipart(&path).await?;
            let mut put = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                put.push(self.client.put_part(&path, &upload, index, PutPayload::from(part.clone())).await?);
            }
            self.client.complete_multipart(&path, &upload, put).await
        };
        self.attempt(Operation::Put, key, length, call).await.map(drop)
    }

    /// Begins a multipart upload, puts a part and gives it up.
    pub(crate) async fn give_up_parts(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(Operation::Put, key)?;
        let call = async {
            let upload = self.client.create_multipart(&path).await?;
            self.client.put_part(&path, &upload, 0, PutPayload::from_static(b"part")).await?;
            self.client.abort_multipart(&path, &upload).await
        };
        self.attempt(Operation::Put, key, 0, call).await
    }

    /// Puts a body that is changed after it was signed. What the store said when it refused; `None` if it took it.
    pub(crate) async fn put_damaged(&self, key: &str, body: Bytes) -> Result<Option<String>, StoreError> {
        let path = self.path(Operation::Put, key)?;
        let client = self.client_through(Tap { damages: true, ..Tap::default() }, None)?;
        let options = PutOptions::from(PutMode::Create);
        let call = async {
            match client.put_opts(&path, PutPayload::from(body), options).await {
                Ok(_) => Ok(None),
                Err(error) => match Failure::of(&error) {
                    Failure::Refusal(refusal) if refusal.is_of_the_request() => Ok(Some(refusal.to_string())),
                    _ => Err(error),
                },
            }
        };
        self.attempt(Operation::Put, key, 0, call).await
    }

    /// Puts a body with its SHA-256 in a header of its own, and answers the one that came back.
    pub(crate) async fn put_with_checksum(&self, key: &str, body: Bytes) -> Result<Option<String>, StoreError> {
        let path = self.path(Operation::Put, key)?;
        let tap = Tap::default();
        let client = self.client_through(tap.clone(), Some(Checksum::SHA256))?;
        let call = client.put_opts(&path, PutPayload::from(body), PutMode::Create.into());
        self.attempt(Operation::Put, key, 0, call).await?;
        Ok(tap.checksum.lock().take())
    }

    fn client_through(&self, tap: Tap, checksum: Option<Checksum>) -> Result<AmazonS3, StoreError> {
        let mut builder = super::builder(&self.location, &self.options, Arc::clone(&self.credentials)).with_http_connector(tap);
        if let Some(checksum) = checksum {
            builder = builder.with_checksum_algorithm(checksum);
        }
        builder.build().map_err(|error| StoreError::refused(Operation::Put, "", error.to_string()))
    }
}

/// Sits between the client and the network.
#[derive(Clone, Debug, Default)]
struct Tap {
    /// Sends other bytes than were signed.
    damages: bool,
    /// The checksum of the newest answer that had one.
    checksum: Arc<Mutex<Option<String>>>,
}

impl HttpConnector for Tap {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = Answers::default().connect(options)?;
        Ok(HttpClient::new(TappedService { inner, tap: self.clone() }))
    }
}

#[derive(Debug)]
struct TappedService {
    inner: HttpClient,
    tap: Tap,
}

#[async_trait]
impl HttpService for TappedService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = if self.tap.damages {
            let (parts, body) = request.into_parts();
            HttpRequest::from_parts(parts, vec![b'!'; body.content_length()].into())
        } else {
            request
        };
        let response = self.inner.execute(request).await?;
        if let Some(checksum) = response.headers().get(CHECKSUM_HEADER).and_then(|value| value.to_str().ok()) {
            *self.tap.checksum.lock() = Some(checksum.to_owned());
        }
        Ok(response)
    }
}
