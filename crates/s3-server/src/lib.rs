//! An S3 in this process, for tests that need a bucket and have nothing installed: signatures, conditional puts, ranges, listings in
//! pages, bulk deletions and multipart uploads as S3 has them, objects in memory. The protocol is the `s3s` crate's; this crate keeps the
//! objects. Only tests and `tests/perf` may depend on it.

mod objects;
mod operations;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleError;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use s3s::HttpError;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::objects::Buckets;
use crate::operations::Operations;

/// The access key that the server knows.
pub const ACCESS_KEY: &str = "siltstone-tests";
/// Its secret key. A request that is signed with another is refused.
pub const SECRET_KEY: &str = "no-secret-to-anybody";

/// What the server does otherwise than S3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quirks {
    /// Puts replace objects, whatever `If-None-Match` says, as many servers that call themselves S3-compatible do.
    pub ignores_conditions: bool,
    /// How long a request waits before anything is done for it: a store's latency.
    pub delay: Duration,
}

/// A server on a free port of the loopback. It ends when this is dropped, and its objects with it.
pub struct S3Server {
    address: SocketAddr,
    buckets: Arc<Buckets>,
    serving: JoinHandle<()>,
}

impl S3Server {
    /// Serves on the current runtime, with one empty bucket for each name.
    ///
    /// # Panics
    ///
    /// Where the loopback gives no port.
    pub async fn start(buckets: &[&str], quirks: Quirks) -> Self {
        let held = Arc::new(Buckets::default());
        for bucket in buckets {
            held.create(bucket);
        }
        let mut service = S3ServiceBuilder::new(Operations { buckets: Arc::clone(&held), quirks });
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = HandleError::new(service.build(), async |error: HttpError| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")));
        let router = axum::Router::new().fallback_service(service);
        let router = match quirks.delay {
            Duration::ZERO => router,
            delay => router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
                tokio::time::sleep(delay).await;
                next.run(request).await
            })),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving does not end by itself") });
        Self { address, buckets: held, serving }
    }

    /// For `store.s3.endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The keys in a bucket, in order; empty where there is no such bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets.keys(bucket)
    }

    /// Multipart uploads that were begun and neither completed nor given up, in all buckets.
    pub fn open_uploads(&self) -> usize {
        self.buckets.open_uploads()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
