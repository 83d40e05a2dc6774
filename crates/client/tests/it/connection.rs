use std::time::Duration;

use bytes::BytesMut;
use client::{Client, ClientError, ClientOptions, Connection, ConnectionOptions};
use protocol::messages::{MetadataRequest, ProduceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake_broker::FakeBroker;

#[tokio::test]
async fn an_older_broker_is_asked_again_in_the_version_it_names() {
    for max in 0..=4 {
        let broker = FakeBroker::start().await;
        broker.state().api_versions_max = Some(max);
        let connection = Connection::connect(&broker.address(), &ConnectionOptions::default()).await.unwrap();
        assert_eq!(connection.version::<MetadataRequest>().unwrap(), 13);
        assert_eq!(connection.version::<ProduceRequest>().unwrap(), 13);
    }
}

#[tokio::test]
async fn pipelined_requests_each_get_their_own_answer() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let connection = Connection::connect(&broker.address(), &ConnectionOptions::default()).await.unwrap();
    let mut answers = Vec::new();
    for version in 1..=13 {
        let request = MetadataRequest::default().with_topics(None);
        answers.push(connection.begin(version, &request).await.unwrap());
    }
    for answer in answers {
        assert_eq!(answer.wait().await.unwrap().topics.len(), 1);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_one_line_with_the_address() {
    // A port that was just free: nothing else takes it within this test.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Client::connect(&format!("127.0.0.1:{port}"), ClientOptions::default()).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: Connection refused")), "{error}");
    assert!(!error.contains('\n'));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_is_given_up_after_the_request_timeout() {
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    let options = ConnectionOptions { request_timeout: Duration::from_secs(3), ..ConnectionOptions::default() };
    let error = Connection::over(ours, "silent:1", &options).await.err().unwrap();
    assert_eq!(error.to_string(), "silent:1 did not answer ApiVersions within 3000 ms");
}

#[tokio::test]
async fn an_answer_that_belongs_to_no_request_ends_the_connection() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut request = BytesMut::new();
        theirs.read_buf(&mut request).await.unwrap();
        // 6 bytes: correlation id 77, error code 0.
        theirs.write_all(&[0, 0, 0, 6, 0, 0, 0, 77, 0, 0]).await.unwrap();
        theirs.read_buf(&mut request).await.unwrap();
    });
    let error = Connection::over(ours, "odd:1", &ConnectionOptions::default()).await.err().unwrap();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
}

#[tokio::test]
async fn an_announced_answer_beyond_the_bound_ends_the_connection() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        theirs.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
        let mut requests = BytesMut::new();
        while 0 < theirs.read_buf(&mut requests).await.unwrap() {}
    });
    let error = Connection::over(ours, "vast:1", &ConnectionOptions::default()).await.err().unwrap();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
}
