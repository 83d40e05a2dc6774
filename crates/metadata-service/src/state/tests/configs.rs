//! What is set on brokers and groups.

use std::sync::Arc;

use metadata_api::{AlterResourceConfigs, ConfigResource};
use runtime::{ManualClock, Random};
use store::MemoryStore;

use super::*;
use crate::snapshot;

fn group(id: &str) -> ConfigResource {
    ConfigResource::Group(id.to_owned())
}

impl World {
    fn alter_configs(&mut self, resource: ConfigResource, expected: Revision, entries: &[(&str, &str)]) -> Result<Answer, MetadataError> {
        self.run(Command::AlterResourceConfigs(AlterResourceConfigs { resource, expected, configs: configs(entries) }))
    }

    /// In place of what is set now.
    pub(super) fn set_configs(&mut self, resource: ConfigResource, entries: &[(&str, &str)]) {
        let expected = self.image.configs.get(&resource).map_or(Revision(0), |set| set.revision);
        self.alter_configs(resource, expected, entries).unwrap();
    }
}

#[test]
fn what_is_set_is_replaced_only_by_who_saw_the_newest() {
    let mut world = World::empty();
    let conflict = Err(MetadataError::ResourceConfigConflict { resource: group("g") });
    world.alter_configs(group("g"), Revision(0), &[("a", "1")]).unwrap();
    let first = world.state.revision;
    assert_eq!(world.alter_configs(group("g"), Revision(0), &[("a", "2")]), conflict);
    assert_eq!(world.alter_configs(group("g"), first, &[("b", "2")]), Ok(Answer::Revision(Revision(first.0 + 1))));
    assert_eq!(world.alter_configs(group("g"), first, &[("a", "3")]), conflict);
    assert_eq!(world.image.configs[&group("g")].configs, configs(&[("b", "2")]));
    world.alter_configs(group("other"), Revision(0), &[("a", "1")]).unwrap();
    assert_eq!(world.image.configs.len(), 2);
}

#[test]
fn a_resource_on_which_nothing_is_set_takes_no_room() {
    let mut world = World::empty();
    world.set_configs(ConfigResource::AllBrokers, &[("a", "1")]);
    world.set_configs(ConfigResource::AllBrokers, &[]);
    assert!(world.state.configs.is_empty() && world.image.configs.is_empty());
    world.set_configs(ConfigResource::AllBrokers, &[]);
    assert!(world.state.configs.is_empty());
}

#[test]
fn what_is_set_is_bounded_on_one_resource_and_on_all_together() {
    let mut world = World::empty();
    let refused = |answer: Result<Answer, MetadataError>, text: &str| match answer {
        Err(MetadataError::Invalid { detail }) => assert!(detail.contains(text), "{detail}"),
        other => panic!("{other:?}"),
    };
    let large = "x".repeat((256 << 10) - 1);
    refused(world.alter_configs(group("g"), Revision(0), &[("a", &format!("{large}x"))]), "at most 262144");
    for number in 0..15 {
        world.alter_configs(group(&number.to_string()), Revision(0), &[("a", &large)]).unwrap();
    }
    refused(world.alter_configs(group(&"g".repeat(1 << 20)), Revision(0), &[("a", "1")]), "delete some");
    refused(world.alter_configs(group("16"), Revision(0), &[("a", &large)]), "at most 4194304");
    world.set_configs(group("1"), &[("a", "1")]);
    world.alter_configs(group("16"), Revision(0), &[("a", &large)]).unwrap();
    world.set_configs(group("16"), &[]);
}

#[tokio::test]
async fn a_program_that_knows_no_configs_reads_no_snapshot_with_configs() {
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
    let random = Random::seeded(1);
    let mut world = World::empty();
    for (entries, version) in [(&[][..], 1), (&[("a", "1")][..], 3), (&[][..], 1)] {
        world.set_configs(group("g"), entries);
        let (taken, _) = snapshot::write(&store, &random, &world.state, 1, None).await.unwrap();
        let manifest = store::ObjectStore::get(&store, &taken.manifest, 1 << 20).await.unwrap();
        assert_eq!(u16::from_le_bytes([manifest[4], manifest[5]]), version);
        let (loaded, _) = snapshot::load(&store, &taken.manifest).await.unwrap();
        assert_eq!(loaded.configs, world.state.configs);
    }
}
