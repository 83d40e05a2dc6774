//! Very many clients at once.

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Broker, siltstone_ok, siltstone_with_input};

const WANTED: u64 = 10_000;
/// Of the test's files: everything that is not one of the connections.
const OTHER_FILES: u64 = 500;
/// What a connection that has asked something may hold in the broker.
const BYTES_EACH: u64 = 16 << 10;

/// ApiVersions version 0, correlation id 1, no client id.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];

/// Resident bytes of a process.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_are_served_and_cost_little() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let connections = WANTED.min(limit.maximum.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES));
    if connections < WANTED {
        println!("{connections} connections instead of {WANTED}: raise the hard limit on open files (ulimit -Hn) for more");
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let before = resident(broker.pid());
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(&broker.bootstrap).await.unwrap();
        stream.write_all(API_VERSIONS).await.unwrap();
        open.push(stream);
    }
    for stream in &mut open {
        let length = stream.read_u32().await.unwrap();
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..6], [0, 0, 0, 1, 0, 0], "its correlation id, no error");
    }
    let each = resident(broker.pid()).saturating_sub(before) / connections;
    println!("{each} bytes a connection");
    assert!(each < BYTES_EACH, "{each} bytes a connection");
    let written = siltstone_with_input(&["produce", "lines", "--bootstrap", &broker.bootstrap], "among many\n").await;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_eq!(siltstone_ok(&["consume", "lines", "--bootstrap", &broker.bootstrap]).await, "among many\n");
    drop(open);
    assert!(broker.terminate().await.status.success(), "and it stops in order");
}
