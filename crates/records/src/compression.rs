//! Compressing and decompressing a batch's records. Every decompressor is bounded in what it may put out, and takes memory in
//! proportion to what it has put out so far, not to what the input announces.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::header::Codec;

/// The records of a batch could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// More output than the caller allows.
    #[error("decompressed records exceed {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Not what the codec writes.
    #[error("{codec:?} data is damaged")]
    Damaged {
        /// The codec of the batch.
        codec: Codec,
        /// What the decompressor says.
        source: io::Error,
    },
}

/// The header of xerial's framing: magic, version 1, oldest compatible version 1. Blocks follow, each a length and a raw block.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_BLOCK: usize = 32 * 1024;

/// Snappy's densest element turns 3 bytes into 64: a block that announces more than this factor lies.
const SNAPPY_MAX_EXPANSION: usize = 22;

/// log2 of the largest window a zstd frame may ask for: 128 MiB, what level 22 writes and no more. The memory behind a window is
/// touched only as far as there is output.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Decompresses to at most `limit` bytes; uncompressed data is returned as it is, whatever its length.
pub(crate) fn decompress(codec: Codec, data: Bytes, limit: usize) -> Result<Bytes, DecompressError> {
    let damaged = |source| DecompressError::Damaged { codec, source };
    match codec {
        Codec::None => return Ok(data),
        Codec::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(&data[..]), limit),
        Codec::Snappy => return snappy(&data, limit),
        Codec::Lz4 => lz4(&data, limit),
        Codec::Zstd => zstd(&data, limit),
    }
    .map_err(damaged)?
    .ok_or(DecompressError::TooLarge { limit })
    .map(Bytes::from)
}

/// `None` where there is more than `limit`.
fn read_bounded(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    reader.take((limit as u64).saturating_add(1)).read_to_end(&mut out)?;
    Ok((out.len() <= limit).then_some(out))
}

fn lz4(data: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = lz4::Decoder::new(data)?;
    let out = read_bounded(&mut decoder, limit)?;
    // The decoder takes the end of its input for the end of the frame.
    if out.is_some() {
        decoder.finish().1?;
    }
    Ok(out)
}

fn zstd(data: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_bounded(decoder, limit)
}

fn snappy(data: &[u8], limit: usize) -> Result<Bytes, DecompressError> {
    let damaged = |what: &str| DecompressError::Damaged { codec: Codec::Snappy, source: io::Error::new(io::ErrorKind::InvalidData, what) };
    let mut out = Vec::new();
    if !data.starts_with(XERIAL_MAGIC) {
        snappy_block(data, limit, &mut out)?;
        return Ok(out.into());
    }
    let mut blocks = data.get(XERIAL_HEADER.len()..).ok_or_else(|| damaged("xerial header is cut"))?;
    while !blocks.is_empty() {
        let (length, rest) = blocks.split_first_chunk().ok_or_else(|| damaged("block length is cut"))?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| damaged("block length is negative"))?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(|| damaged("block is cut"))?;
        snappy_block(block, limit, &mut out)?;
        blocks = rest;
    }
    Ok(out.into())
}

/// Appends one raw block to `out`, which may hold `limit` bytes in all.
fn snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let damaged = |source| DecompressError::Damaged { codec: Codec::Snappy, source };
    let length = snap::raw::decompress_len(block).map_err(|source| damaged(source.into()))?;
    let start = out.len();
    if limit - start < length {
        return Err(DecompressError::TooLarge { limit });
    }
    if block.len().saturating_mul(SNAPPY_MAX_EXPANSION) < length {
        return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, "block announces more than it can hold")));
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|source| damaged(source.into()))?;
    Ok(())
}

/// Compresses in the form that Java's client writes and every client reads.
pub(crate) fn compress(codec: Codec, data: Vec<u8>) -> Vec<u8> {
    const TO_MEMORY: &str = "compressing memory into memory does not fail";
    match codec {
        Codec::None => data,
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&data).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY)
        }
        Codec::Snappy => {
            let mut out = XERIAL_HEADER.to_vec();
            for block in data.chunks(XERIAL_BLOCK) {
                let block = snap::raw::Encoder::new().compress_vec(block).expect(TO_MEMORY);
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            out
        }
        Codec::Lz4 => {
            // Java reads only independent blocks.
            let mut encoder = lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .block_size(lz4::BlockSize::Max64KB)
                .checksum(lz4::ContentChecksum::NoChecksum)
                .build(Vec::new())
                .expect(TO_MEMORY);
            encoder.write_all(&data).expect(TO_MEMORY);
            let (out, result) = encoder.finish();
            result.expect(TO_MEMORY);
            out
        }
        Codec::Zstd => zstd::bulk::compress(&data, 0).expect(TO_MEMORY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_codec() -> impl Strategy<Value = Codec> {
        prop::sample::select(&Codec::ALL[1..])
    }

    #[test]
    fn output_is_bounded_for_every_codec() {
        let zeros = vec![0; 1 << 20];
        for codec in &Codec::ALL[1..] {
            let data = Bytes::from(compress(*codec, zeros.clone()));
            assert!(matches!(decompress(*codec, data.clone(), (1 << 20) - 1), Err(DecompressError::TooLarge { .. })), "{codec:?}");
            assert_eq!(decompress(*codec, data, 1 << 20).unwrap(), zeros, "{codec:?}");
        }
    }

    #[test]
    fn data_that_was_cut_is_damaged_for_every_codec() {
        let data: Vec<u8> = (0..200_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_be_bytes()).collect();
        for codec in &Codec::ALL[1..] {
            let whole = Bytes::from(compress(*codec, data.clone()));
            for cut in [whole.len() / 2, whole.len() - 1] {
                assert!(matches!(decompress(*codec, whole.slice(..cut), 1 << 30), Err(DecompressError::Damaged { .. })), "{codec:?} {cut}");
            }
        }
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let raw = snap::raw::Encoder::new().compress_vec(b"as librdkafka may write it").unwrap();
        assert_eq!(decompress(Codec::Snappy, raw.into(), 100).unwrap(), &b"as librdkafka may write it"[..]);
    }

    #[test]
    fn a_snappy_block_that_announces_too_much_is_refused_before_memory_is_taken() {
        let announces_a_gibibyte = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x04, 0]);
        match decompress(Codec::Snappy, announces_a_gibibyte, usize::MAX) {
            // The decompressor's own error, after the memory was taken, is of another kind.
            Err(DecompressError::Damaged { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::InvalidData),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn gzip_members_are_joined() {
        let two = [compress(Codec::Gzip, b"one ".to_vec()), compress(Codec::Gzip, b"two".to_vec())].concat();
        assert_eq!(decompress(Codec::Gzip, two.into(), 100).unwrap(), &b"one two"[..]);
    }

    proptest! {
        #[test]
        fn what_is_compressed_reads_back(codec in any_codec(), data in proptest::collection::vec(0u8..4, 0..100_000)) {
            let compressed = compress(codec, data.clone());
            prop_assert_eq!(decompress(codec, compressed.into(), data.len()).unwrap(), data);
        }

        #[test]
        fn mutated_data_never_puts_out_more_than_the_bound(
            codec in any_codec(),
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            limit in 0usize..5000,
        ) {
            let mut data = compress(codec, vec![b'x'; 4000]);
            for (at, value) in mutations {
                let at = at.index(data.len());
                data[at] = value;
            }
            if let Ok(out) = decompress(codec, data.into(), limit) {
                prop_assert!(out.len() <= limit);
            }
        }
    }
}
