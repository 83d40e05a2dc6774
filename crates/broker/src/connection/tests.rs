use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::session::{Principal, Stage};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Answers frames as their first two bytes (the place of the API key) say. Every call is recorded in order.
#[derive(Default)]
struct Script {
    calls: Mutex<Vec<Bytes>>,
    held: Mutex<Vec<oneshot::Sender<()>>>,
    answered: AtomicUsize,
    answers: Option<Arc<MemoryBudget>>,
}

/// Echo the frame.
const ECHO: i16 = 1;
/// Echo once the test lets it.
const HELD: i16 = 2;
/// Wait for data that never comes.
const POLL: i16 = 3;
const PANIC: i16 = 4;
/// No answer.
const SILENT: i16 = 5;
/// A megabyte.
const LARGE: i16 = 6;
const CLOSE: i16 = 7;
/// Not even read.
const UNKNOWN: i16 = 8;
/// Echo the frame, and pause for as many seconds as its body says.
const THROTTLED: i16 = 9;
/// No answer, and such a pause.
const THROTTLED_SILENCE: i16 = 10;

fn asked_pause(frame: &[u8]) -> Duration {
    Duration::from_secs(frame[HEADER].into())
}

fn reply(frame: Bytes) -> Answer {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    Answer { parts: vec![Bytes::copy_from_slice(&length), frame], charge: None, throttle: Duration::ZERO }
}

impl Service for Script {
    fn frame_limit(&self, _: &Session, start: [u8; PEEK_BYTES]) -> Result<usize, String> {
        match i16::from_be_bytes([start[0], start[1]]) {
            ECHO => Ok(100 * MIB),
            UNKNOWN => Err("not served".into()),
            _ => Ok(2 * MIB),
        }
    }

    fn call(&self, _: &mut Session, frame: Bytes, mut hurry: Hurry) -> Begun {
        let begun = |reply| Begun { decoded_bytes: 0, reply };
        self.calls.lock().push(frame.clone());
        let answer: BoxFuture<'static, Result<Answer, String>> = match frame.clone().get_i16() {
            HELD => {
                let (release, held) = oneshot::channel();
                self.held.lock().push(release);
                held.map(|_| Ok(reply(frame))).boxed()
            }
            POLL => async move {
                hurry.wait().await;
                Ok(reply(frame))
            }
            .boxed(),
            PANIC => panic!("the test asked for it"),
            SILENT => return begun(Reply::Silence(futures::future::ready(Duration::ZERO).boxed())),
            THROTTLED_SILENCE => return begun(Reply::Silence(futures::future::ready(asked_pause(&frame)).boxed())),
            THROTTLED => futures::future::ready(Ok(Answer { throttle: asked_pause(&frame), ..reply(frame) })).boxed(),
            LARGE => {
                let budget = self.answers.clone().expect("the test sets it");
                self.answered.fetch_add(1, Ordering::Relaxed);
                async move {
                    let charge = budget.up_to(MIB, MIB).await;
                    Ok(Answer { charge: Some(charge), ..reply(vec![7; MIB].into()) })
                }
                .boxed()
            }
            CLOSE => return begun(Reply::Close("the test asked for it".into())),
            _ => futures::future::ready(Ok(reply(frame))).boxed(),
        };
        begun(Reply::Answer(answer))
    }
}

struct Peer {
    stream: DuplexStream,
    server: JoinHandle<Ended>,
}

struct Setup {
    script: Arc<Script>,
    requests: Arc<MemoryBudget>,
    shutdown: Shutdown,
    limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            script: Arc::default(),
            requests: MemoryBudget::new(16 * MIB),
            shutdown: Shutdown::new(),
            limits: Limits {
                largest_frame: 100 * MIB,
                idle: Duration::from_secs(600),
                stall: Duration::from_secs(30),
                drain: Duration::from_secs(10),
            },
        }
    }
}

impl Setup {
    fn connect(&self) -> Peer {
        let (stream, theirs) = tokio::io::duplex(64 * KIB);
        let (reader, writer) = tokio::io::split(theirs);
        let session = Session::new("PLAINTEXT".into(), [127, 0, 0, 1].into(), Stage::Authenticated(Principal::anonymous()));
        let server =
            tokio::spawn(serve(reader, writer, self.script.clone(), session, self.requests.clone(), self.limits, self.shutdown.clone()));
        Peer { stream, server }
    }
}

/// Bytes of the shortest request.
const HEADER: usize = frame::MIN_REQUEST_BYTES;

fn frame(kind: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = i32::try_from(HEADER + body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.resize(LENGTH_BYTES + HEADER, 0);
    bytes.extend_from_slice(body);
    bytes
}

impl Peer {
    async fn send(&mut self, kind: i16, body: &[u8]) {
        self.stream.write_all(&frame(kind, body)).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        let length = self.stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).await.unwrap();
        body
    }

    async fn ended(self) -> Ended {
        self.server.await.expect("no panic")
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_keep_the_order_of_their_requests_while_later_requests_are_already_begun() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.send(HELD, b"first").await;
    peer.send(ECHO, b"second").await;
    peer.send(SILENT, b"").await;
    peer.send(HELD, b"third").await;
    settle().await;
    assert_eq!(setup.script.calls.lock().len(), 4, "all are begun before the first is answered");
    let held = std::mem::take(&mut *setup.script.held.lock());
    for release in held.into_iter().rev() {
        release.send(()).unwrap();
        settle().await;
    }
    for expected in ["first", "second", "third"] {
        assert_eq!(&peer.receive().await[HEADER..], expected.as_bytes());
    }
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_read_whole() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    for byte in [frame(ECHO, b"one"), frame(ECHO, b"two")].concat() {
        peer.stream.write_all(&[byte]).await.unwrap();
        settle().await;
    }
    assert_eq!((&peer.receive().await[HEADER..], &peer.receive().await[HEADER..]), (&b"one"[..], &b"two"[..]));
}

#[tokio::test]
async fn a_large_frame_arrives_intact() {
    let setup = Setup::default();
    let body: Vec<u8> = (0..3_000_001u32).map(|i| (i % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(setup.connect().stream);
    let sent = frame(ECHO, &body);
    let sending = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer
    });
    let length = reader.read_u32().await.unwrap();
    let mut back = vec![0; length as usize];
    reader.read_exact(&mut back).await.unwrap();
    assert!(back[HEADER..] == body);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn lengths_that_cannot_be_close_the_connection_before_anything_is_held() {
    for prefix in [-1, 0, 9, i32::MIN, i32::MAX] {
        let setup = Setup::default();
        let mut peer = setup.connect();
        peer.stream.write_all(&i32::to_be_bytes(prefix)).await.unwrap();
        // The other side may have closed already.
        let _ = peer.stream.write_all(&ECHO.to_be_bytes()).await;
        assert!(matches!(peer.ended().await, Ended::Refused(_)), "{prefix}");
        assert_eq!(setup.requests.used_bytes(), 0);
    }
}

#[tokio::test]
async fn the_limit_of_a_frame_depends_on_its_api() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.stream.write_all(&i32::to_be_bytes(3 * 1024 * 1024)).await.unwrap();
    peer.stream.write_all(&[HELD.to_be_bytes(), [0; 2]].concat()).await.unwrap();
    let Ended::Refused(reason) = peer.ended().await else { panic!("refused") };
    assert_eq!(reason, "a request of 3145728 bytes is above the limit of 2097152 for its API");
}

#[tokio::test]
async fn a_request_of_an_unknown_api_is_refused_before_its_body_is_read() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.stream.write_all(&i32::to_be_bytes(1024 * 1024)).await.unwrap();
    peer.stream.write_all(&[UNKNOWN.to_be_bytes(), [0; 2]].concat()).await.unwrap();
    assert!(matches!(peer.ended().await, Ended::Refused(reason) if reason == "not served"));
}

#[tokio::test(start_paused = true)]
async fn twenty_frames_of_90_mb_that_are_held_back_cost_next_to_nothing_and_go_away() {
    let setup = Setup::default();
    let mut peers: Vec<_> = (0..20).map(|_| setup.connect()).collect();
    for peer in &mut peers {
        peer.stream.write_all(&i32::to_be_bytes(90_000_000)).await.unwrap();
        peer.stream.write_all(&frame(ECHO, &[0; 1000])[4..]).await.unwrap();
    }
    settle().await;
    assert!(setup.requests.used_bytes() <= 20 * (FIRST_CHUNK + 2 * REQUEST_OVERHEAD), "{}", setup.requests.used_bytes());
    let mut honest = setup.connect();
    honest.send(ECHO, b"still served").await;
    assert_eq!(&honest.receive().await[HEADER..], b"still served");
    let start = Instant::now();
    for peer in peers {
        assert!(matches!(peer.ended().await, Ended::SlowWriter));
    }
    assert!(start.elapsed() <= setup.limits.stall + Duration::from_secs(1));
    assert_eq!(setup.requests.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_is_held_back_too() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.stream.write_all(&i32::to_be_bytes(90_000_000)).await.unwrap();
    let start = Instant::now();
    while peer.stream.write_all(&[0, ECHO as u8]).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < 2 * setup.limits.stall);
    }
    assert!(matches!(peer.ended().await, Ended::SlowWriter));
}

#[tokio::test(start_paused = true)]
async fn frames_larger_than_the_whole_budget_are_read_one_at_a_time() {
    let setup = Setup { requests: MemoryBudget::new(256 * KIB), ..Setup::default() };
    let body = vec![1; 3 * MIB];
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut reader, mut writer) = tokio::io::split(setup.connect().stream);
            let sent = frame(ECHO, &body);
            tokio::spawn(async move {
                let writing = tokio::spawn(async move { writer.write_all(&sent).await.map(|()| writer) });
                let length = reader.read_u32().await.unwrap();
                let mut back = vec![0; length as usize];
                reader.read_exact(&mut back).await.unwrap();
                writing.await.unwrap().unwrap();
                back.len()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), HEADER + body.len());
    }
    settle().await;
    assert_eq!(setup.requests.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn abandoned_long_polls_end_at_once() {
    let setup = Setup::default();
    let mut peers = Vec::new();
    for _ in 0..1000 {
        let mut peer = setup.connect();
        peer.send(POLL, b"").await;
        peers.push(peer);
    }
    settle().await;
    let start = Instant::now();
    for Peer { stream, server } in peers {
        drop(stream);
        server.await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(setup.requests.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_hurries_the_poll_at_its_head_so_that_the_peers_end_is_noticed() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    for _ in 0..3 * PIPELINE {
        peer.send(POLL, b"").await;
    }
    let start = Instant::now();
    drop(peer.stream);
    peer.server.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unread_answers_hold_one_answer_each_and_go_away_when_others_wait_for_the_memory() {
    let answers = MemoryBudget::new(4 * MIB);
    let setup = Setup { script: Arc::new(Script { answers: Some(answers.clone()), ..Script::default() }), ..Setup::default() };
    let mut lazy: Vec<_> = (0..4).map(|_| setup.connect()).collect();
    for peer in &mut lazy {
        for _ in 0..10 {
            peer.send(LARGE, b"").await;
        }
    }
    settle().await;
    assert_eq!(answers.used_bytes(), 4 * MIB);
    let mut honest = setup.connect();
    honest.send(LARGE, b"").await;
    assert_eq!(honest.receive().await.len(), MIB);
    for peer in lazy {
        assert!(matches!(peer.ended().await, Ended::SlowReader));
    }
    settle().await;
    assert_eq!(answers.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unread_answer_that_nobody_needs_the_memory_of_may_wait_as_long_as_a_connection_may_idle() {
    let answers = MemoryBudget::new(64 * MIB);
    let setup = Setup { script: Arc::new(Script { answers: Some(answers), ..Script::default() }), ..Setup::default() };
    let mut peer = setup.connect();
    peer.send(LARGE, b"").await;
    tokio::time::sleep(setup.limits.idle - Duration::from_secs(60)).await;
    assert_eq!(peer.receive().await.len(), MIB);
    peer.send(LARGE, b"").await;
    tokio::time::sleep(setup.limits.idle + Duration::from_secs(60)).await;
    assert!(matches!(peer.ended().await, Ended::SlowReader));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_one_that_waits_for_an_answer_is_not() {
    let setup = Setup::default();
    let idle = setup.connect();
    let mut waiting = setup.connect();
    waiting.send(HELD, b"late").await;
    tokio::time::sleep(setup.limits.idle + 2 * setup.limits.drain).await;
    assert!(matches!(idle.ended().await, Ended::Idle));
    let release = setup.script.held.lock().pop().unwrap();
    release.send(()).unwrap();
    assert_eq!(&waiting.receive().await[HEADER..], b"late");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_peer_is_answered_at_once_and_then_not_read_until_its_pause_is_over() {
    const PAUSE: Duration = Duration::from_secs(3);
    for kind in [THROTTLED, THROTTLED_SILENCE] {
        let setup = Setup::default();
        let mut peer = setup.connect();
        let start = Instant::now();
        peer.send(kind, &[3]).await;
        if kind == THROTTLED {
            peer.receive().await;
        }
        settle().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        peer.send(ECHO, b"impatient").await;
        settle().await;
        assert_eq!(setup.script.calls.lock().len(), 1, "the next request is not even begun");
        assert_eq!(&peer.receive().await[HEADER..], b"impatient");
        assert!(PAUSE <= start.elapsed() && start.elapsed() < 2 * PAUSE, "{:?}", start.elapsed());
        // A pause is no idleness, and the connection is as good as before.
        peer.send(ECHO, b"again").await;
        assert_eq!(&peer.receive().await[HEADER..], b"again");
        assert!(start.elapsed() < 2 * PAUSE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_does_not_cut_a_long_one_short() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    let start = Instant::now();
    peer.stream.write_all(&[frame(THROTTLED, &[9]), frame(THROTTLED_SILENCE, &[2]), frame(THROTTLED, &[1])].concat()).await.unwrap();
    for _ in 0..2 {
        peer.receive().await;
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "they were sent before the pause");
    peer.send(ECHO, b"").await;
    peer.receive().await;
    assert!(Duration::from_secs(9) <= start.elapsed() && start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_end_of_a_pause() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.send(THROTTLED, &[3]).await;
    peer.receive().await;
    let start = Instant::now();
    setup.shutdown.trigger();
    assert!(matches!(peer.ended().await, Ended::Shutdown));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[test]
fn slow_peers_are_counted_by_what_they_are_slow_at() {
    assert_eq!([Ended::SlowWriter, Ended::SlowReader, Ended::Idle].map(|ended| ended.label()), ["slow_writer", "slow_reader", "idle"]);
}

#[tokio::test]
async fn a_panic_closes_its_connection_only_and_leaves_nothing_held() {
    let setup = Setup::default();
    let (mut first, mut second) = (setup.connect(), setup.connect());
    first.send(PANIC, b"").await;
    assert!(first.server.await.unwrap_err().is_panic());
    assert_eq!(first.stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    second.send(ECHO, b"alive").await;
    assert_eq!(&second.receive().await[HEADER..], b"alive");
    settle().await;
    assert_eq!(setup.requests.used_bytes(), 0);
}

#[tokio::test]
async fn a_refused_request_ends_the_connection_after_the_answers_that_are_owed() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.send(ECHO, b"owed").await;
    peer.send(CLOSE, b"").await;
    peer.send(ECHO, b"never").await;
    assert_eq!(&peer.receive().await[HEADER..], b"owed");
    assert_eq!(peer.stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(peer.ended().await, Ended::Refused(_)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_was_asked_and_reads_no_more() {
    let setup = Setup::default();
    let mut peer = setup.connect();
    peer.send(POLL, b"polled").await;
    peer.send(HELD, b"appended").await;
    settle().await;
    setup.shutdown.trigger();
    settle().await;
    let _ = peer.stream.write_all(&frame(ECHO, b"late")).await;
    let release = setup.script.held.lock().pop().unwrap();
    release.send(()).unwrap();
    assert_eq!((&peer.receive().await[HEADER..], &peer.receive().await[HEADER..]), (&b"polled"[..], &b"appended"[..]));
    assert_eq!(peer.stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(peer.ended().await, Ended::Shutdown));
    assert_eq!(setup.script.calls.lock().len(), 2);
}
