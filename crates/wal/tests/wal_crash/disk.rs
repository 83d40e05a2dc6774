//! What a disk may hold after a power cut.
//!
//! Fault model, for files: a write that no completed fsync or fdatasync of its file covers is kept or lost, sector by sector and
//! whatever became of writes before and after it to other sectors. The file's length is what it was after any of its unsynced changes; where the length
//! was kept and the data was not, there are zeroes. A sync covers what was done before it began. One that failed covers nothing, nor
//! does any later one of that process: the kernel may have dropped the pages.
//!
//! For directories: names made, renamed and removed since the last fsync of *that directory* are kept up to some point in their order
//! and lost after it. The order is that of all directories together (one journal), or of each directory alone; the cut chooses. A sync
//! of a file does not make its name durable.
//!
//! Not in the model: sectors that read back as something that was never written, and lost writes under a sync that reported success.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use runtime::Random;

use crate::trace::Record;

const SECTOR: usize = 512;
/// `AT_FDCWD`, for the root.
const ROOT_FD: i32 = -100;
const O_CREAT: i64 = 0o100;
const O_TRUNC: i64 = 0o1000;

/// A file or directory, whatever its names.
type Node = usize;
const ROOT: Node = 0;

type Names = BTreeMap<String, Node>;

enum Content {
    File(File),
    /// As a process sees it, and as it was at first.
    Dir {
        now: Names,
        first: Names,
    },
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    /// Changes since, with the record they came with.
    pending: Vec<(usize, FileChange)>,
    sync_failed: bool,
}

#[derive(Clone)]
enum FileChange {
    Write { at: usize, data: Bytes },
    Resize(usize),
}

struct DirChange {
    record: usize,
    dir: Node,
    change: NameChange,
    synced: bool,
}

enum NameChange {
    Insert(String, Node),
    Remove(String),
    Rename(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Insert(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

/// Everything written so far, and how much of it is durable.
pub(crate) struct Disk {
    nodes: Vec<Content>,
    changes: Vec<DirChange>,
    fds: HashMap<i32, Node>,
    /// Syncs under way: what of, and from which record on nothing is covered.
    syncs: HashMap<i64, (Node, usize)>,
    records: usize,
}

impl Disk {
    /// The directory `base` with all it holds, durable. A log that is open may remove a file meanwhile; then it is looked at again.
    pub(crate) fn holding(base: &Path) -> Self {
        for _ in 0..100 {
            let mut disk = Self { nodes: Vec::new(), changes: Vec::new(), fds: HashMap::new(), syncs: HashMap::new(), records: 0 };
            match disk.load(base, &mut HashMap::new()) {
                Ok(_) => return disk,
                Err(err) if err.kind() == io::ErrorKind::NotFound && base.exists() => {}
                Err(err) => panic!("read {}: {err}", base.display()),
            }
        }
        panic!("{} does not hold still", base.display());
    }

    fn load(&mut self, path: &Path, known: &mut HashMap<u64, Node>) -> io::Result<Node> {
        let node = self.nodes.len();
        self.nodes.push(Content::File(File::default()));
        if path.is_dir() {
            let mut names = Names::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if is_left_out(&entry.path()) {
                    continue;
                }
                use std::os::unix::fs::MetadataExt as _;
                let inode = entry.metadata()?.ino();
                let child = match known.get(&inode) {
                    Some(child) => *child,
                    None => self.load(&entry.path(), known)?,
                };
                known.insert(inode, child);
                names.insert(entry.file_name().into_string().unwrap(), child);
            }
            self.nodes[node] = Content::Dir { now: names.clone(), first: names };
        } else {
            self.nodes[node] = Content::File(File { synced: fs::read(path)?, ..File::default() });
        }
        Ok(node)
    }

    /// Does what the record says.
    pub(crate) fn apply(&mut self, record: &Record) {
        self.records += 1;
        match record {
            Record::Start => {
                self.fds.clear();
                for node in &mut self.nodes {
                    if let Content::File(file) = node {
                        file.sync_failed = false;
                    }
                }
            }
            Record::Open { fd, dir, path, flags } => self.open(*fd, *dir, path, *flags),
            Record::Close { fd } => {
                self.fds.remove(fd);
            }
            Record::Write { fd, at, data } => self.change_file(*fd, FileChange::Write { at: *at, data: data.clone() }),
            Record::Resize { fd, len } => self.change_file(*fd, FileChange::Resize(*len)),
            Record::Rename { dir, from, to_dir, to } => {
                let (dir, from) = self.place(*dir, from);
                let (to_dir, to) = self.place(*to_dir, to);
                assert_eq!(dir, to_dir, "the model knows no rename from one directory to another");
                self.change_dir(dir, NameChange::Rename(from, to));
            }
            Record::Link { dir, from, to_dir, to } => {
                let node = self.find(*dir, from).expect("what is linked exists");
                let (to_dir, to) = self.place(*to_dir, to);
                self.change_dir(to_dir, NameChange::Insert(to, node));
            }
            Record::Remove { dir, path } => {
                let (dir, name) = self.place(*dir, path);
                self.change_dir(dir, NameChange::Remove(name));
            }
            Record::MakeDir { dir, path } => {
                let (dir, name) = self.place(*dir, path);
                self.nodes.push(Content::Dir { now: Names::new(), first: Names::new() });
                self.change_dir(dir, NameChange::Insert(name, self.nodes.len() - 1));
            }
            Record::SyncBegins { fd, ticket } => {
                self.syncs.insert(*ticket, (self.fds[fd], self.records));
            }
            Record::SyncEnds { ticket, failed } => {
                let (node, before) = self.syncs.remove(ticket).expect("it began");
                self.synced(node, before, *failed);
            }
            Record::Note(_) => {}
        }
    }

    fn open(&mut self, fd: i32, dir: i32, path: &str, flags: i64) {
        let node = match self.find(dir, path) {
            Some(node) => {
                if flags & O_TRUNC != 0
                    && let Content::File(file) = &mut self.nodes[node]
                {
                    file.pending.push((self.records, FileChange::Resize(0)));
                }
                node
            }
            None => {
                assert!(flags & O_CREAT != 0, "{path} was opened and does not exist");
                let (dir, name) = self.place(dir, path);
                self.nodes.push(Content::File(File::default()));
                self.change_dir(dir, NameChange::Insert(name, self.nodes.len() - 1));
                self.nodes.len() - 1
            }
        };
        self.fds.insert(fd, node);
    }

    fn change_file(&mut self, fd: i32, change: FileChange) {
        let Content::File(file) = &mut self.nodes[self.fds[&fd]] else { panic!("a directory is written to") };
        file.pending.push((self.records, change));
    }

    fn change_dir(&mut self, dir: Node, change: NameChange) {
        change.apply(self.names_mut(dir));
        self.changes.push(DirChange { record: self.records, dir, change, synced: false });
    }

    fn synced(&mut self, node: Node, before: usize, failed: bool) {
        match &mut self.nodes[node] {
            Content::File(file) => {
                file.sync_failed |= failed;
                if !file.sync_failed {
                    let covered = file.pending.iter().take_while(|(record, _)| *record < before).count();
                    for (_, change) in file.pending.drain(..covered) {
                        change.apply(&mut file.synced);
                    }
                }
            }
            Content::Dir { .. } if failed => {}
            Content::Dir { .. } => {
                for change in self.changes.iter_mut().filter(|change| change.dir == node && change.record < before) {
                    change.synced = true;
                }
            }
        }
    }

    fn names_mut(&mut self, dir: Node) -> &mut Names {
        match &mut self.nodes[dir] {
            Content::Dir { now, .. } => now,
            Content::File(_) => panic!("a file is used as a directory"),
        }
    }

    fn find(&self, dir: i32, path: &str) -> Option<Node> {
        let from = if dir == ROOT_FD { ROOT } else { self.fds[&dir] };
        path.split('/').filter(|part| !part.is_empty() && *part != ".").try_fold(from, |node, part| match &self.nodes[node] {
            Content::Dir { now, .. } => now.get(part).copied(),
            Content::File(_) => None,
        })
    }

    /// The directory that a path's last part is a name in.
    fn place(&self, dir: i32, path: &str) -> (Node, String) {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        (self.find(dir, parent).expect("the directory exists"), name.to_owned())
    }

    /// Everything as the processes see it.
    pub(crate) fn seen(&self) -> Image {
        let names = |node: Node| match &self.nodes[node] {
            Content::Dir { now, .. } => Some(now.clone()),
            Content::File(_) => None,
        };
        let content = |_: &Path, file: &File| {
            let mut bytes = file.synced.clone();
            file.pending.iter().for_each(|(_, change)| change.apply(&mut bytes));
            bytes
        };
        self.image(names, content)
    }

    /// One of the states that a power cut could leave now, and what became of what was not synced.
    pub(crate) fn cut(&self, random: &Random) -> (Image, String) {
        let mut fates = String::new();
        let dirs = self.cut_names(random, &mut fates);
        let names = |node: Node| dirs.get(&node).cloned();
        let habit = random.below(4);
        let image = self.image(names, |path, file| {
            if file.pending.is_empty() {
                return file.synced.clone();
            }
            let fate = Fate::choose(habit, file.pending.len(), random);
            let _ = write!(fates, "; {} changes of {} {fate:?}", file.pending.len(), path.display());
            file.cut(&fate, random)
        });
        (image, fates)
    }

    fn cut_names(&self, random: &Random, fates: &mut String) -> HashMap<Node, Names> {
        let one_journal = random.chance(0.5);
        let mut kept_until: HashMap<Node, usize> = HashMap::new();
        let mut dirs: HashMap<Node, Names> = HashMap::new();
        for (node, content) in self.nodes.iter().enumerate() {
            if let Content::Dir { first, .. } = content {
                dirs.insert(node, first.clone());
            }
        }
        // In the order of nodes: the same seed gives the same cut.
        for dir in (0..self.nodes.len()).filter(|dir| dirs.contains_key(dir)) {
            let journal = if one_journal { ROOT } else { dir };
            if kept_until.contains_key(&journal) {
                continue;
            }
            let of_journal = || self.changes.iter().enumerate().filter(|(_, change)| one_journal || change.dir == dir).map(|(at, _)| at);
            let floor = of_journal().rfind(|at| self.changes[*at].synced).map_or(0, |last| last + 1);
            let open: Vec<usize> = of_journal().filter(|at| floor <= *at).collect();
            let kept = match random.below(4) {
                0 => 0,
                1 => open.len(),
                _ => random.below(open.len() as u64 + 1) as usize,
            };
            if !open.is_empty() {
                let _ = write!(fates, "; {kept} of {} names of {}", open.len(), if one_journal { "all" } else { "a directory" });
            }
            kept_until.insert(journal, open.get(kept).copied().unwrap_or(usize::MAX));
        }
        for (at, change) in self.changes.iter().enumerate() {
            let journal = if one_journal { ROOT } else { change.dir };
            if at < kept_until[&journal] {
                change.change.apply(dirs.get_mut(&change.dir).expect("a directory"));
            }
        }
        dirs
    }

    fn image(&self, names: impl Fn(Node) -> Option<Names>, mut content: impl FnMut(&Path, &File) -> Vec<u8>) -> Image {
        let mut image = Image::default();
        let mut placed: HashMap<Node, PathBuf> = HashMap::new();
        let mut open = vec![(PathBuf::new(), ROOT)];
        while let Some((path, dir)) = open.pop() {
            for (name, node) in names(dir).into_iter().flatten() {
                let path = path.join(name);
                match (&self.nodes[node], placed.get(&node)) {
                    (Content::Dir { .. }, _) => {
                        image.dirs.push(path.clone());
                        open.push((path, node));
                    }
                    (Content::File(_), Some(first)) => image.links.push((first.clone(), path)),
                    (Content::File(file), None) => {
                        image.files.push((path.clone(), content(&path, file)));
                        placed.insert(node, path);
                    }
                }
            }
        }
        image
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Self::Resize(len) => bytes.resize(*len, 0),
        }
    }
}

/// What becomes of a file's unsynced changes.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// So many of them have had their effect on the length.
    lengths: usize,
    /// A sector of the ones below `from` or at or above `to` is lost, of the others kept with this probability.
    from: usize,
    to: usize,
    kept: f64,
}

impl Fate {
    /// A habit makes one kind of cut likelier for all files of it.
    fn choose(habit: u64, changes: usize, random: &Random) -> Self {
        let any = |random: &Random| random.below(changes as u64 + 1) as usize;
        let all = Self { lengths: changes, from: 0, to: changes, kept: 1.0 };
        match (habit, random.below(6)) {
            (0, 1..) | (_, 0) => Self { lengths: 0, kept: 0.0, ..all },
            (1, 1..) | (_, 1) => all,
            // A prefix of the changes, the last one torn.
            (2, 2..) | (_, 2) => {
                let to = any(random);
                Self { lengths: to, to, kept: if random.chance(0.5) { 1.0 } else { 0.5 }, ..all }
            }
            // Later ones without earlier ones.
            (_, 3) => Self { from: any(random), ..all },
            (_, 4) => Self { kept: 0.9, ..all },
            _ => Self { lengths: any(random), kept: 0.5, ..all },
        }
    }
}

impl File {
    fn cut(&self, fate: &Fate, random: &Random) -> Vec<u8> {
        let kept = self.kept_sectors(fate, random);
        let mut bytes = self.synced.clone();
        // Once a shortening is lost, later writes went to blocks that the file as kept does not have.
        let mut detached = false;
        for (n, (_, change)) in self.pending.iter().enumerate() {
            match change {
                FileChange::Resize(len) if n < fate.lengths => bytes.resize(*len, 0),
                FileChange::Resize(len) => detached |= *len < bytes.len(),
                FileChange::Write { at, data } => {
                    if n < fate.lengths {
                        bytes.resize(bytes.len().max(at + data.len()), 0);
                    }
                    for part in sectors(*at, (at + data.len()).min(bytes.len())) {
                        if !detached && kept.contains(&(n, part.start / SECTOR)) {
                            bytes[part.clone()].copy_from_slice(&data[part.start - at..part.end - at]);
                        }
                    }
                }
            }
        }
        bytes
    }

    /// Which sectors of which changes are kept. A sector goes to the disk whole: with a write to it, earlier ones are kept too.
    fn kept_sectors(&self, fate: &Fate, random: &Random) -> HashSet<(usize, usize)> {
        let mut written_back = HashSet::new();
        let mut kept = HashSet::new();
        for (n, (_, change)) in self.pending.iter().enumerate().rev() {
            if let FileChange::Write { at, data } = change {
                for part in sectors(*at, at + data.len()) {
                    let sector = part.start / SECTOR;
                    let drawn = (fate.from..fate.to).contains(&n) && random.chance(fate.kept);
                    if drawn || written_back.contains(&sector) {
                        written_back.insert(sector);
                        kept.insert((n, sector));
                    }
                }
            }
        }
        kept
    }
}

/// The parts of `from..to` that lie in one sector each; none where `to` is not above `from`.
fn sectors(from: usize, to: usize) -> impl Iterator<Item = Range<usize>> {
    (from / SECTOR..if from < to { to.div_ceil(SECTOR) } else { 0 })
        .map(move |sector| (sector * SECTOR).max(from)..((sector + 1) * SECTOR).min(to))
}

/// The content of a directory.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Image {
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Further names of files.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Image {
    /// Makes `target` hold it and nothing else.
    pub(crate) fn write(&self, target: &Path) {
        let _ = fs::remove_dir_all(target);
        fs::create_dir_all(target).unwrap();
        self.dirs.iter().for_each(|dir| fs::create_dir(target.join(dir)).unwrap());
        self.files.iter().for_each(|(path, bytes)| fs::write(target.join(path), bytes).unwrap());
        self.links.iter().for_each(|(first, path)| fs::hard_link(target.join(first), target.join(path)).unwrap());
    }

    /// Its files, each once.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
    }

    /// Files that are not the same in `other`, or not there.
    pub(crate) fn differs(&self, other: &Self) -> Vec<PathBuf> {
        let ours: BTreeMap<_, _> = self.files().collect();
        let theirs: BTreeMap<_, _> = other.files().collect();
        ours.keys().chain(theirs.keys()).filter(|path| ours.get(*path) != theirs.get(*path)).map(|path| path.to_path_buf()).collect()
    }

    /// # Panics
    /// If `dir` holds anything else: the model would be wrong.
    pub(crate) fn check(&self, dir: &Path) {
        let real = Disk::holding(dir).seen();
        let names = |image: &Self| {
            let linked = image.links.iter().map(|(_, path)| path);
            let mut names: Vec<_> = image.dirs.iter().chain(image.files.iter().map(|(path, _)| path)).chain(linked).cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(self), names(&real), "names in the model and in {}", dir.display());
        for (path, bytes) in &self.files {
            let found = fs::read(dir.join(path)).unwrap();
            let at = bytes.iter().zip(&found).position(|(a, b)| a != b);
            assert!(
                *bytes == found,
                "{}: {} bytes in the model, {} there, first difference at {at:?}",
                path.display(),
                bytes.len(),
                found.len()
            );
        }
    }
}

fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("LOG") || name == "LOCK"
}
