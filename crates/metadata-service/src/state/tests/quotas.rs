//! Client quotas.

use std::sync::Arc;

use metadata_api::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, QuotaEntityName, QuotaValue};
use runtime::{ManualClock, Random};
use store::MemoryStore;

use super::*;
use crate::snapshot;

fn client_id(name: &str) -> ClientQuotaEntity {
    ClientQuotaEntity::ClientId(QuotaEntityName::Named(name.to_owned()))
}

fn quotas(entries: &[(&str, f64)]) -> EntityQuotas {
    entries.iter().map(|(key, value)| ((*key).to_owned(), QuotaValue::new(*value).unwrap())).collect()
}

fn alteration(entity: ClientQuotaEntity, set: &[(&str, f64)], removed: &[&str]) -> ClientQuotaAlteration {
    ClientQuotaAlteration { entity, set: quotas(set), removed: removed.iter().map(|key| (*key).to_owned()).collect() }
}

impl World {
    fn alter_quotas(&mut self, alterations: Vec<ClientQuotaAlteration>) -> Result<Answer, MetadataError> {
        self.run(Command::AlterClientQuotas(AlterClientQuotas { alterations }))
    }
}

#[test]
fn keys_are_set_and_removed_one_by_one_and_an_entity_without_any_is_gone() {
    let mut world = World::empty();
    world.alter_quotas(vec![alteration(client_id("a"), &[("x", 1.0), ("y", 2.0)], &["never"])]).unwrap();
    world.alter_quotas(vec![alteration(client_id("a"), &[("x", 3.0), ("z", 4.0)], &["y"])]).unwrap();
    assert_eq!(*world.image.client_quotas, [(client_id("a"), quotas(&[("x", 3.0), ("z", 4.0)]))].into());
    // One that is named twice is altered in the order of the request.
    world
        .alter_quotas(vec![
            alteration(client_id("a"), &[("x", 5.0)], &[]),
            alteration(client_id("b"), &[("x", 6.0)], &[]),
            alteration(client_id("a"), &[], &["x", "z"]),
        ])
        .unwrap();
    assert_eq!(*world.image.client_quotas, [(client_id("b"), quotas(&[("x", 6.0)]))].into());
    world.alter_quotas(vec![alteration(client_id("b"), &[], &["x"])]).unwrap();
    assert!(world.state.client_quotas.is_empty() && world.image.client_quotas.is_empty());
}

#[test]
fn quotas_are_bounded_and_what_is_refused_changes_nothing() {
    let mut world = World::empty();
    let large = |digit: &str| ClientQuotaEntity::UserClientId(QuotaEntityName::Default, QuotaEntityName::Named(digit.repeat(2 << 20)));
    let set = |entity| alteration(entity, &[("x", 1.0)], &[]);
    world.alter_quotas(vec![set(large("1"))]).unwrap();
    match world.alter_quotas(vec![set(client_id("a")), set(large("2"))]) {
        Err(MetadataError::Invalid { detail }) => assert!(detail.contains("at most 4194304") && detail.contains("remove some"), "{detail}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.state.client_quotas.len(), 1);
    // In the same step there is room again.
    world.alter_quotas(vec![set(client_id("a")), set(large("2")), alteration(large("1"), &[], &["x"])]).unwrap();
    assert_eq!(world.state.client_quotas.len(), 2);
}

#[tokio::test]
async fn a_program_that_knows_no_client_quotas_reads_no_snapshot_with_them() {
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
    let random = Random::seeded(1);
    let mut world = World::empty();
    for (change, version) in [(alteration(client_id("a"), &[("x", 1.5)], &[]), 4), (alteration(client_id("a"), &[], &["x"]), 1)] {
        world.alter_quotas(vec![change]).unwrap();
        let (taken, _) = snapshot::write(&store, &random, &world.state, 1, None).await.unwrap();
        let manifest = store::ObjectStore::get(&store, &taken.manifest, 1 << 20).await.unwrap();
        assert_eq!(u16::from_le_bytes([manifest[4], manifest[5]]), version);
        let (loaded, _) = snapshot::load(&store, &taken.manifest).await.unwrap();
        assert_eq!(loaded.client_quotas, world.state.client_quotas);
    }
}
