//! UpdateFeatures (KIP-584, KIP-1022): the only feature has one level, which comes with the program. So asking for it changes nothing, and
//! anything else is refused.

use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::update_features_response::UpdatableFeatureResult;
use protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::{ErrorCode, GROUP_VERSION};

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::session::RequestContext;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    match request.feature_updates.iter().try_for_each(|update| check(broker, update)) {
        Ok(()) => {
            let updated =
                request.feature_updates.iter().map(|update| UpdatableFeatureResult::default().with_feature(update.feature.clone()));
            UpdateFeaturesResponse::default().with_results(updated.collect())
        }
        Err(refusal) => {
            let (code, message) = refusal.answered(broker, context);
            UpdateFeaturesResponse::default().with_error_code(code).with_error_message(message)
        }
    }
}

/// The texts are Kafka's.
fn check(broker: &Broker, update: &FeatureUpdateKey) -> Result<(), Refusal> {
    /// Upgrade, safe and unsafe downgrade.
    const TYPES: std::ops::RangeInclusive<i8> = 1..=3;

    let (name, level) = GROUP_VERSION;
    let (feature, asked, id) = (&update.feature, update.max_version_level, broker.options().id);
    let why = if !TYPES.contains(&update.upgrade_type) {
        "The controller does not support the given upgrade type.".to_owned()
    } else if **feature != *name {
        format!("Local controller {id} does not support this feature.")
    } else if asked != level {
        format!("Local controller {id} only supports versions {level}-{level}")
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        ErrorCode::InvalidUpdateVersion,
        format!(
            "The update failed for all features since the following feature had an error: Invalid update version {asked} for feature \
             {feature}. {why}"
        ),
    ))
}
