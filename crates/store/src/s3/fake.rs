//! A small S3 in this process, to test what the client makes of each answer. It knows one bucket, `bucket`, believes every signature,
//! and answers wrongly when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;

/// What the next request meets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trick {
    /// Nothing happens; this status and S3 error code.
    Answer(u16, &'static str),
    /// It happens, and then this status and code all the same.
    AnswerAfter(u16, &'static str),
    /// It happens, and no answer comes.
    Hang,
    /// The body is that of a range one byte longer.
    LongerRange,
}

#[derive(Clone, Default)]
pub(super) struct FakeS3(Arc<Mutex<Bucket>>);

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Bytes>,
    tricks: VecDeque<Trick>,
    requests: Vec<String>,
}

impl FakeS3 {
    /// Serves until the test's runtime ends; answers its endpoint.
    pub(super) async fn start() -> (Self, String) {
        let fake = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(serve).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (fake, endpoint)
    }

    pub(super) fn play(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.0.lock().tricks.extend(tricks);
    }

    /// Methods of the requests since this was last asked.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().requests)
    }

    pub(super) fn object(&self, key: &str) -> Option<Bytes> {
        self.0.lock().objects.get(key).cloned()
    }
}

async fn serve(State(fake): State<FakeS3>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let query: BTreeMap<_, _> = url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();

    let trick = {
        let mut bucket = fake.0.lock();
        bucket.requests.push(parts.method.to_string());
        bucket.tricks.pop_front()
    };
    if let Some(Trick::Answer(status, code)) = trick {
        return refusal(status, code);
    }
    if bucket != "bucket" {
        return refusal(404, "NoSuchBucket");
    }
    assert!(parts.headers.contains_key("authorization"), "every request is signed");
    let answer = match parts.method {
        Method::PUT => put(&fake, key, &parts.headers, body),
        Method::POST => delete(&fake, std::str::from_utf8(&body).unwrap()),
        Method::GET if key.is_empty() => list(&fake, &query),
        _ => get(&fake, key, &parts.headers, matches!(trick, Some(Trick::LongerRange))),
    };
    match trick {
        Some(Trick::AnswerAfter(status, code)) => refusal(status, code),
        Some(Trick::Hang) => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            answer
        }
        _ => answer,
    }
}

fn refusal(status: u16, code: &str) -> Response {
    let body = if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code><Message>because</Message></Error>") };
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn put(fake: &FakeS3, key: &str, headers: &HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["if-none-match"], "*", "every put is conditional");
    assert_eq!(headers["x-amz-content-sha256"].len(), 64, "every body is signed");
    let mut bucket = fake.0.lock();
    if bucket.objects.contains_key(key) {
        return refusal(412, "PreconditionFailed");
    }
    bucket.objects.insert(key.to_owned(), body);
    ([("etag", "\"e\"")], "").into_response()
}

fn get(fake: &FakeS3, key: &str, headers: &HeaderMap, longer: bool) -> Response {
    let Some(body) = fake.object(key) else { return refusal(404, "NoSuchKey") };
    let common = [("etag", "\"e\""), ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")];
    let Some(range) = headers.get("range").map(|range| range.to_str().unwrap().trim_start_matches("bytes=").to_owned()) else {
        return (common, [("content-length", body.len().to_string())], body).into_response();
    };
    let (start, end) = range.split_once('-').unwrap();
    let (start, end) = (start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap() + 1 + usize::from(longer));
    if body.len() <= start {
        return refusal(416, "InvalidRange");
    }
    let end = end.min(body.len());
    let content_range = format!("bytes {start}-{}/{}", end - 1, body.len());
    (StatusCode::PARTIAL_CONTENT, common, [("content-range", content_range)], body.slice(start..end)).into_response()
}

fn list(fake: &FakeS3, query: &BTreeMap<String, String>) -> Response {
    let value = |name: &str| query.get(name).map_or("", String::as_str);
    let after = if value("continuation-token").is_empty() { value("start-after") } else { value("continuation-token") };
    let limit: usize = value("max-keys").parse().unwrap();
    assert!(limit <= 1000);
    let bucket = fake.0.lock();
    let mut keys: Vec<_> =
        bucket.objects.iter().filter(|(key, _)| key.starts_with(value("prefix")) && after < key.as_str()).take(limit + 1).collect();
    let more = limit < keys.len();
    keys.truncate(limit);
    let token = keys.last().filter(|_| more).map(|(key, _)| format!("<NextContinuationToken>{key}</NextContinuationToken>"));
    let contents: String = keys
        .iter()
        .map(|(key, body)| {
            let modified = "2015-10-21T07:28:00.000Z";
            format!("<Contents><Key>{key}</Key><Size>{}</Size><LastModified>{modified}</LastModified></Contents>", body.len())
        })
        .collect();
    let body = format!("<ListBucketResult>{contents}<IsTruncated>{more}</IsTruncated>{}</ListBucketResult>", token.unwrap_or_default());
    Response::new(Body::from(body))
}

/// A key with `denied` in it is refused, one with `busy` for now.
fn delete(fake: &FakeS3, body: &str) -> Response {
    let mut answers = String::new();
    for key in body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap()) {
        let code = if key.contains("denied") { Some("AccessDenied") } else { key.contains("busy").then_some("OperationAborted") };
        match code {
            Some(code) => answers += &format!("<Error><Key>{key}</Key><Code>{code}</Code><Message>no</Message></Error>"),
            None => {
                fake.0.lock().objects.remove(key);
                answers += &format!("<Deleted><Key>{key}</Key></Deleted>");
            }
        }
    }
    Response::new(Body::from(format!("<DeleteResult>{answers}</DeleteResult>")))
}
