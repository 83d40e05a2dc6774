//! The log that `shim.c` writes, read back.

use std::path::Path;

use bytes::Bytes;

/// What a process did, or said. Paths are relative to the directory `dir` is open on, or to the root.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// A process begins; those before it are gone.
    Start,
    Open {
        fd: i32,
        dir: i32,
        path: String,
        flags: i64,
    },
    Close {
        fd: i32,
    },
    Write {
        fd: i32,
        at: usize,
        data: Bytes,
    },
    Resize {
        fd: i32,
        len: usize,
    },
    Rename {
        dir: i32,
        from: String,
        to_dir: i32,
        to: String,
    },
    Link {
        dir: i32,
        from: String,
        to_dir: i32,
        to: String,
    },
    Remove {
        dir: i32,
        path: String,
    },
    MakeDir {
        dir: i32,
        path: String,
    },
    SyncBegins {
        fd: i32,
        ticket: i64,
    },
    SyncEnds {
        ticket: i64,
        failed: bool,
    },
    Note(String),
}

impl Record {
    /// Whether a power cut just before or after it is more telling than elsewhere.
    pub(crate) fn is_turning_point(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Close { .. })
    }
}

/// All records, in order.
pub(crate) fn read(path: &Path) -> Vec<Record> {
    let mut rest = Bytes::from(std::fs::read(path).unwrap_or_else(|err| panic!("read {}: {err}", path.display())));
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(read_one(&mut rest));
    }
    records
}

/// `struct record` of `shim.c`, packed, in this machine's byte order.
fn read_one(rest: &mut Bytes) -> Record {
    let head = rest.split_to(34);
    let u16_at = |at: usize| usize::from(u16::from_ne_bytes([head[at], head[at + 1]]));
    let i32_at = |at: usize| i32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
    let i64_at = |at: usize| i64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("paths and notes are text");
    let path = text(rest.split_to(u16_at(2)));
    let to = text(rest.split_to(u16_at(4)));
    let (fd, other_fd, a, b) = (i32_at(6), i32_at(10), i64_at(14), i64_at(22));
    let data = rest.split_to(i32_at(30) as usize);
    let size = |number: i64| usize::try_from(number).expect("a length or position");
    match head[0] {
        b'P' => Record::Start,
        b'O' => Record::Open { fd, dir: other_fd, path, flags: a },
        b'C' => Record::Close { fd },
        b'W' => Record::Write { fd, at: size(a), data },
        b'T' => Record::Resize { fd, len: size(a) },
        b'R' => Record::Rename { dir: fd, from: path, to_dir: other_fd, to },
        b'L' => Record::Link { dir: fd, from: path, to_dir: other_fd, to },
        b'U' => Record::Remove { dir: fd, path },
        b'M' => Record::MakeDir { dir: fd, path },
        b'S' => Record::SyncBegins { fd, ticket: a },
        b'E' => Record::SyncEnds { ticket: a, failed: b != 0 },
        b'N' => Record::Note(text(data)),
        b'X' => panic!("the process called {path}, which the disk's model does not know"),
        other => panic!("a record of kind {other}"),
    }
}
