use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use runtime::SystemClock;
use s3_server::{ACCESS_KEY, Quirks, S3Server, SECRET_KEY};

use super::fake::{FakeS3, Trick};
use super::*;
use crate::{Body, conformance, put_verified};

async fn store_in(bucket: &str) -> (FakeS3, S3Store) {
    let (fake, endpoint) = FakeS3::start().await;
    (fake, store_at(endpoint, bucket, "pre/fix/", Credentials::new("key", "secret", None, None, "test")))
}

/// The store below `prefix` of a bucket.
pub(crate) fn store_of(server: &S3Server, bucket: &str, prefix: &str) -> S3Store {
    store_at(server.endpoint(), bucket, prefix, Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
}

/// A store whose retries do not keep a test waiting.
fn store_at(endpoint: String, bucket: &str, prefix: &str, credentials: Credentials) -> S3Store {
    let options = S3Options { endpoint: Some(endpoint), ..S3Options::default() };
    let location = S3Location { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
    let credentials = CachedCredentials::new(Some(SharedCredentialsProvider::new(credentials)), Arc::new(SystemClock));
    let mut store = S3Store::new(location, &options, credentials, Arc::new(Random::seeded(1))).unwrap();
    store.retries = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(5), ..RETRIES };
    store
}

async fn store() -> (FakeS3, S3Store) {
    store_in("bucket").await
}

async fn put(store: &S3Store, key: &str) -> Result<(), StoreError> {
    store.put(key, vec![Bytes::from_static(b"silt"), Bytes::from_static(b"stone")]).await
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound { .. } => "not found",
        StoreError::AlreadyExists { .. } => "exists",
        StoreError::Unknown { .. } => "unknown",
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Refused { .. } => "refused",
        StoreError::Corrupt { .. } => "corrupt",
    }
}

#[tokio::test]
async fn s3_spoken_by_the_fake_conforms() {
    let (fake, store) = store().await;
    conformance::check(&store, false).await;
    put(&store, "a").await.unwrap();
    assert_eq!(fake.object("pre/fix/a").unwrap(), "siltstone");
}

#[tokio::test]
async fn s3_in_this_process_conforms() {
    let server = S3Server::start(&["bucket"], Quirks::default()).await;
    for prefix in ["", "pre/fix/"] {
        conformance::check(&store_of(&server, "bucket", prefix), false).await;
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_what_to_look_at() {
    let server = S3Server::start(&["bucket"], Quirks::default()).await;
    let store = store_at(server.endpoint(), "bucket", "", Credentials::new(ACCESS_KEY, "wrong", None, None, "test"));
    let error = store.list("", None, 1).await.unwrap_err();
    assert!(kind(&error) == "refused" && error.to_string().contains("check the credentials"), "{error}");
}

#[tokio::test]
async fn what_an_answer_to_a_put_means_is_told_by_status_and_code() {
    let (fake, store) = store().await;
    for (status, code, expected) in [
        (412, "PreconditionFailed", "exists"),
        (304, "", "exists"),
        (503, "SlowDown", "unavailable"),
        (503, "", "unavailable"),
        (429, "TooManyRequests", "unavailable"),
        (400, "RequestTimeout", "unavailable"),
        (400, "XAmzContentSHA256Mismatch", "unavailable"),
        (409, "ConditionalRequestConflict", "unavailable"),
        (409, "ObjectParentIsFile", "refused"),
        (400, "ExpiredToken", "unavailable"),
        (500, "InternalError", "unknown"),
        (500, "", "unknown"),
        (502, "", "unknown"),
        (504, "", "unknown"),
        (501, "NotImplemented", "refused"),
        (403, "AccessDenied", "refused"),
        (404, "NoSuchBucket", "refused"),
        (301, "PermanentRedirect", "refused"),
        (400, "InvalidRequest", "refused"),
    ] {
        fake.play([Trick::Answer(status, code)]);
        let error = put(&store, "a").await.unwrap_err();
        assert_eq!(kind(&error), expected, "{status} {code}: {error}");
        assert_eq!(fake.requests(), ["PUT"], "a put is attempted once");
    }
    assert!(fake.object("pre/fix/a").is_none());
}

#[tokio::test]
async fn a_prefix_that_no_key_begins_with_is_not_asked_for() {
    let (fake, store) = store().await;
    for prefix in [".", "a/..", "a//", "/"] {
        assert_eq!(store.list(prefix, None, 10).await.unwrap(), []);
        assert_eq!(fake.requests(), [""; 0], "{prefix}");
    }
}

#[tokio::test]
async fn a_read_that_meets_a_passing_failure_is_repeated() {
    let (fake, store) = store().await;
    put(&store, "a").await.unwrap();
    fake.requests();
    for passing in [Trick::Answer(503, "SlowDown"), Trick::Answer(500, "InternalError"), Trick::Answer(504, "")] {
        fake.play([passing, passing]);
        assert_eq!(store.get_range("a", 4..9).await.unwrap(), "stone");
        assert_eq!(fake.requests(), ["GET", "GET", "GET"]);
    }
    fake.play([Trick::Answer(403, "AccessDenied")]);
    assert_eq!(kind(&store.head("a").await.unwrap_err()), "refused");
    assert_eq!(fake.requests(), ["HEAD"]);
}

#[tokio::test]
async fn t9_a_storm_of_slowdowns_is_given_up_within_the_budget_and_called_unavailable() {
    let (fake, mut store) = store().await;
    store.retries.budget = Duration::from_millis(50);
    fake.play([Trick::Answer(503, "SlowDown"); 1000]);
    let error = store.list("", None, 10).await.unwrap_err();
    assert_eq!(kind(&error), "unavailable");
    let requests = fake.requests().len();
    assert!((2..=100).contains(&requests), "{requests}");
}

#[tokio::test]
async fn t6_a_put_without_an_answer_is_unknown_and_a_repeat_recognises_it() {
    for lost in [Trick::Hang, Trick::AnswerAfter(500, "InternalError")] {
        let (fake, mut store) = store().await;
        store.time_limit = Duration::from_millis(200);
        fake.play([lost]);
        assert_eq!(kind(&put(&store, "a").await.unwrap_err()), "unknown", "{lost:?}");
        let body = Body::new(vec![Bytes::from_static(b"siltstone")]);
        put_verified(&store, "a", &body, RETRIES, &Random::seeded(1)).await.unwrap();
        assert_eq!(fake.requests(), ["PUT", "PUT", "HEAD", "GET"], "{lost:?}");
    }
}

#[tokio::test]
async fn a_read_without_an_answer_is_given_up_and_repeated() {
    let (fake, mut store) = store().await;
    put(&store, "a").await.unwrap();
    store.time_limit = Duration::from_millis(200);
    fake.play([Trick::Hang]);
    assert_eq!(store.get("a", 9).await.unwrap(), "siltstone");
}

#[tokio::test]
async fn a_range_other_than_the_one_asked_for_is_corrupt() {
    let (fake, store) = store().await;
    put(&store, "a").await.unwrap();
    fake.play([Trick::LongerRange]);
    let error = store.get_range("a", 0..4).await.unwrap_err();
    assert_eq!(kind(&error), "corrupt", "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_even_for_a_put() {
    let (_, mut store) = store().await;
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = S3Options { endpoint: Some(format!("http://{}", unused.local_addr().unwrap())), ..S3Options::default() };
    drop(unused);
    let expected = format!("cannot connect to {}: ", options.endpoint.as_deref().unwrap());
    store = S3Store::new(store.location.clone(), &options, store.credentials.clone(), store.random.clone()).unwrap();
    let error = put(&store, "a").await.unwrap_err();
    assert!(kind(&error) == "unavailable" && error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn listings_longer_than_a_page_and_deletions_of_more_than_a_page_are_whole() {
    let (fake, store) = store().await;
    let keys: Vec<_> = (0..2500).map(|number| format!("many/{number:04}")).collect();
    for key in &keys {
        put(&store, key).await.unwrap();
    }
    fake.requests();
    let listed: Vec<_> = store.list("many/", None, 5000).await.unwrap().into_iter().map(|meta| meta.key).collect();
    assert_eq!((listed, fake.requests().len()), (keys.clone(), 3));
    assert_eq!(store.list("many/", Some("many/0999"), 1200).await.unwrap().last().unwrap().key, "many/2199");
    fake.requests();
    assert!(store.delete(&keys).await.iter().all(Result::is_ok));
    assert_eq!(fake.requests(), ["POST", "POST", "POST"]);
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn t16_deletions_are_answered_key_by_key() {
    let (fake, store) = store().await;
    let keys = ["a", "denied", "b", "busy"].map(str::to_owned);
    for key in &keys {
        put(&store, key).await.unwrap();
    }
    let answers = store.delete(&keys).await;
    let kinds: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_or_else(kind, |()| "ok")).collect();
    assert_eq!(kinds, ["ok", "refused", "ok", "unavailable"]);
    fake.requests();
    fake.play([Trick::Answer(503, "SlowDown")]);
    assert!(store.delete(&keys[..1]).await[0].is_ok());
    assert_eq!(fake.requests(), ["POST", "POST"]);
    fake.play([Trick::Answer(403, "AccessDenied")]);
    let answers = store.delete(&keys).await;
    assert!(answers.len() == 4 && answers.iter().all(|answer| matches!(answer, Err(StoreError::Refused { .. }))), "{answers:?}");
}

#[tokio::test]
async fn an_absent_bucket_is_one_line_with_the_way_out() {
    let (_, store) = store_in("other").await;
    for error in [store.list("", None, 1).await.unwrap_err(), put(&store, "a").await.unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("bucket other does not exist; create it or correct store.url") && !error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn r22_the_date_is_the_servers() {
    let (_, store) = store().await;
    let date = store.date().await.unwrap().expect("the fake sends a Date header");
    let apart = date.0 - SystemClock.wall_ms();
    assert!(apart.abs() <= 5_000, "{apart} ms apart");
}

#[test]
fn the_bucket_goes_before_the_hosts_name_where_the_path_does_not_carry_it() {
    assert_eq!(host_of_bucket("https://s3.example.com:9000", "b"), "https://b.s3.example.com:9000");
}
