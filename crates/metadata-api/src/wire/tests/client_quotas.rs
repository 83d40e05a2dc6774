//! Client quotas.

use super::{refuses, through};
use crate::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, QuotaEntityName, QuotaValue, proto};

pub(super) fn named(name: &str) -> QuotaEntityName {
    QuotaEntityName::Named(name.to_owned())
}

/// One of each kind, in their order.
pub(super) fn entities() -> [ClientQuotaEntity; 5] {
    [
        ClientQuotaEntity::ClientId(QuotaEntityName::Default),
        ClientQuotaEntity::ClientId(named("c")),
        ClientQuotaEntity::User(named("u")),
        ClientQuotaEntity::UserClientId(named("u"), QuotaEntityName::Default),
        ClientQuotaEntity::Ip(named("::1")),
    ]
}

pub(super) fn quotas(values: [f64; 2]) -> EntityQuotas {
    ["a", "b"].into_iter().zip(values).map(|(key, value)| (key.to_owned(), QuotaValue::new(value).unwrap())).collect()
}

#[test]
fn client_quotas_travel() {
    let alteration = |entity| ClientQuotaAlteration {
        entity,
        set: quotas([f64::MIN_POSITIVE, f64::INFINITY]),
        removed: ["c".to_owned(), "d".to_owned()].into(),
    };
    let alter = AlterClientQuotas { alterations: entities().map(alteration).into() };
    travels!(&alter.clone(), proto::AlterClientQuotasRequest);
    let good = proto::AlterClientQuotasRequest::from(&alter);
    let refuse = |what: &str, change: fn(&mut proto::ClientQuotaAlteration)| {
        refuses::<_, AlterClientQuotas>(&good, what, |request| change(&mut request.alterations[3]));
    };
    let name = |name: &str| Some(proto::QuotaEntityName { name: Some(name.to_owned()) });
    assert_eq!(good.alterations[3].entity.as_ref().unwrap().user, name("u"));
    refuse("entity is missing", |alteration| alteration.entity = None);
    refuse("for nobody", |alteration| alteration.entity = Some(proto::ClientQuotaEntity::default()));
    refuse("an address and a user", |alteration| {
        alteration.entity.as_mut().unwrap().ip = Some(proto::QuotaEntityName::default());
    });
    refuse("an empty name", |alteration| {
        alteration.entity.as_mut().unwrap().user = Some(proto::QuotaEntityName { name: Some(String::new()) });
    });
    refuse("quota a of 0", |alteration| alteration.set[0].value = 0.0);
    refuse("quota b of NaN", |alteration| alteration.set[1].value = f64::NAN);
}
