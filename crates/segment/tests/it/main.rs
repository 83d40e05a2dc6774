//! The segment object through its public face: what is built is read back, is the same bytes as ever, and damage never goes unseen.

// Clippy takes only `#[test]` functions for tests, and this binary holds their helpers too.
#![allow(clippy::unwrap_used)]

mod build;
mod golden;
mod index;
mod mutation;
mod sections;

use std::collections::VecDeque;

use bytes::Bytes;
use records::{BatchBuilder, Codec};
use segment::{BuiltObject, ObjectBuilder, ObjectContents, ObjectHeader, RefusedPublish, SegmentInput, TRAILER_BYTES, Trailer};
use types::{
    BrokerEpoch, BrokerId, ClusterId, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, ObjectOrigin, Offset, ProducerBatch, ProducerWindow,
    PublishSequence, Revision, Timestamp, TopicId, TopicPartition, WalId,
};

fn key() -> ObjectKey {
    ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(7), number: ObjectNumber(42) }
}

fn partition(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([topic; 16]), partition)
}

fn header() -> ObjectHeader {
    ObjectHeader {
        cluster: ClusterId::from_bytes([1; 16]),
        wal: WalId::from_bytes([2; 16]),
        first_lsn: Lsn(1000),
        end_lsn: Lsn(1007),
        sequence: PublishSequence(12),
        metadata_revision: Revision(99),
        created_at: Timestamp(1_700_000_000_000),
        answered_through: PublishSequence(11),
        refused: vec![
            RefusedPublish { epoch: BrokerEpoch(5), sequence: PublishSequence(3), partitions: vec![partition(9, 0), partition(9, 4)] },
            RefusedPublish { epoch: BrokerEpoch(7), sequence: PublishSequence(10), partitions: vec![partition(8, 1)] },
        ],
    }
}

fn input(partition: TopicPartition, base: i64, end: i64) -> SegmentInput {
    SegmentInput {
        partition,
        base: Offset(base),
        end: Offset(end),
        origin: ObjectOrigin::Range,
        state_from: Offset(base),
        producers: Vec::new(),
        producers_full: false,
    }
}

/// A batch of `count` records from `base`, at one millisecond per offset.
fn batch(base: i64, count: i64, epoch: i32) -> Bytes {
    batch_of(base, count, epoch, 8)
}

fn batch_of(base: i64, count: i64, epoch: i32, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(base)).leader_epoch(LeaderEpoch(epoch));
    for offset in base..base + count {
        builder.push(Timestamp(offset), None, Some(&vec![7; value_bytes]), &[]);
    }
    builder.build()
}

fn at(time: i64) -> impl Fn(Bytes) -> (Bytes, Timestamp) {
    move |batch| (batch, Timestamp(time))
}

fn window(epoch: i16, batches: i32, open_transaction: Option<i64>) -> ProducerWindow {
    let batches: VecDeque<_> = (0..batches)
        .map(|n| ProducerBatch {
            first_sequence: i32::MAX - 5 + n,
            last_sequence: n,
            base_offset: Offset(100 + i64::from(n)),
            last_offset: Offset(101 + i64::from(n)),
            append_time: Timestamp(500 + i64::from(n)),
        })
        .collect();
    ProducerWindow {
        epoch,
        batches,
        coordinator_epoch: -1,
        open_transaction: open_transaction.map(Offset),
        last_append_time: Timestamp(600),
    }
}

/// Three segments that between them use every field: gaps, leader epochs, codecs, producers.
fn sample() -> BuiltObject {
    let mut builder = ObjectBuilder::new(header());
    let mut first = input(partition(3, 0), 100, 130);
    first.state_from = Offset(40);
    first.producers = vec![(2000, window(1, 5, None)), (1000, window(0, 2, Some(100)))];
    let stamped = records::stamp(batch(120, 5, 0), Offset(120), LeaderEpoch(6), Some(Timestamp(90_000)));
    builder.add_segment(first, [batch(100, 3, 4), batch(103, 2, 4), batch(110, 1, 5), stamped].map(at(70))).unwrap();
    let mut second = input(partition(3, 1), 0, 4);
    (second.producers_full, second.origin) = (true, ObjectOrigin::Rewrite);
    let mut compressed = BatchBuilder::new(Codec::Zstd).leader_epoch(LeaderEpoch(0)).producer(5, 0, 0).transactional();
    compressed.push(Timestamp(5), Some(b"k"), None, &[]);
    compressed.skip_offsets(3);
    builder.add_segment(second, [(compressed.build(), Timestamp(71))]).unwrap();
    let far = i64::from(u32::MAX) * 4;
    builder.add_segment(input(partition(4, 0), far, far + 1), [(batch(far, 1, 9), Timestamp(72))]).unwrap();
    builder.finish(key())
}

fn joined(object: &BuiltObject) -> Bytes {
    object.parts.concat().into()
}

fn contents(object: &[u8]) -> ObjectContents {
    let trailer = Trailer::parse(object).unwrap();
    ObjectContents::parse(&object[footer_range(&trailer)], &trailer).unwrap()
}

fn footer_range(trailer: &Trailer) -> std::ops::Range<usize> {
    trailer.footer_range().start as usize..trailer.footer_range().end as usize
}

/// The object with another footer, and a trailer that is right for it.
fn with_footer(object: &[u8], footer: &[u8]) -> Bytes {
    let trailer = Trailer::parse(object).unwrap();
    let position = trailer.footer_position;
    let mut out = object[..position as usize].to_vec();
    out.extend_from_slice(footer);
    let mut end = object[object.len() - TRAILER_BYTES..].to_vec();
    end[0..8].copy_from_slice(&(position + (footer.len() + TRAILER_BYTES) as u64).to_be_bytes());
    end[16..20].copy_from_slice(&(footer.len() as u32).to_be_bytes());
    end[20..24].copy_from_slice(&crc32c::crc32c(footer).to_be_bytes());
    out.extend_from_slice(&resealed(end));
    out.into()
}

/// A trailer whose checksum is right again.
fn resealed(mut trailer: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&trailer[..84]);
    trailer[84..88].copy_from_slice(&crc.to_be_bytes());
    trailer
}
