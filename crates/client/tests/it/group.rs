use std::collections::BTreeMap;
use std::time::Duration;

use client::{Client, ClientError, ClientOptions, ConsumerOptions, GroupConsumer, OffsetSpec};
use protocol::ErrorCode;

use crate::fake_broker::{FakeBroker, Fault};

async fn join(broker: &FakeBroker) -> Result<GroupConsumer, ClientError> {
    let options = ClientOptions { retry_timeout: Duration::from_secs(1), ..ClientOptions::default() };
    let client = Client::connect(&broker.address(), options).await.unwrap();
    let options = ConsumerOptions { max_wait: Duration::from_millis(1), ..ConsumerOptions::default() };
    GroupConsumer::join(client, "group", "events", OffsetSpec::Earliest, options).await
}

#[tokio::test]
async fn joining_ends_when_the_coordinator_never_lets_the_member_stay() {
    for (join_code, sync_code) in [(Some(ErrorCode::UnknownMemberId), None), (None, Some(ErrorCode::RebalanceInProgress))] {
        let broker = FakeBroker::with_topic("events", 1).await;
        broker.state().group.joins_refused = join_code;
        broker.state().group.syncs_refused = sync_code;
        let joined = tokio::time::timeout(Duration::from_secs(20), join(&broker)).await.expect("joining has an end");
        assert_eq!(joined.err().and_then(|error| error.code()), join_code.or(sync_code));
        // With waits that double from 20 ms, a second has room for seven.
        let joins = broker.state().group.joined.len();
        assert!((2..10).contains(&joins), "{joins}");
    }
}

#[tokio::test]
async fn a_member_that_the_coordinator_forgot_joins_as_a_new_one_and_one_that_came_late_keeps_its_id() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let late = [ErrorCode::RebalanceInProgress, ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId];
    broker.state().group.sync_faults.extend(late.map(Fault::Refuse));
    join(&broker).await.unwrap();
    assert_eq!(broker.state().group.joined, ["", "member", "member", ""]);
}

#[tokio::test]
async fn a_commit_is_sent_again_while_its_coordinator_moves() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let mut member = join(&broker).await.unwrap();
    broker.state().group.commit_faults.extend([
        Fault::Refuse(ErrorCode::CoordinatorLoadInProgress),
        Fault::Refuse(ErrorCode::NotCoordinator),
        Fault::Close,
    ]);
    assert!(member.commit(&BTreeMap::from([(0, 5)])).await.unwrap());
    assert_eq!(broker.state().group.committed, BTreeMap::from([(("events".to_owned(), 0), 5)]));
    assert_eq!(broker.state().group.commits, [1, 1, 1, 1], "in the generation it is for");
    assert_eq!(broker.state().group.joined.len(), 1);
}

#[tokio::test]
async fn a_commit_that_comes_too_late_for_its_generation_is_not_made_and_the_next_poll_joins_again() {
    for code in [ErrorCode::RebalanceInProgress, ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId] {
        let broker = FakeBroker::with_topic("events", 1).await;
        let mut member = join(&broker).await.unwrap();
        broker.state().group.commit_faults.push_back(Fault::Refuse(code));
        broker.state().group.heartbeat_faults.push_back(Fault::Refuse(code));
        assert!(!member.commit(&BTreeMap::from([(0, 5)])).await.unwrap(), "{code}");
        assert_eq!(broker.state().group.commits.len(), 1, "{code}");
        member.poll().await.unwrap();
        assert_eq!(broker.state().group.joined.len(), 2, "{code}");
        assert!(member.commit(&BTreeMap::from([(0, 5)])).await.unwrap(), "{code}");
    }
}

#[tokio::test]
async fn a_commit_that_is_refused_for_good_or_for_too_long_is_an_error() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let mut member = join(&broker).await.unwrap();
    broker.state().group.commit_faults.push_back(Fault::Refuse(ErrorCode::GroupAuthorizationFailed));
    let error = member.commit(&BTreeMap::from([(0, 5)])).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupAuthorizationFailed));
    broker.state().group.commit_faults.extend([Fault::Refuse(ErrorCode::CoordinatorNotAvailable); 1000]);
    let error = member.commit(&BTreeMap::from([(0, 5)])).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::CoordinatorNotAvailable));
}
