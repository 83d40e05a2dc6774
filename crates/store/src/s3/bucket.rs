//! Making a bucket, which `object_store` does not.

use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpConnector, HttpRequest};
use runtime::Clock;

use super::answer::{Answers, Refusal, causes};
use super::{DEFAULT_REGION, TIME_LIMIT, client_options, configured, host_of_bucket, is_path_style};
use crate::open::S3Location;
use crate::{Created, OpenError, S3Options};

/// Makes the bucket of `location`, whose prefix needs no making. One attempt.
pub(crate) async fn create(location: &S3Location, options: &S3Options, clock: Arc<dyn Clock>) -> Result<Created, OpenError> {
    let (options, credentials) = configured(options, clock).await;
    let region = options.region.as_deref().unwrap_or(DEFAULT_REGION);
    let refused = |detail: String| OpenError::Refused { url: location.url(), detail };
    let unavailable = |detail: String| OpenError::Unavailable { url: location.url(), detail };
    let credential = credentials.get_credential().await.map_err(|error| refused(told(&error)))?;
    let client = Answers::default().connect(&client_options()).map_err(|error| refused(told(&error)))?;
    let send = async |method: &str, body: String| {
        let mut request = HttpRequest::new(body.into());
        *request.method_mut() = method.parse().expect("it is a method");
        *request.uri_mut() = url(location, &options, region).parse().map_err(|error| refused(format!("not a bucket's URL: {error}")))?;
        let signed = AwsAuthorizer::new(&credential, "s3", region).try_authorize(&mut request, None);
        signed.map_err(|error| refused(told(&error)))?;
        let answer = tokio::time::timeout(TIME_LIMIT, client.execute(request)).await;
        answer.map_err(|_| unavailable(format!("no answer within {} s", TIME_LIMIT.as_secs())))
    };
    // In its first region S3 says that it has made a bucket that was there.
    if send("HEAD", String::new()).await?.is_ok() {
        return Ok(Created::WasThere);
    }
    let Err(error) = send("PUT", constraint(region)).await? else { return Ok(Created::Made) };
    match causes(&error).find_map(|cause| cause.downcast_ref::<Refusal>()) {
        Some(refusal) if refusal.is("BucketAlreadyOwnedByYou") => Ok(Created::WasThere),
        Some(refusal) if refusal.is("BucketAlreadyExists") => {
            Err(refused(format!("somebody else has a bucket {} ({refusal}); take another name", location.bucket)))
        }
        Some(refusal) => Err(refused(refusal.to_string())),
        None => Err(unavailable(told(&error))),
    }
}

/// S3 wants to be told any region but its first, which it does not take.
fn constraint(region: &str) -> String {
    if region == DEFAULT_REGION {
        return String::new();
    }
    format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint>\
         </CreateBucketConfiguration>"
    )
}

fn url(location: &S3Location, options: &S3Options, region: &str) -> String {
    let endpoint = options.endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let endpoint = endpoint.trim_end_matches('/');
    match is_path_style(location, options) {
        true => format!("{endpoint}/{}", location.bucket),
        false => format!("{}/", host_of_bucket(endpoint, &location.bucket)),
    }
}

/// The message nearest to the cause.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}
