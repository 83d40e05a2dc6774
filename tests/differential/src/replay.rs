//! Replays recordings against Siltstone and Apache Kafka, one request at a time in the recorded order, and compares what they answer.
//! What a group answers only when another of its members has spoken is waited for when the recorded answer came.

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
use crate::translate::{Known, Members, Sessions, TopicIds, translate};
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
    ApiKey::OffsetFetch,
    ApiKey::ListGroups,
    ApiKey::DescribeGroups,
    ApiKey::ConsumerGroupDescribe,
];

/// Requests whose answer may wait for another member's request.
const WAITS_FOR_OTHERS: &[ApiKey] = &[ApiKey::JoinGroup, ApiKey::SyncGroup];

/// What such a request needs to be heard before the next is sent, on another connection: no answer says that it was.
const HEARD_WITHIN: Duration = Duration::from_millis(300);

/// A broker that is asked.
#[derive(Debug)]
struct Peer {
    address: String,
    connections: HashMap<u32, TcpStream>,
    known: Known,
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
        Self { address: address.to_owned(), connections: HashMap::new(), known: Known::default() }
    }

    /// Sends a request on its connection, which is made when it is the first there or the one before was closed, and takes the answer.
    fn ask(&mut self, exchange: &Exchange, request: &Bytes) -> Result<Outcome> {
        self.send(exchange, request)?;
        self.take(exchange)
    }

    fn send(&mut self, exchange: &Exchange, request: &Bytes) -> Result<()> {
        self.write(exchange.connection, request).with_context(|| self.asking(exchange))
    }

    /// The answer to a request that was sent.
    fn take(&mut self, exchange: &Exchange) -> Result<Outcome> {
        let head = exchange.head;
        if asks_for_no_answer(exchange) && self.connections.contains_key(&exchange.connection) {
            return Ok(Outcome::Unanswered);
        }
        let Some(answer) = self.read(exchange.connection).with_context(|| self.asking(exchange))? else {
            self.connections.remove(&exchange.connection);
            return Ok(Outcome::Closed);
        };
        ensure!(
            frame::correlation_id(&answer) == Some(head.correlation_id),
            "{} answered {:?} with another correlation id",
            self.address,
            head.api
        );
        let body = head.decode_answer(&answer).with_context(|| format!("decode {}'s answer", self.address))?;
        self.known.ids.learn(&body);
        Ok(Outcome::Answered(Box::new(body)))
    }

    fn asking(&self, exchange: &Exchange) -> String {
        format!("ask {} for {:?} version {}", self.address, exchange.head.api, exchange.head.version)
    }

    fn write(&mut self, connection: u32, request: &Bytes) -> io::Result<()> {
        let stream = match self.connections.entry(connection) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                entry.insert(stream)
            }
        };
        match frame::write_frame(stream, request) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.connections.remove(&connection);
                Ok(())
            }
            result => result,
        }
    }

    /// The bytes of the next answer; `None` when the connection was closed instead.
    fn read(&mut self, connection: u32) -> io::Result<Option<Bytes>> {
        self.connections.get_mut(&connection).map_or(Ok(None), frame::read_frame)
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
            (peer.known.sessions, peer.known.members) = (Sessions::default(), Members::default());
        }
        let mut recorded = TopicIds::default();
        let mut report = Report::default();
        let mut waiting: Vec<usize> = Vec::new();
        for number in 0..=exchanges.len() {
            let due;
            (due, waiting) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| exchanges[*waiting].answered_after <= number);
            for due in due {
                self.take_both(due, &exchanges[due], &mut recorded, &mut report).with_context(|| describe(exchanges, due))?;
            }
            let Some(exchange) = exchanges.get(number) else { break };
            let overtakes = waiting.iter().find(|waiting| exchanges[**waiting].connection == exchange.connection);
            ensure!(overtakes.is_none(), "{} comes before an answer on its connection", describe(exchanges, number));
            if WAITS_FOR_OTHERS.contains(&exchange.head.api) && number + 1 < exchange.answered_after {
                self.send_both(exchange, &recorded).with_context(|| describe(exchanges, number))?;
                waiting.push(number);
                thread::sleep(HEARD_WITHIN);
            } else {
                self.one(number, exchange, &mut recorded, &mut report).with_context(|| describe(exchanges, number))?;
            }
        }
        Ok(report)
    }

    fn one(&mut self, number: usize, exchange: &Exchange, recorded: &mut TopicIds, report: &mut Report) -> Result<()> {
        if !exchange.head.is_current() {
            return self.old_one(exchange, report);
        }
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let kafka = self.kafka.ask(exchange, &translate(exchange, recorded, &self.kafka.known)?)?;
            let siltstone = self.siltstone.ask(exchange, &translate(exchange, recorded, &self.siltstone.known)?)?;
            self.learn_members(exchange, &siltstone, &kafka)?;
            let found = self.differences(exchange, &siltstone, &kafka)?;
            let settled = found.iter().all(|(_, declared)| declared.is_some());
            if settled || !is_question(exchange)? || deadline < Instant::now() {
                return self.note(number, exchange, (&siltstone, &kafka), found, recorded, report);
            }
            thread::sleep(ASKED_EVERY);
        }
    }

    fn send_both(&mut self, exchange: &Exchange, recorded: &TopicIds) -> Result<()> {
        for peer in [&mut self.kafka, &mut self.siltstone] {
            peer.send(exchange, &translate(exchange, recorded, &peer.known)?)?;
        }
        Ok(())
    }

    fn take_both(&mut self, number: usize, exchange: &Exchange, recorded: &mut TopicIds, report: &mut Report) -> Result<()> {
        let (kafka, siltstone) = (self.kafka.take(exchange)?, self.siltstone.take(exchange)?);
        self.learn_members(exchange, &siltstone, &kafka)?;
        let found = self.differences(exchange, &siltstone, &kafka)?;
        self.note(number, exchange, (&siltstone, &kafka), found, recorded, report)
    }

    /// Before the answers are compared: they may be the first that name a member.
    fn learn_members(&mut self, exchange: &Exchange, siltstone: &Outcome, kafka: &Outcome) -> Result<()> {
        let Some(answer) = &exchange.answer else { return Ok(()) };
        let answer = exchange.head.decode_answer(answer).context("decode the recorded answer")?;
        for (peer, outcome) in [(&mut self.siltstone, siltstone), (&mut self.kafka, kafka)] {
            if let Outcome::Answered(own) = outcome {
                peer.known.members.learn(exchange, &answer, own)?;
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        number: usize,
        exchange: &Exchange,
        (siltstone, kafka): (&Outcome, &Outcome),
        found: Vec<(Difference, Option<usize>)>,
        recorded: &mut TopicIds,
        report: &mut Report,
    ) -> Result<()> {
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
            for (peer, outcome) in [(&mut self.siltstone, siltstone), (&mut self.kafka, kafka)] {
                if let Outcome::Answered(own) = outcome {
                    peer.known.sessions.learn(exchange.connection, &answer, own);
                }
            }
        }
        Ok(())
    }

    /// A version that Apache Kafka 4 dropped. Siltstone is not asked either: what it did would show in later answers.
    fn old_one(&mut self, exchange: &Exchange, report: &mut Report) -> Result<()> {
        self.kafka.send(exchange, &exchange.request)?;
        match self.kafka.read(exchange.connection)? {
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
                own::replace(&mut left, self.siltstone.known.ids.names(), self.siltstone.known.members.recorded());
                own::replace(&mut right, self.kafka.known.ids.names(), self.kafka.known.members.recorded());
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

fn describe(exchanges: &[Exchange], number: usize) -> String {
    format!("request {number}, connection {}", exchanges[number].connection)
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
