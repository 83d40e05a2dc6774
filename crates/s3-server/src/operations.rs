//! The operations of S3 that are served; any other is answered with `NotImplemented`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object as ListedObject, PutObjectInput, PutObjectOutput, StreamingBlob,
    UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::Quirks;
use crate::objects::{Buckets, Object, Refused};

/// Keys in one answer to a list, and in one request to delete.
const PAGE: usize = 1000;

pub(crate) struct Operations {
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) quirks: Quirks,
}

impl From<Refused> for S3Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchBucket => s3_error!(NoSuchBucket),
            Refused::NoSuchKey => s3_error!(NoSuchKey),
            Refused::NoSuchUpload => s3_error!(NoSuchUpload),
            Refused::InvalidPart => s3_error!(InvalidPart),
            Refused::Exists => s3_error!(PreconditionFailed),
        }
    }
}

#[async_trait]
impl S3 for Operations {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        if !self.buckets.create(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.buckets.list(&request.input.bucket, "", "", 0)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let body = whole(input.body).await?;
        verify(&body, input.checksum_sha256.as_deref(), input.checksum_crc32c.as_deref())?;
        let if_absent = self.is_if_absent(input.if_none_match.is_some(), input.if_match.is_some())?;
        let tag = self.buckets.put(&input.bucket, &input.key, body, input.checksum_sha256.clone(), if_absent)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(tag)),
            checksum_sha256: input.checksum_sha256,
            checksum_crc32c: input.checksum_crc32c,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let Object { body, tag, modified, sha256 } = self.buckets.get(&input.bucket, &input.key)?;
        let length = body.len() as u64;
        let (body, content_range) = match input.range {
            None => (body, None),
            Some(range) => {
                let range = range.check(length)?;
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                (body.slice(range.start as usize..range.end as usize), Some(told))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            body: Some(StreamingBlob::from(Body::from(body))),
            content_range,
            e_tag: Some(ETag::Strong(tag)),
            last_modified: Some(modified.into()),
            checksum_sha256: sha256.filter(|_| input.checksum_mode.is_some()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let Object { body, tag, modified, sha256 } = self.buckets.get(&input.bucket, &input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(body.len() as i64),
            e_tag: Some(ETag::Strong(tag)),
            last_modified: Some(modified.into()),
            checksum_sha256: sha256.filter(|_| input.checksum_mode.is_some()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "listings by folder are not served"));
        }
        let limit = input.max_keys.and_then(|limit| usize::try_from(limit).ok()).map_or(PAGE, |limit| limit.min(PAGE));
        // The token is the last key of the page before.
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref()).unwrap_or_default();
        let page = self.buckets.list(&input.bucket, input.prefix.as_deref().unwrap_or_default(), after, limit)?;
        let next = page.objects.last().filter(|_| page.is_truncated).map(|(key, _)| key.clone());
        let contents: Vec<_> = page.objects.into_iter().map(listed).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            key_count: Some(contents.len() as i32),
            max_keys: Some(limit as i32),
            is_truncated: Some(page.is_truncated),
            next_continuation_token: next,
            contents: Some(contents),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.buckets.delete(&request.input.bucket, [request.input.key.as_str()])?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let keys: Vec<String> = request.input.delete.objects.into_iter().map(|object| object.key).collect();
        if PAGE < keys.len() || keys.is_empty() {
            return Err(s3_error!(MalformedXML, "between 1 and {PAGE} keys are deleted at once"));
        }
        self.buckets.delete(&request.input.bucket, keys.iter().map(String::as_str))?;
        let deleted = keys.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() }).collect();
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        let id = self.buckets.begin_upload(&bucket, &key)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let body = whole(input.body).await?;
        verify(&body, input.checksum_sha256.as_deref(), input.checksum_crc32c.as_deref())?;
        let tag = self.buckets.put_part(&input.upload_id, input.part_number, body)?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(tag)), ..UploadPartOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts: Option<Vec<_>> = named.into_iter().map(|part| Some((part.part_number?, part.e_tag?.into_value()))).collect();
        let parts = parts.ok_or_else(|| s3_error!(MalformedXML, "every part has a number and a tag"))?;
        let if_absent = self.is_if_absent(input.if_none_match.is_some(), input.if_match.is_some())?;
        let tag = self.buckets.complete_upload(&input.upload_id, &parts, if_absent)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(tag)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.buckets.give_up_upload(&request.input.upload_id)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

impl Operations {
    /// Of the conditions only `If-None-Match: *` is served; S3 takes no other value of that header.
    fn is_if_absent(&self, if_none_match: bool, if_match: bool) -> S3Result<bool> {
        if if_match {
            return Err(s3_error!(NotImplemented, "If-Match is not served"));
        }
        Ok(if_none_match && !self.quirks.ignores_conditions)
    }
}

/// The body as it was signed: `s3s` compares the SHA-256 of the signature at its end.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let gathered = body.try_fold(BytesMut::new(), |mut gathered, part| async move {
        gathered.extend_from_slice(&part);
        Ok(gathered)
    });
    match gathered.await {
        Ok(gathered) => Ok(gathered.freeze()),
        Err(error) => Err(s3_error!(BadDigest, "{error}")),
    }
}

/// Refuses a body that does not have the checksums that came with it, in base64.
fn verify(body: &Bytes, sha256: Option<&str>, crc32c: Option<&str>) -> S3Result<()> {
    let mut hasher =
        ChecksumHasher { sha256: sha256.map(|_| Default::default()), crc32c: crc32c.map(|_| Default::default()), ..Default::default() };
    hasher.update(body);
    let found = hasher.finalize();
    if found.checksum_sha256.as_deref() != sha256 || found.checksum_crc32c.as_deref() != crc32c {
        return Err(s3_error!(BadDigest));
    }
    Ok(())
}

fn listed((key, object): (String, Object)) -> ListedObject {
    ListedObject {
        key: Some(key),
        size: Some(object.body.len() as i64),
        e_tag: Some(ETag::Strong(object.tag)),
        last_modified: Some(object.modified.into()),
        ..ListedObject::default()
    }
}
