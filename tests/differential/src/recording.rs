//! A recording: what clients said to a broker and what it answered, in the order in which it passed the proxy.
//!
//! Layout: the seven bytes `SILTREC`, a version byte, and entries to the end of the file. An entry is its kind (one byte: 1 a request,
//! 2 an answer), the number of its connection (u32), the length of the frame (u32), and the frame without its own length. Numbers are
//! big-endian. Connections are numbered from 0 in the order in which they were made.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use crate::frame::{self, Head};

const MAGIC: &[u8; 7] = b"SILTREC";
const VERSION: u8 = 1;
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const ENTRY_HEAD: usize = 9;

/// Writes a recording; connections share it.
#[derive(Debug)]
pub struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    /// Begins a recording at `path`, over what was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&[&MAGIC[..], &[VERSION]].concat())?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Adds a request, before it is passed on: an answer always follows its request.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn request(&self, connection: u32, frame: &[u8]) -> io::Result<()> {
        self.entry(REQUEST, connection, frame)
    }

    /// Adds an answer, before it is passed on: what a client does because of it follows it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn answer(&self, connection: u32, frame: &[u8]) -> io::Result<()> {
        self.entry(ANSWER, connection, frame)
    }

    // One write, so that a proxy that is stopped leaves whole entries.
    fn entry(&self, kind: u8, connection: u32, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut entry = vec![kind];
        entry.extend_from_slice(&connection.to_be_bytes());
        entry.extend_from_slice(&length.to_be_bytes());
        entry.extend_from_slice(frame);
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&entry)
    }
}

/// A recorded request with its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection it came on.
    pub connection: u32,
    /// What its first bytes say.
    pub head: Head,
    /// The whole request without its length.
    pub request: Bytes,
    /// The answer; `None` when none was asked for, or the connection ended before it came.
    pub answer: Option<Bytes>,
    /// How many requests, this one and all before it among them, had come when the answer did.
    pub answered_after: usize,
}

/// Reads the recording at `path`: its exchanges in the order of the requests.
///
/// # Errors
/// When the file cannot be read or is not a recording.
pub fn read(path: &Path) -> Result<Vec<Exchange>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(bytes.into()).with_context(|| format!("{} is not a recording", path.display()))
}

fn parse(mut bytes: Bytes) -> Result<Vec<Exchange>> {
    ensure!(bytes.starts_with(MAGIC) && MAGIC.len() < bytes.len(), "it does not begin with {}", MAGIC.escape_ascii());
    bytes.advance(MAGIC.len());
    let version = bytes.get_u8();
    ensure!(version == VERSION, "its version is {version}, only {VERSION} is known");
    let mut exchanges: Vec<Exchange> = Vec::new();
    while !bytes.is_empty() {
        ensure!(ENTRY_HEAD <= bytes.len(), "it ends within the head of an entry");
        let (kind, connection, length) = (bytes.get_u8(), bytes.get_u32(), bytes.get_u32() as usize);
        ensure!(length <= bytes.len(), "it ends within an entry");
        let frame = bytes.split_to(length);
        match kind {
            REQUEST => {
                let head = Head::of(&frame)?;
                let answered_after = exchanges.len() + 1;
                exchanges.push(Exchange { connection, head, request: frame, answer: None, answered_after });
            }
            ANSWER => {
                let id = frame::correlation_id(&frame).context("an answer without a correlation id")?;
                let asked = |exchange: &&mut Exchange| {
                    exchange.connection == connection && exchange.head.correlation_id == id && exchange.answer.is_none()
                };
                let asked_so_far = exchanges.len();
                let exchange = exchanges.iter_mut().find(asked).context("an answer without its request")?;
                (exchange.answer, exchange.answered_after) = (Some(frame), asked_so_far);
            }
            other => bail!("an entry of kind {other}"),
        }
    }
    Ok(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ApiVersions, version 0, without a client id.
    fn request(correlation_id: u8) -> Vec<u8> {
        vec![0, 18, 0, 0, 0, 0, 0, correlation_id, 0xff, 0xff]
    }

    #[test]
    fn answers_find_their_requests_by_connection_and_correlation_id() {
        let path = std::env::temp_dir().join(format!("differential-recording-{}", std::process::id()));
        let recorder = Recorder::create(&path).unwrap();
        recorder.request(0, &request(1)).unwrap();
        recorder.request(1, &request(1)).unwrap();
        recorder.request(0, &request(2)).unwrap();
        recorder.answer(1, &[0, 0, 0, 1, 11]).unwrap();
        recorder.answer(0, &[0, 0, 0, 2, 22]).unwrap();
        let exchanges = read(&path);
        std::fs::remove_file(&path).unwrap();
        let of = |exchange: Exchange| (exchange.connection, exchange.answer, exchange.answered_after);
        let answers: Vec<_> = exchanges.unwrap().into_iter().map(of).collect();
        let answer = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
        assert_eq!(answers, [(0, None, 1), (1, answer(&[0, 0, 0, 1, 11]), 3), (0, answer(&[0, 0, 0, 2, 22]), 3)]);
    }

    #[test]
    fn what_is_not_a_recording_is_refused() {
        for (bytes, reason) in [
            (&b"SILTREC"[..], "does not begin"),
            (b"SILTREC\x02", "version is 2"),
            (b"SILTREC\x01\x01\0\0", "within the head"),
            (b"SILTREC\x01\x01\0\0\0\0\0\0\0\x09", "within an entry"),
            (b"SILTREC\x01\x03\0\0\0\0\0\0\0\0", "kind 3"),
            (b"SILTREC\x01\x02\0\0\0\0\0\0\0\x04\0\0\0\x01", "without its request"),
        ] {
            let error = parse(Bytes::from_static(bytes)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} instead of {reason}");
        }
    }
}
