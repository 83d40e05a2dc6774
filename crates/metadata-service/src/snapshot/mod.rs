//! Snapshots of the state as objects: chunks that hold the encoded shards, and a manifest that says which piece of which chunk is
//! which shard. Shards that did not change since the last snapshot are referenced again. Equal states have equal pieces. The shards of
//! coordinator slots' rows have the numbers after those of partitions and objects.
//!
//! ```text
//! meta/chunk/<revision>-<random>-<n>     pieces, one after the other
//! meta/manifest/<revision>-<random>      header and manifest
//! ```

mod codec;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use metadata_api::wire::{WireError, cluster_id, id_bytes, required};
use prost::Message;
use runtime::Random;
use store::{Body, ObjectStore, StoreError, UPLOAD_BACKOFF, put_verified};
use types::{COORDINATOR_SLOTS, CoordinatorKind, CoordinatorSlot, Revision};

use crate::proto;
use crate::state::{ROW_SHARDS, RowShard, SHARDS, Shard, SnapshotRef, State};

pub(crate) use codec::{decode_root, decode_rows, decode_shard, encode_root, encode_rows, encode_shard};

/// Where manifests lie.
pub(crate) const MANIFESTS: &str = "meta/manifest/";
/// Where chunks lie.
pub(crate) const CHUNKS: &str = "meta/chunk/";
/// Where steps with events that no object tells of lie until a snapshot holds them.
pub(crate) const TOPICS: &str = "meta/topics/";
/// Keys listed at once.
const LIST_PAGE: usize = 1000;
/// A chunk is closed at this size.
const CHUNK_BYTES: usize = 8 << 20;
/// Largest chunk or manifest read back: a chunk ends with a piece of any size a shard can have.
const OBJECT_LIMIT: u64 = 2 << 30;
/// Chunks of earlier snapshots that one refers to; beyond it everything is written anew, so that few live pieces never keep many
/// chunks.
const OLD_CHUNKS: usize = 8;

/// `SSMM`, then version u16, flags u16, length u32, CRC-32C u32, then the manifest.
const MANIFEST_MAGIC: [u8; 4] = *b"SSMM";
const MANIFEST_VERSION: u16 = 1;
/// Of a snapshot with coordinator slots: a program that knows only version 1 would leave them out.
const MANIFEST_VERSION_WITH_SLOTS: u16 = 2;
/// Of a snapshot with what a program that knows only version 2 would leave out: configs of brokers or groups, objects set aside.
const MANIFEST_VERSION_WITH_CONFIGS: u16 = 3;
/// Newest version that is read. Of a snapshot with what a program that knows only version 3 would leave out: client quotas.
const MANIFEST_NEWEST: u16 = 4;
const MANIFEST_HEADER: usize = 16;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("snapshot {key}: {detail}")]
    Damaged { key: String, detail: String },
}

/// The revision in the key of a manifest, a chunk or a mirrored step.
pub(crate) fn revision_of_key(key: &str) -> Option<Revision> {
    let name = key.strip_prefix(MANIFESTS).or_else(|| key.strip_prefix(CHUNKS)).or_else(|| key.strip_prefix(TOPICS))?;
    name.split('-').next()?.parse().ok().map(Revision)
}

/// All keys below `prefix`, which begin with a revision there, from the newest.
pub(crate) async fn newest_first(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = store.list(prefix, keys.last().map(String::as_str), LIST_PAGE).await?;
        let is_last = page.len() < LIST_PAGE;
        keys.extend(page.into_iter().map(|object| object.key));
        if is_last {
            break;
        }
    }
    keys.reverse();
    Ok(keys)
}

/// Writes `state`, which is the one after journal slot `slot`.
pub(crate) async fn write(
    store: &dyn ObjectStore,
    random: &Random,
    state: &State,
    slot: u64,
    previous: Option<&proto::Manifest>,
) -> Result<(SnapshotRef, proto::Manifest), StoreError> {
    let suffix = format!("{:020}-{:08x}", state.revision.0, random.u64() >> 32);
    let mut chunks = Chunks { store, random, suffix: &suffix, number: 0, open: BytesMut::new() };
    let previous = previous.filter(|previous| old_chunks(previous) <= OLD_CHUNKS);
    let root = chunks.add(&encode_root(state)).await?;
    let mut shards = Vec::new();
    for (index, shard) in state.shards.iter().enumerate() {
        if !shard.partitions.is_empty() || !shard.objects.is_empty() || !shard.garbage.is_empty() {
            shards.push(chunks.add_shard(index, shard.changed, previous, || encode_shard(shard)).await?);
        }
    }
    for (slot, held) in &state.slots {
        for (index, shard) in held.rows.shards().iter().enumerate() {
            if !shard.rows.is_empty() {
                let number = number_of_row_shard(*slot, index);
                shards.push(chunks.add_shard(number, shard.changed, previous, || encode_rows(shard)).await?);
            }
        }
    }
    chunks.close().await?;
    let manifest = proto::Manifest {
        cluster: id_bytes(state.cluster.as_bytes()),
        revision: state.revision.0,
        slot,
        now: state.now.0,
        root: Some(root),
        shards,
    };
    let version = manifest_version(state);
    let key = format!("{MANIFESTS}{suffix}");
    put_verified(store, &key, &Body::new(vec![encode_manifest(&manifest, version)]), UPLOAD_BACKOFF, random).await?;
    Ok((SnapshotRef { revision: state.revision, slot, manifest: key }, manifest))
}

/// The oldest version that says all of `state`: a rollback is possible for as long as nothing new is used.
fn manifest_version(state: &State) -> u16 {
    if !state.client_quotas.is_empty() {
        MANIFEST_NEWEST
    } else if !state.configs.is_empty() || !state.set_aside.is_empty() {
        MANIFEST_VERSION_WITH_CONFIGS
    } else if !state.slots.is_empty() {
        MANIFEST_VERSION_WITH_SLOTS
    } else {
        MANIFEST_VERSION
    }
}

/// The number that shard `index` of a slot's rows has in a manifest: after all others, by kind, slot and index.
pub(crate) fn number_of_row_shard(slot: CoordinatorSlot, index: usize) -> usize {
    let kind = match slot.kind() {
        CoordinatorKind::Group => 0,
        CoordinatorKind::Transaction => 1,
    };
    SHARDS + (kind * usize::from(COORDINATOR_SLOTS) + usize::from(slot.number())) * ROW_SHARDS + index
}

/// The reverse of [`number_of_row_shard`].
fn row_shard_of_number(number: usize) -> Option<(CoordinatorSlot, usize)> {
    let (slot, index) = (number.checked_sub(SHARDS)? / ROW_SHARDS, number % ROW_SHARDS);
    let slots = usize::from(COORDINATOR_SLOTS);
    let kind = if slot < slots { CoordinatorKind::Group } else { CoordinatorKind::Transaction };
    let number = if slot < slots { slot } else { slot - slots };
    Some((CoordinatorSlot::new(kind, u8::try_from(number).ok()?)?, index))
}

/// Number of chunks that a manifest refers to.
fn old_chunks(manifest: &proto::Manifest) -> usize {
    chunk_keys(manifest).len()
}

/// Keys of the chunks that a manifest refers to.
pub(crate) fn chunk_keys(manifest: &proto::Manifest) -> BTreeSet<&str> {
    let shards = manifest.shards.iter().filter_map(|shard| shard.piece.as_ref());
    manifest.root.iter().chain(shards).map(|piece| piece.key.as_str()).collect()
}

/// The chunk that is being filled; those before it are in the store.
struct Chunks<'a> {
    store: &'a dyn ObjectStore,
    random: &'a Random,
    suffix: &'a str,
    number: u32,
    open: BytesMut,
}

impl Chunks<'_> {
    fn key(&self) -> String {
        format!("{CHUNKS}{}-{}", self.suffix, self.number)
    }

    async fn add(&mut self, piece: &[u8]) -> Result<proto::Piece, StoreError> {
        if CHUNK_BYTES <= self.open.len() {
            self.close().await?;
        }
        let position = self.open.len() as u64;
        self.open.put_slice(piece);
        let length = u32::try_from(piece.len()).expect("a shard is one of many and below 4 GiB");
        Ok(proto::Piece { key: self.key(), position, length, crc: crc32c::crc32c(piece) })
    }

    /// A shard as it changed at revision `changed`; what the previous snapshot holds of it is named again if it is the same.
    async fn add_shard(
        &mut self,
        number: usize,
        changed: Revision,
        previous: Option<&proto::Manifest>,
        encode: impl FnOnce() -> Vec<u8>,
    ) -> Result<proto::ShardPiece, StoreError> {
        let shard = u32::try_from(number).expect("shards are few");
        let unchanged = previous
            .and_then(|previous| previous.shards.binary_search_by_key(&shard, |piece| piece.shard).ok().map(|at| &previous.shards[at]))
            .filter(|piece| piece.changed == changed.0);
        let piece = match unchanged {
            Some(piece) => piece.piece.clone(),
            None => Some(self.add(&encode()).await?),
        };
        Ok(proto::ShardPiece { shard, changed: changed.0, piece })
    }

    async fn close(&mut self) -> Result<(), StoreError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let body = Body::new(vec![self.open.split().freeze()]);
        put_verified(self.store, &self.key(), &body, UPLOAD_BACKOFF, self.random).await?;
        self.number += 1;
        Ok(())
    }
}

pub(crate) fn encode_manifest(manifest: &proto::Manifest, version: u16) -> Bytes {
    let body = manifest.encode_to_vec();
    let mut out = BytesMut::with_capacity(MANIFEST_HEADER + body.len());
    out.put_slice(&MANIFEST_MAGIC);
    out.put_u16_le(version);
    out.put_u16_le(0);
    out.put_u32_le(u32::try_from(body.len()).expect("a manifest lists SHARDS pieces"));
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &body);
    out.put_u32_le(crc);
    out.put_slice(&body);
    out.freeze()
}

/// Reads the manifest at `key`.
pub(crate) async fn read_manifest(store: &dyn ObjectStore, key: &str) -> Result<proto::Manifest, SnapshotError> {
    let damaged = |detail: String| SnapshotError::Damaged { key: key.to_owned(), detail };
    let object = store.get(key, OBJECT_LIMIT).await?;
    if object.len() < MANIFEST_HEADER || object[..4] != MANIFEST_MAGIC {
        return Err(damaged("not a manifest".to_owned()));
    }
    let mut header = &object[4..MANIFEST_HEADER];
    let version = header.get_u16_le();
    if !(MANIFEST_VERSION..=MANIFEST_NEWEST).contains(&version) {
        return Err(damaged(format!("format version {version}, this program reads up to {MANIFEST_NEWEST}")));
    }
    let (_flags, length, crc) = (header.get_u16_le(), header.get_u32_le(), header.get_u32_le());
    let body = object.slice(MANIFEST_HEADER..);
    let found = crc32c::crc32c_append(crc32c::crc32c(&object[..MANIFEST_HEADER - 4]), &body);
    if body.len() != length as usize || found != crc {
        return Err(damaged("checksum mismatch".to_owned()));
    }
    proto::Manifest::decode(body).map_err(|err| damaged(err.to_string()))
}

/// Reads the state that a manifest describes.
pub(crate) async fn load(store: &dyn ObjectStore, key: &str) -> Result<(State, proto::Manifest), SnapshotError> {
    let manifest = read_manifest(store, key).await?;
    let damaged = |detail: String| SnapshotError::Damaged { key: key.to_owned(), detail };
    let mut chunks = HashMap::new();
    let root = required(manifest.root.as_ref(), "root").map_err(|err| damaged(err.to_string()))?;
    let root = read_piece(store, root, &mut chunks).await?;
    let mut state = decode_root(root).map_err(|err| damaged(err.to_string()))?;
    for shard in &manifest.shards {
        let piece = required(shard.piece.as_ref(), "piece").map_err(|err| damaged(err.to_string()))?;
        let bytes = read_piece(store, piece, &mut chunks).await?;
        load_shard(&mut state, shard, bytes).map_err(|err| damaged(format!("shard {}: {err}", shard.shard)))?;
    }
    let cluster = cluster_id(&manifest.cluster).map_err(|err| damaged(err.to_string()))?;
    if state.revision.0 != manifest.revision || state.cluster != cluster {
        return Err(damaged(format!("manifest of revision {} with a root of {}", manifest.revision, state.revision)));
    }
    state.derive();
    Ok((state, manifest))
}

/// Puts a shard where it belongs.
fn load_shard(state: &mut State, piece: &proto::ShardPiece, bytes: Bytes) -> Result<(), WireError> {
    let number = piece.shard as usize;
    if number < SHARDS {
        let shard = decode_shard(bytes)?;
        state.shards[number] = Arc::new(Shard { changed: Revision(piece.changed), ..shard });
        return Ok(());
    }
    let (slot, index) = row_shard_of_number(number).ok_or_else(|| WireError("no shard has this number".to_owned()))?;
    let held = state.slots.get_mut(&slot).ok_or_else(|| WireError(format!("nobody took {slot}")))?;
    let rows = decode_rows(bytes)?;
    held.rows.load(index, RowShard { changed: Revision(piece.changed), ..rows });
    Ok(())
}

/// Pieces of a few chunks are mixed: each chunk is read once.
async fn read_piece(store: &dyn ObjectStore, piece: &proto::Piece, chunks: &mut HashMap<String, Bytes>) -> Result<Bytes, SnapshotError> {
    let chunk = match chunks.get(&piece.key) {
        Some(chunk) => chunk,
        None => {
            let chunk = store.get(&piece.key, OBJECT_LIMIT).await?;
            chunks.entry(piece.key.clone()).or_insert(chunk)
        }
    };
    let damaged = |detail: &str| SnapshotError::Damaged { key: piece.key.clone(), detail: detail.to_owned() };
    let from = usize::try_from(piece.position).map_err(|_| damaged("position"))?;
    let to = from.checked_add(piece.length as usize).filter(|to| *to <= chunk.len()).ok_or_else(|| damaged("shorter than its pieces"))?;
    let bytes = chunk.slice(from..to);
    if crc32c::crc32c(&bytes) == piece.crc { Ok(bytes) } else { Err(damaged("checksum mismatch")) }
}
