//! Replays recordings against Siltstone and Apache Kafka, one request at a time in the recorded order, and compares what they answer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchRequest, ResponseKind};
use kafka_protocol::protocol::Decodable;

use crate::differences::Declared;
use crate::recording::Exchange;
use crate::translate::{Sessions, TopicIds, translate};
use crate::value::{Difference, Value, compare};
use crate::{frame, own};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long two answers to a question may differ. Apache Kafka's controller answers a change before its broker has heard of it, and
/// clients ask again; so is done here.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Requests that change nothing that asking again would change again. A producer id is given out once more, which nobody minds.
const QUESTIONS: &[ApiKey] = &[
    ApiKey::InitProducerId,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTopicPartitions,
    ApiKey::ListConfigResources,
    ApiKey::OffsetForLeaderEpoch,
];

/// A broker that is asked.
#[derive(Debug)]
struct Peer {
    address: String,
    connections: HashMap<u32, TcpStream>,
    ids: TopicIds,
    sessions: Sessions,
}

/// What became of a request.
enum Outcome {
    Answered(Box<ResponseKind>),
    /// No answer was asked for.
    Unanswered,
    Closed,
}

impl Peer {
    fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connections: HashMap::new(), ids: TopicIds::default(), sessions: Sessions::default() }
    }

    /// Sends a request on its connection, which is made when it is the first there or the one before was closed.
    fn ask(&mut self, exchange: &Exchange, request: &Bytes) -> Result<Outcome> {
        let head = exchange.head;
        let answer = self
            .exchange(exchange, request)
            .with_context(|| format!("ask {} for {:?} version {}", self.address, head.api, head.version))?;
        let Some(answer) = answer else {
            self.connections.remove(&exchange.connection);
            return Ok(Outcome::Closed);
        };
        if answer.is_empty() {
            return Ok(Outcome::Unanswered);
        }
        ensure!(
            frame::correlation_id(&answer) == Some(head.correlation_id),
            "{} answered {:?} with another correlation id",
            self.address,
            head.api
        );
        let body = head.decode_answer(&answer).with_context(|| format!("decode {}'s answer", self.address))?;
        self.ids.learn(&body);
        Ok(Outcome::Answered(Box::new(body)))
    }

    /// The bytes of the answer, none if none is asked for; `None` when the connection was closed instead.
    fn exchange(&mut self, exchange: &Exchange, request: &Bytes) -> io::Result<Option<Bytes>> {
        let stream = match self.connections.entry(exchange.connection) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                entry.insert(stream)
            }
        };
        match frame::write_frame(stream, request) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return Ok(None),
            result => result?,
        }
        if asks_for_no_answer(exchange) { Ok(Some(Bytes::new())) } else { frame::read_frame(stream) }
    }
}

/// A producer that does not want to be told (acks=0) is not answered by any broker, so the recorded one did not either. What Apache
/// Kafka no longer knows, it closes the connection on, whatever the request says.
fn asks_for_no_answer(exchange: &Exchange) -> bool {
    exchange.head.api == ApiKey::Produce && exchange.head.is_current() && exchange.answer.is_none()
}

/// Whether a request may be asked again. A fetch may when it goes by no session's state: it may have come before what a producer that
/// asked for no answer wrote.
fn is_question(exchange: &Exchange) -> Result<bool> {
    let head = exchange.head;
    if head.api != ApiKey::Fetch {
        return Ok(QUESTIONS.contains(&head.api));
    }
    let mut body = exchange.request.slice(head.body_start(&exchange.request)?..);
    Ok(FetchRequest::decode(&mut body, head.version)?.session_epoch <= 0)
}

/// What was found in one recording.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// Requests whose answers were compared.
    pub compared: usize,
    /// Requests of versions that Apache Kafka no longer serves.
    pub not_served: usize,
    /// Requests that ask for no answer.
    pub unanswered: usize,
    /// Places that differ as declared.
    pub declared: usize,
    /// Places that differ and are not declared, as text for people, each with the requests that showed it.
    pub undeclared: BTreeMap<String, Vec<usize>>,
}

/// Two brokers, and what may differ between them.
#[derive(Debug)]
pub struct Replay {
    siltstone: Peer,
    kafka: Peer,
    declared: Vec<Declared>,
    seen: BTreeSet<usize>,
}

impl Replay {
    /// Between brokers at these addresses, host:port, both started empty and with the broker id 1.
    pub fn new(siltstone: &str, kafka: &str, declared: Vec<Declared>) -> Self {
        Self { siltstone: Peer::new(siltstone), kafka: Peer::new(kafka), declared, seen: BTreeSet::new() }
    }

    /// The declared differences that no recording has shown so far.
    pub fn unseen(&self) -> impl Iterator<Item = &Declared> {
        self.declared.iter().filter(|declared| !self.seen.contains(&declared.line))
    }

    /// Replays one recording, on connections of its own.
    ///
    /// # Errors
    /// When a broker cannot be asked, or what it answers is not an answer.
    pub fn run(&mut self, exchanges: &[Exchange]) -> Result<Report> {
        for peer in [&mut self.siltstone, &mut self.kafka] {
            peer.connections.clear();
            peer.sessions = Sessions::default();
        }
        let mut recorded = TopicIds::default();
        let mut report = Report::default();
        for (number, exchange) in exchanges.iter().enumerate() {
            self.one(number, exchange, &mut recorded, &mut report)
                .with_context(|| format!("request {number}, connection {}", exchange.connection))?;
        }
        Ok(report)
    }

    fn one(&mut self, number: usize, exchange: &Exchange, recorded: &mut TopicIds, report: &mut Report) -> Result<()> {
        if !exchange.head.is_current() {
            return self.old_one(exchange, report);
        }
        let deadline = Instant::now() + SETTLED_WITHIN;
        let (siltstone, kafka, found) = loop {
            let kafka = self.kafka.ask(exchange, &translate(exchange, recorded, &self.kafka.ids, &self.kafka.sessions)?)?;
            let siltstone = self.siltstone.ask(exchange, &translate(exchange, recorded, &self.siltstone.ids, &self.siltstone.sessions)?)?;
            let found = self.differences(exchange, &siltstone, &kafka)?;
            let settled = found.iter().all(|(_, declared)| declared.is_some());
            if settled || !is_question(exchange)? || deadline < Instant::now() {
                break (siltstone, kafka, found);
            }
            thread::sleep(ASKED_EVERY);
        };
        match siltstone {
            Outcome::Unanswered => report.unanswered += 1,
            _ => report.compared += 1,
        }
        let head = exchange.head;
        for (difference, declared) in found {
            if let Some(line) = declared {
                report.declared += 1;
                self.seen.insert(line);
            } else {
                let Difference { path, left, right } = difference;
                let (left, right) = (shorten(&left), shorten(&right));
                let text = format!("{:?} version {}, {path}: {left} from Siltstone, {right} from Kafka", head.api, head.version);
                report.undeclared.entry(text).or_default().push(number);
            }
        }
        if let Some(answer) = &exchange.answer {
            let answer = head.decode_answer(answer).context("decode the recorded answer")?;
            recorded.learn(&answer);
            for (peer, outcome) in [(&mut self.siltstone, &siltstone), (&mut self.kafka, &kafka)] {
                if let Outcome::Answered(own) = outcome {
                    peer.sessions.learn(exchange.connection, &answer, own);
                }
            }
        }
        Ok(())
    }

    /// A version that Apache Kafka 4 dropped. Siltstone is not asked either: what it did would show in later answers.
    fn old_one(&mut self, exchange: &Exchange, report: &mut Report) -> Result<()> {
        match self.kafka.exchange(exchange, &exchange.request)? {
            None => {
                self.kafka.connections.remove(&exchange.connection);
                report.not_served += 1;
                Ok(())
            }
            Some(_) => bail!("Kafka answers {:?} version {}, which kafka-protocol does not know", exchange.head.api, exchange.head.version),
        }
    }

    /// Where the two outcomes differ, each with the line that declares it.
    fn differences(&self, exchange: &Exchange, siltstone: &Outcome, kafka: &Outcome) -> Result<Vec<(Difference, Option<usize>)>> {
        let found = match (siltstone, kafka) {
            (Outcome::Answered(left), Outcome::Answered(right)) => {
                let (mut left, mut right) = (Value::of(&**left)?, Value::of(&**right)?);
                own::replace(&mut left, self.siltstone.ids.names());
                own::replace(&mut right, self.kafka.ids.names());
                if exchange.head.api == ApiKey::ApiVersions {
                    own::keep_common_apis(&mut left, &mut right);
                }
                compare(&left, &right)
            }
            (left, right) => {
                let shown = |outcome: &Outcome| match outcome {
                    Outcome::Answered(_) => "an answer",
                    Outcome::Unanswered => "nothing, as asked for",
                    Outcome::Closed => "a closed connection",
                };
                let (left, right) = (shown(left).to_owned(), shown(right).to_owned());
                if left == right { Vec::new() } else { vec![Difference { path: "(outcome)".to_owned(), left, right }] }
            }
        };
        let line =
            |found: &Difference| self.declared.iter().find(|declared| declared.covers(&exchange.head, found)).map(|declared| declared.line);
        Ok(found.into_iter().map(|found| (line(&found), found)).map(|(line, found)| (found, line)).collect())
    }
}

/// Enough of a value to recognise it.
fn shorten(value: &str) -> String {
    const ENOUGH: usize = 160;
    let mut short: String = value.chars().take(ENOUGH).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}
