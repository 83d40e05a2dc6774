//! From `store.url` to a store.

use std::path::Path;
use std::sync::Arc;

use runtime::{Clock, Random};
use url::Url;

use crate::s3::{S3Store, create_bucket};
use crate::{DirectoryStore, MemoryStore, ObjectStore, StoreError, key};

/// How to reach S3, beside the URL. Credentials come from the AWS default chain: environment, profile, SSO, web identity, container
/// and instance roles.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct S3Options {
    /// `store.s3.endpoint`: `http://` or `https://` and a host; AWS's own if absent.
    pub endpoint: Option<String>,
    /// `store.s3.region`: that of the AWS configuration if absent, else `us-east-1`.
    pub region: Option<String>,
    /// `store.s3.path.style`: the bucket in the path instead of the host's name. If absent: with an endpoint yes, with AWS no.
    pub path_style: Option<bool>,
}

/// Why there is no store. One line that says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of a store.
    #[error("store.url {url}: {detail}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Not an endpoint.
    #[error("store.s3.endpoint must be http://HOST:PORT or https://HOST, got {endpoint}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// It will not work before somebody changes something.
    #[error("store {url}: {detail}")]
    Refused {
        /// The store.
        url: String,
        /// What was seen, and the way out.
        detail: String,
    },
    /// It may work later.
    #[error("store {url} is not available: {detail}")]
    Unavailable {
        /// The store.
        url: String,
        /// What was seen.
        detail: String,
    },
}

impl OpenError {
    /// Why the store at `url` cannot be used, from what a first call to it met.
    pub fn of_call(url: &str, error: StoreError) -> Self {
        let url = url.to_owned();
        match error {
            StoreError::Unavailable { detail, .. } | StoreError::Unknown { detail, .. } => Self::Unavailable { url, detail },
            StoreError::Refused { detail, .. } => Self::Refused { url, detail },
            other => Self::Refused { url, detail: other.to_string() },
        }
    }
}

/// Whether `url` and `s3` can be those of a store, without asking one: an error here is a mistake of whoever wrote them.
pub fn check(url: &str, s3: &S3Options) -> Result<(), OpenError> {
    Place::parse(url, s3).map(|_| ())
}

/// As [`open_unasked`], and asks a bucket whether it lets itself be listed.
pub async fn open(url: &str, s3: &S3Options, clock: Arc<dyn Clock>, random: Arc<Random>) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let store = open_unasked(url, s3, clock, random).await?;
    ask(store.as_ref(), url).await?;
    Ok(store)
}

/// Whether the store lets itself be listed.
pub(crate) async fn ask(store: &dyn ObjectStore, url: &str) -> Result<(), OpenError> {
    store.list("", None, 1).await.map(|_| ()).map_err(|error| OpenError::of_call(url, error))
}

/// Makes the store of `file://DIR` (the path is taken as it stands, also a relative one), `s3://BUCKET/PREFIX` or `memory://`. A
/// directory is made and tried; a bucket is not asked for anything yet, so that one that is away can be waited for.
pub async fn open_unasked(
    url: &str,
    s3: &S3Options,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    Ok(match connect(url, s3, clock, random).await? {
        Opened::S3(store) => store,
        Opened::Other(store) => store,
    })
}

/// A store, and which kind it is where somebody has to know.
pub(crate) enum Opened {
    S3(Arc<S3Store>),
    Other(Arc<dyn ObjectStore>),
}

pub(crate) async fn connect(url: &str, s3: &S3Options, clock: Arc<dyn Clock>, random: Arc<Random>) -> Result<Opened, OpenError> {
    Ok(match Place::parse(url, s3)? {
        Place::Directory(path) => Opened::Other(Arc::new(DirectoryStore::open(path, random).await?)),
        Place::Memory => Opened::Other(Arc::new(MemoryStore::new(clock))),
        Place::S3(location) => Opened::S3(Arc::new(S3Store::unasked(location, s3, clock, random).await?)),
    })
}

/// Whether [`create`] had anything to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    /// It was made.
    Made,
    /// It was there, and ours.
    WasThere,
}

/// Makes the directory of `file://DIR`, with those above it, or the bucket of `s3://BUCKET/PREFIX`.
pub async fn create(url: &str, s3: &S3Options, clock: Arc<dyn Clock>) -> Result<Created, OpenError> {
    match Place::parse(url, s3)? {
        Place::Directory(path) => {
            DirectoryStore::create(path).map_err(|error| OpenError::Refused { url: url.to_owned(), detail: error.to_string() })
        }
        Place::Memory => Err(OpenError::Url { url: url.to_owned(), detail: "is made by the process that uses it".to_owned() }),
        Place::S3(location) => create_bucket(&location, s3, clock).await,
    }
}

/// What a URL names.
enum Place<'a> {
    Directory(&'a Path),
    Memory,
    S3(S3Location),
}

impl<'a> Place<'a> {
    fn parse(url: &'a str, s3: &S3Options) -> Result<Self, OpenError> {
        let wrong = |detail: &str| OpenError::Url { url: url.to_owned(), detail: detail.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("must be file://DIR, s3://BUCKET/PREFIX or memory://"))?;
        match scheme {
            "file" if rest.is_empty() => Err(wrong("names no directory; write file:///var/lib/siltstone/store or the like")),
            "file" => Ok(Self::Directory(Path::new(rest))),
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(wrong("nothing may follow memory://")),
            "s3" => {
                let location = S3Location::parse(rest).map_err(|detail| wrong(&detail))?;
                check_endpoint(s3)?;
                Ok(Self::S3(location))
            }
            other => Err(wrong(&format!("unknown kind {other}; must be file://DIR, s3://BUCKET/PREFIX or memory://"))),
        }
    }
}

/// Where in S3: a bucket, and a prefix that is empty or ends with a slash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct S3Location {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl S3Location {
    fn parse(text: &str) -> Result<Self, String> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        let is_bucket_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_bucket_byte) {
            return Err(format!("{bucket:?} is not a bucket's name: 3 to 63 lower-case letters, digits, '-' and '.'"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        if !key::is_key(prefix) {
            return Err(format!("{prefix:?} is not a prefix: parts of letters, digits, '-', '_' and '.', joined by '/'"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

fn check_endpoint(s3: &S3Options) -> Result<(), OpenError> {
    let Some(endpoint) = &s3.endpoint else { return Ok(()) };
    let parsed = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match parsed {
        Some(_) => Ok(()),
        None => Err(OpenError::Endpoint { endpoint: endpoint.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;

    async fn open_error(url: &str, s3: S3Options) -> String {
        let opened = open(url, &s3, Arc::new(ManualClock::new(0)), Arc::new(Random::seeded(1))).await;
        opened.err().expect("not a store").to_string()
    }

    #[tokio::test]
    async fn a_wrong_url_is_one_line_that_says_what_to_write() {
        let kinds = "must be file://DIR, s3://BUCKET/PREFIX or memory://";
        for (url, expected) in [
            ("", kinds),
            ("/var/lib", kinds),
            ("gs://bucket", kinds),
            ("file://", "names no directory"),
            ("memory://x", "nothing may follow"),
            ("s3://", "is not a bucket's name"),
            ("s3://Bucket", "is not a bucket's name"),
            ("s3://bucket/a//b", "is not a prefix"),
            ("s3://bucket/../b", "is not a prefix"),
        ] {
            let error = open_error(url, S3Options::default()).await;
            assert!(error.contains(expected) && !error.contains('\n'), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_without_a_scheme_is_refused_before_anything_is_asked() {
        for endpoint in ["localhost:9000", "minio", "ftp://minio", ""] {
            let error = open_error("s3://bucket", S3Options { endpoint: Some(endpoint.to_owned()), ..S3Options::default() }).await;
            assert!(error.contains("store.s3.endpoint must be"), "{endpoint}: {error}");
        }
    }

    #[test]
    fn a_prefix_is_a_folder_with_or_without_its_slash() {
        let prefix = |text| S3Location::parse(text).map(|location| location.prefix);
        assert_eq!(prefix("bucket"), Ok(String::new()));
        assert_eq!(prefix("bucket/"), Ok(String::new()));
        assert_eq!(prefix("bucket/a/b"), Ok("a/b/".to_owned()));
        assert_eq!(prefix("bucket/a/b/"), Ok("a/b/".to_owned()));
    }
}
