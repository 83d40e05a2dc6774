//! What an answer of S3 means.
//!
//! `object_store` hides the status and S3's error code behind text. So its HTTP client is wrapped: an answer that is not a success
//! becomes a typed [`Refusal`], which travels through as the source of whatever error `object_store` makes of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector};
use object_store::{ClientOptions, Result};
use types::Timestamp;

use super::credentials::NoCredentials;
use crate::{Operation, StoreError};

/// The newest Date header, for [`crate::ObjectStore::date`].
#[derive(Clone, Debug)]
pub(super) struct Dates(Arc<AtomicI64>);

impl Default for Dates {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::NONE.0)))
    }
}

impl Dates {
    pub(super) fn last(&self) -> Option<Timestamp> {
        Some(Timestamp(self.0.load(Ordering::Relaxed))).filter(|date| *date != Timestamp::NONE)
    }

    fn note(&self, response: &HttpResponse) {
        let date = response.headers().get("date").and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let since_epoch = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        if let Some(date) = since_epoch.and_then(|time| i64::try_from(time.as_millis()).ok()) {
            self.0.store(date, Ordering::Relaxed);
        }
    }
}

/// Makes clients whose failed answers are [`Refusal`]s.
#[derive(Debug, Default)]
pub(super) struct Answers {
    dates: Dates,
}

impl Answers {
    pub(super) fn new(dates: Dates) -> Self {
        Self { dates }
    }
}

impl HttpConnector for Answers {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(AnswerService { inner, dates: self.dates.clone() }))
    }
}

#[derive(Debug)]
struct AnswerService {
    inner: HttpClient,
    dates: Dates,
}

#[async_trait]
impl HttpService for AnswerService {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let response = self.inner.execute(request).await?;
        self.dates.note(&response);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.unwrap_or_default();
        // The kind is one that object_store never repeats by itself.
        Err(HttpError::new(HttpErrorKind::Unknown, Refusal::parse(status, &String::from_utf8_lossy(&body))))
    }
}

/// An answer other than success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    status: u16,
    /// S3's error code; empty where the answer had no body, as every answer to HEAD.
    code: String,
    message: String,
}

impl Refusal {
    fn parse(status: u16, body: &str) -> Self {
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(text, _)| unescaped(text))
        };
        Self { status, code: element("Code").unwrap_or_default(), message: element("Message").unwrap_or_default() }
    }

    /// Whether this is the answer's error code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the store found fault with the request, rather than with itself.
    pub(super) fn is_of_the_request(&self) -> bool {
        (400..500).contains(&self.status)
    }
}

/// XML's text as it was meant. The ampersand last: what it was written for is not read again.
fn unescaped(text: &str) -> String {
    let written = [("&#39;", "'"), ("&apos;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    written.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}

impl Error for Refusal {}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store answered.
    Refusal(Refusal),
    /// One key of a deletion was refused.
    Key { code: String, detail: String },
    /// No answer, or only a part of one.
    Transport(HttpErrorKind, String),
    /// We stopped waiting.
    TimedOut(Duration),
    /// The request could not be signed.
    Credentials(NoCredentials),
    /// An answer that makes no sense.
    Other(String),
}

impl Failure {
    pub(super) fn of(error: &object_store::Error) -> Self {
        let mut transport = None;
        for cause in causes(error) {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                return Self::Refusal(refusal.clone());
            }
            if let Some(missing) = cause.downcast_ref::<NoCredentials>() {
                return Self::Credentials(missing.clone());
            }
            transport = transport.or_else(|| cause.downcast_ref::<HttpError>().map(HttpError::kind));
        }
        let detail = innermost(error);
        if let Some(kind) = transport {
            return Self::Transport(kind, detail);
        }
        match code_of_key(&error.to_string()) {
            Some(code) => Self::Key { code, detail },
            None => Self::Other(detail),
        }
    }

    /// Whether the request was answered and one of its keys refused.
    pub(super) fn is_of_one_key(&self) -> bool {
        matches!(self, Self::Key { .. })
    }

    pub(super) fn says_credentials_expired(&self) -> bool {
        matches!(self, Self::Refusal(refusal) if EXPIRED_CREDENTIALS.contains(&refusal.code.as_str()))
    }

    /// The same for the caller, by what the caller can do.
    pub(super) fn explain(self, operation: Operation, key: &str, bucket: &str, endpoint: &str) -> StoreError {
        match self {
            Self::Refusal(refusal) => refused(&refusal, operation, key, bucket),
            Self::Key { code, detail } if PASSING.contains(&code.as_str()) => StoreError::unavailable(operation, key, detail),
            Self::Key { code, .. } if code == "NoSuchKey" => StoreError::not_found(key),
            Self::Key { detail, .. } => StoreError::refused(operation, key, detail),
            // Nothing was sent.
            Self::Transport(HttpErrorKind::Connect, detail) => {
                StoreError::unavailable(operation, key, format!("cannot connect to {endpoint}: {detail}"))
            }
            Self::Transport(_, detail) => lost(operation, key, detail),
            Self::Other(detail) if matches!(operation, Operation::Get | Operation::GetRange | Operation::Head) => {
                StoreError::corrupt(key, detail)
            }
            Self::Other(detail) => lost(operation, key, detail),
            Self::TimedOut(limit) => lost(operation, key, format!("no answer within {} s", limit.as_secs())),
            Self::Credentials(missing) if missing.for_good => StoreError::refused(operation, key, missing.to_string()),
            Self::Credentials(missing) => StoreError::unavailable(operation, key, missing.to_string()),
        }
    }
}

const EXPIRED_CREDENTIALS: [&str; 2] = ["ExpiredToken", "TokenRefreshRequired"];

/// Codes of refusals that pass by themselves and had no effect, whatever status they come with.
const PASSING: [&str; 13] = [
    "SlowDown",
    "ServiceUnavailable",
    "TooManyRequests",
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
    "InternalError",
    "ExpiredToken",
    "TokenRefreshRequired",
];

fn refused(refusal: &Refusal, operation: Operation, key: &str, bucket: &str) -> StoreError {
    let is_put = operation == Operation::Put;
    match (refusal.status, refusal.code.as_str()) {
        (_, "NoSuchBucket") => {
            StoreError::refused(operation, key, format!("bucket {bucket} does not exist; create it or correct store.url"))
        }
        (_, "RequestTimeTooSkewed") => StoreError::refused(operation, key, format!("{refusal}; set this machine's clock")),
        // The store failed while it worked on the request: a put may have come through.
        (500..=599, code) if is_put && !matches!(refusal.status, 501 | 503) && !["SlowDown", "ServiceUnavailable"].contains(&code) => {
            StoreError::unknown(operation, key, refusal.to_string())
        }
        (_, code) if PASSING.contains(&code) => StoreError::unavailable(operation, key, refusal.to_string()),
        (408 | 429 | 500 | 502..=599, _) => StoreError::unavailable(operation, key, refusal.to_string()),
        (304 | 412, _) if is_put => StoreError::already_exists(key),
        // Without a code a conflict is taken for a race of two conditional puts; the next attempt tells.
        (409, "") if is_put => StoreError::unavailable(operation, key, refusal.to_string()),
        (404, _) if !is_put && operation != Operation::List => StoreError::not_found(key),
        (416, _) => StoreError::corrupt(key, "is shorter than the range that was asked for"),
        (401 | 403, _) => StoreError::refused(
            operation,
            key,
            format!("access to bucket {bucket} denied ({refusal}); check the credentials and what they may do"),
        ),
        (301 | 307 | 400, "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") | (301 | 307, _) => {
            StoreError::refused(operation, key, format!("bucket {bucket} is in another region ({refusal}); set store.s3.region"))
        }
        (404, _) => StoreError::refused(operation, key, format!("{refusal}; is store.s3.endpoint that of an S3 service?")),
        (501, _) => {
            StoreError::refused(operation, key, format!("{refusal}; the store lacks something that is needed, as conditional puts"))
        }
        _ => StoreError::refused(operation, key, refusal.to_string()),
    }
}

/// No answer came to a request that was sent.
fn lost(operation: Operation, key: &str, detail: String) -> StoreError {
    match operation {
        Operation::Put => StoreError::unknown(operation, key, detail),
        _ => StoreError::unavailable(operation, key, detail),
    }
}

/// The code inside `object_store`'s message for one key of a deletion, which has no type of its own.
fn code_of_key(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("(code: ")?;
    rest.split_once(')').map(|(code, _)| code.to_owned())
}

/// The message nearest to the cause: the others repeat it, each with more around it.
fn innermost(error: &object_store::Error) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// The error, its source, the source's source, and so on.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_store() {
        let body =
            "<?xml version=\"1.0\"?><Error><Code>BadDigest</Code><Message>&#39;a&#39; &lt; b &amp;lt; &quot;c&quot;</Message></Error>";
        assert_eq!(Refusal::parse(400, body).to_string(), "the store answered 400 BadDigest 'a' < b &lt; \"c\"");
        assert_eq!(Refusal::parse(503, "").to_string(), "the store answered 503");
    }
}
