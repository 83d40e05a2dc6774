//! The client's contract over both transports.

use metadata_api::{GrpcClient, conformance};
use runtime::Shutdown;
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn the_client_in_process_conforms() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    conformance::check(service.client()).await;
}

#[tokio::test]
async fn the_client_over_grpc_conforms() {
    let machine = Machine::new();
    let service = Arc::new(machine.start().await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    let serving = tokio::spawn({
        let (service, shutdown) = (service.clone(), shutdown.clone());
        async move { service.serve_grpc(listener, shutdown).await }
    });
    let client = GrpcClient::connect(url, Duration::from_secs(15)).unwrap();
    client.ready().await.unwrap();
    let client = Arc::new(client);
    conformance::check(client.clone()).await;
    drop(client);
    shutdown.trigger();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn t28_a_host_that_never_answers_is_given_up_within_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let deadline = Duration::from_millis(200);
    let client = GrpcClient::connect(url, deadline).unwrap();
    let started = tokio::time::Instant::now();
    assert!(matches!(client.ready().await, Err(MetadataError::Unavailable { .. })));
    let write = client.create_topic(create_request("orders")).await;
    assert!(matches!(write, Err(MetadataError::Unknown { .. })), "{write:?}");
    let read = client.segments(TopicPartition::default(), Offset(0), 1).await;
    assert!(matches!(read, Err(MetadataError::Unavailable { .. })), "{read:?}");
    assert!(deadline <= started.elapsed());
    drop(listener);
}
