//! Credentials of the AWS default chain, kept until shortly before they expire.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use runtime::Clock;
use tokio::sync::Mutex;

use super::answer::causes;

/// Fresh ones are asked for this long before the old ones expire.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);

/// A provider that does not answer is given up.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Region and credentials as the AWS tools find them. The region of somebody's own endpoint is what the configuration says, if
/// anything: the instance that the broker may run on knows nothing of it, and outside AWS asking for the instance takes seconds.
pub(super) async fn from_default_chain(region: Option<String>, own_endpoint: bool) -> (Option<String>, Option<SharedCredentialsProvider>) {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    } else if own_endpoint {
        let configured = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        loader = loader.region(configured.or_else(ProfileFileRegionProvider::new()));
    }
    let config = loader.load().await;
    (config.region().map(ToString::to_string), config.credentials_provider())
}

/// Asks the provider at most once at a time, and not again while what it gave is good.
pub(super) struct CachedCredentials {
    provider: Option<SharedCredentialsProvider>,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<Cached>>,
}

#[derive(Clone)]
struct Cached {
    credential: Arc<AwsCredential>,
    /// By the wall clock, because the provider says so by the wall clock; `None` for keys that stay.
    expires_ms: Option<i64>,
}

impl CachedCredentials {
    pub(super) fn new(provider: Option<SharedCredentialsProvider>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { provider, clock, cached: Mutex::default() })
    }

    /// The store does not take them any more.
    pub(super) async fn forget(&self) {
        *self.cached.lock().await = None;
    }

    async fn current(&self) -> Result<Arc<AwsCredential>, NoCredentials> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.wall_ms();
        let lasts = |cached: &Cached, margin: Duration| {
            cached.expires_ms.is_none_or(|expires| now.saturating_add_unsigned(margin.as_millis() as u64) < expires)
        };
        if let Some(good) = cached.as_ref().filter(|cached| lasts(cached, REFRESH_BEFORE)) {
            return Ok(good.credential.clone());
        }
        match self.fetch().await {
            Ok(fresh) => Ok(cached.insert(fresh).credential.clone()),
            Err(error) => match cached.as_ref().filter(|cached| lasts(cached, Duration::ZERO)) {
                Some(good) => {
                    tracing::warn!("AWS credentials expire soon and could not be renewed: {error}");
                    Ok(good.credential.clone())
                }
                None => Err(error),
            },
        }
    }

    async fn fetch(&self) -> Result<Cached, NoCredentials> {
        let provider = self.provider.as_ref().ok_or_else(NoCredentials::none_found)?;
        match tokio::time::timeout(TIME_LIMIT, provider.provide_credentials()).await {
            Ok(Ok(credentials)) => Ok(Cached::from(&credentials)),
            Ok(Err(CredentialsError::CredentialsNotLoaded(_))) => Err(NoCredentials::none_found()),
            Ok(Err(error)) => Err(NoCredentials {
                for_good: matches!(error, CredentialsError::InvalidConfiguration(_)),
                detail: format!(
                    "AWS credentials cannot be had: {}",
                    causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
                ),
            }),
            Err(_) => {
                Err(NoCredentials { for_good: false, detail: format!("AWS credentials: no answer within {} s", TIME_LIMIT.as_secs()) })
            }
        }
    }
}

impl From<&Credentials> for Cached {
    fn from(credentials: &Credentials) -> Self {
        let expires = credentials.expiry().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            credential: Arc::new(AwsCredential {
                key_id: credentials.access_key_id().to_owned(),
                secret_key: credentials.secret_access_key().to_owned(),
                token: credentials.session_token().map(str::to_owned),
            }),
            expires_ms: expires.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

#[async_trait]
impl CredentialProvider for CachedCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current().await.map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

impl fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedCredentials")
    }
}

/// A request could not be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NoCredentials {
    /// Whether a person has to act.
    pub(super) for_good: bool,
    detail: String,
}

impl NoCredentials {
    fn none_found() -> Self {
        Self {
            for_good: true,
            detail: "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role".to_owned(),
        }
    }
}

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for NoCredentials {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::future;
    use runtime::ManualClock;

    use super::*;

    const START_MS: i64 = 1_700_000_000_000;

    /// Gives keys that last an hour; fails while `broken`.
    #[derive(Debug)]
    struct Hourly {
        clock: Arc<ManualClock>,
        asked: AtomicUsize,
        broken: AtomicUsize,
    }

    #[derive(Debug, Clone)]
    struct Handle(Arc<Hourly>);

    impl ProvideCredentials for Handle {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.0.asked.fetch_add(1, Ordering::Relaxed);
            if self.0.broken.load(Ordering::Relaxed) != 0 {
                return future::ProvideCredentials::ready(Err(CredentialsError::provider_error("503")));
            }
            let expiry = UNIX_EPOCH + Duration::from_millis(self.0.clock.wall_ms() as u64) + Duration::from_secs(3600);
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("key-{asked}"), "secret", None, Some(expiry), "test")))
        }
    }

    fn hourly() -> (Arc<Hourly>, Arc<CachedCredentials>) {
        let clock = Arc::new(ManualClock::new(START_MS));
        let source = Arc::new(Hourly { clock: clock.clone(), asked: AtomicUsize::new(0), broken: AtomicUsize::new(0) });
        let provider = SharedCredentialsProvider::new(Handle(source.clone()));
        (source, CachedCredentials::new(Some(provider), clock))
    }

    async fn key(credentials: &CachedCredentials) -> Result<String, NoCredentials> {
        credentials.current().await.map(|credential| credential.key_id.clone())
    }

    #[tokio::test]
    async fn credentials_are_asked_for_once_until_five_minutes_before_they_expire() {
        let (source, credentials) = hourly();
        assert_eq!(key(&credentials).await.unwrap(), "key-0");
        source.clock.advance(Duration::from_secs(54 * 60));
        assert_eq!(key(&credentials).await.unwrap(), "key-0");
        source.clock.advance(Duration::from_secs(2 * 60));
        assert_eq!(key(&credentials).await.unwrap(), "key-1");
        credentials.forget().await;
        assert_eq!(key(&credentials).await.unwrap(), "key-2");
    }

    #[tokio::test]
    async fn a_provider_that_fails_is_excused_while_the_old_credentials_last() {
        let (source, credentials) = hourly();
        key(&credentials).await.unwrap();
        source.broken.store(1, Ordering::Relaxed);
        source.clock.advance(Duration::from_secs(58 * 60));
        assert_eq!(key(&credentials).await.unwrap(), "key-0");
        source.clock.advance(Duration::from_secs(2 * 60));
        assert!(!key(&credentials).await.unwrap_err().for_good);
        source.broken.store(0, Ordering::Relaxed);
        assert!(key(&credentials).await.is_ok());
    }

    #[tokio::test]
    async fn a_chain_without_credentials_says_what_to_set() {
        let none = CachedCredentials::new(None, Arc::new(ManualClock::new(0)));
        let error = key(&none).await.unwrap_err();
        assert!(error.for_good && error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
