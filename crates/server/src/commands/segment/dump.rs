//! `siltstone segment dump`: one object, from the store or from a file.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use client::ConsumerRecord;
use records::{Batch, batches, decode_records};
use segment::{ObjectContents, SegmentEntry, data_range};
use serde_json::{Value, json};
use types::{ObjectKey, TopicPartition};

use super::super::record_json;
use super::super::services::Store;
use super::super::{print_json, show_time};

/// Objects are a small part of this; what is larger is not one.
const MAX_OBJECT_BYTES: u64 = 2 << 30;
/// What the records of one batch may take when they are decompressed.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

pub(super) async fn run(object: &str, records: bool, store: Store, json: bool) -> Result<()> {
    let bytes = if Path::new(object).is_file() {
        Bytes::from(std::fs::read(object).with_context(|| format!("read {object}"))?)
    } else {
        object
            .parse::<ObjectKey>()
            .map_err(|_| anyhow!("{object} is neither a file nor an object's key; `siltstone segment list TOPIC` shows keys"))?;
        store.open().await?.0.get(object, MAX_OBJECT_BYTES).await?
    };
    let contents = segment::contents(&bytes).map_err(|damage| anyhow!("{object}: {damage}"))?;
    if json {
        print_json(&as_json(&bytes, &contents, records))?;
    } else {
        let mut out = io::BufWriter::new(io::stdout().lock());
        print(&mut out, &bytes, &contents, records)?;
        out.flush()?;
    }
    // Its text holds that of its source already.
    segment::verify(&bytes).map(|_| ()).map_err(|damage| anyhow!("{object} is damaged: {damage}"))
}

fn as_json(object: &Bytes, contents: &ObjectContents, records: bool) -> Value {
    let ObjectContents { key, header, segments } = contents;
    let refused = header.refused.iter().map(|refused| {
        let partitions: Vec<_> = refused.partitions.iter().map(ToString::to_string).collect();
        json!({"epoch": refused.epoch.0, "sequence": refused.sequence.0, "partitions": partitions})
    });
    json!({
        "key": key.to_string(), "bytes": object.len(), "cluster": header.cluster.to_string(), "wal": header.wal.to_string(),
        "first_lsn": header.first_lsn.0, "end_lsn": header.end_lsn.0, "sequence": header.sequence.0,
        "metadata_revision": header.metadata_revision.0, "created_at": header.created_at.0,
        "answered_through": header.answered_through.0, "refused": refused.collect::<Vec<_>>(),
        "segments": segments.iter().map(|entry| segment_as_json(object, entry, records)).collect::<Vec<_>>(),
    })
}

fn segment_as_json(object: &Bytes, entry: &SegmentEntry, records: bool) -> Value {
    let SegmentEntry { partition, segment, data_crc, producers } = entry;
    let batches = batches_of(object, entry).map(|batch| match batch {
        Ok(batch) => batch_as_json(*partition, &batch, records),
        Err(damage) => json!({"damaged": damage}),
    });
    json!({
        "topic": partition.topic.to_string(), "partition": partition.partition, "base": segment.base.0, "end": segment.end.0,
        "records": segment.records, "position": segment.position, "bytes": segment.bytes, "index_bytes": segment.index_bytes,
        "max_timestamp": segment.max_timestamp.0, "data_crc": data_crc, "producers": producers.windows.len(),
        "batches": batches.collect::<Vec<_>>(),
    })
}

fn batch_as_json(partition: TopicPartition, batch: &Batch, records: bool) -> Value {
    let header = &batch.header;
    let mut shown = json!({
        "base_offset": header.base_offset.0, "last_offset": header.last_offset().0, "records": header.records, "bytes": header.bytes,
        "leader_epoch": header.leader_epoch.0, "codec": codec(batch), "max_timestamp": header.max_timestamp.0,
        "producer_id": header.producer_id, "producer_epoch": header.producer_epoch, "base_sequence": header.base_sequence,
        "transactional": header.transactional, "control": header.control,
    });
    if records {
        shown["content"] = match content(partition, batch) {
            Ok(records) => Value::Array(records),
            Err(damage) => json!({"damaged": damage}),
        };
    }
    shown
}

fn print(out: &mut impl Write, object: &Bytes, contents: &ObjectContents, records: bool) -> io::Result<()> {
    let ObjectContents { key, header, segments } = contents;
    writeln!(out, "object {key}: {} bytes, {} segments, written {}", object.len(), segments.len(), show_time(header.created_at))?;
    writeln!(out, "cluster {}, log {}, entries {} to {}", header.cluster, header.wal, header.first_lsn, header.end_lsn)?;
    writeln!(
        out,
        "publish {}, answers known to {}, metadata revision {}",
        header.sequence, header.answered_through, header.metadata_revision
    )?;
    for refused in &header.refused {
        let partitions: Vec<_> = refused.partitions.iter().map(ToString::to_string).collect();
        writeln!(out, "publish {} of broker epoch {} was refused for {}", refused.sequence, refused.epoch, partitions.join(", "))?;
    }
    for entry in segments {
        print_segment(out, object, entry, records)?;
    }
    Ok(())
}

fn print_segment(out: &mut impl Write, object: &Bytes, entry: &SegmentEntry, records: bool) -> io::Result<()> {
    let SegmentEntry { partition, segment, .. } = entry;
    let range = data_range(segment);
    let (last, sizes) = (segment.end.0 - 1, format!("{} records, bytes {}-{}", segment.records, range.start, range.end - 1));
    writeln!(out, "segment {partition}: offsets {} to {last}, {sizes}", segment.base)?;
    for batch in batches_of(object, entry) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(damage) => {
                writeln!(out, "  damaged: {damage}")?;
                continue;
            }
        };
        let header = &batch.header;
        write!(
            out,
            "  batch {} to {}: {} records, {} bytes, {}",
            header.base_offset,
            header.last_offset(),
            header.records,
            header.bytes,
            codec(&batch)
        )?;
        write!(out, ", epoch {}, {}", header.leader_epoch, show_time(header.max_timestamp))?;
        if header.has_producer() {
            write!(out, ", producer {}/{} from {}", header.producer_id, header.producer_epoch, header.base_sequence)?;
        }
        for (_, mark) in [(header.transactional, "transactional"), (header.control, "control")].iter().filter(|(marked, _)| *marked) {
            write!(out, ", {mark}")?;
        }
        writeln!(out)?;
        if records {
            match content(*partition, &batch) {
                Ok(records) => records.iter().try_for_each(|record| writeln!(out, "    {record}"))?,
                Err(damage) => writeln!(out, "    damaged: {damage}")?,
            }
        }
    }
    Ok(())
}

/// Its batches; an error is the last.
fn batches_of(object: &Bytes, entry: &SegmentEntry) -> impl Iterator<Item = Result<Batch, String>> {
    let range = data_range(&entry.segment);
    batches(object.slice(range.start as usize..range.end as usize)).map(|batch| batch.map_err(|damage| damage.to_string()))
}

/// Records as `consume --format json` shows them, with the topic's id for its name.
fn content(partition: TopicPartition, batch: &Batch) -> Result<Vec<Value>, String> {
    let records = decode_records(&batch.bytes, MAX_DECOMPRESSED_BYTES).map_err(|error| error.to_string())?;
    let shown = records.into_iter().map(|record| {
        let (offset, timestamp) = (record.offset.0, record.timestamp.0);
        let record = ConsumerRecord {
            partition: partition.partition,
            offset,
            timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        record_json::to_json(&partition.topic.to_string(), &record)
    });
    Ok(shown.collect())
}

fn codec(batch: &Batch) -> String {
    format!("{:?}", batch.header.codec).to_lowercase()
}
