//! lz4: one LZ4 frame.
//!
//!     04 22 4d 18 │ FLG │ BD │ [size 8] │ HC │ ( length 4 │ block │ [checksum 4] )… │ 00 00 00 00 │ …
//!
//!     FLG   01…… version   ..1. independent blocks   …1 block checksums   1 size   1 checksum   1 dict
//!     BD    .100 blocks of at most 64 KiB, .101 256 KiB, .110 1 MiB, .111 4 MiB
//!     length, little-endian, bit 31 set: the block is stored as it is
//!
//! Written here: `60 40 82`, that is independent blocks of 64 KiB without size and checksums, because
//! Kafka's Java client refuses dependent blocks. Read here: dependent blocks too, and any block size
//! (some clients write 4 MiB). Blocks are decoded straight into the result, so that no buffer of the
//! declared block size is allocated; the checksums of the frame are stepped over, because the batch's
//! CRC-32C covers the same bytes.

use lz4_flex::block::{self, CompressTable};

use super::Fault;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Magic, flags, block size, and the checksum of these two bytes.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, VERSION | INDEPENDENT, 0x40, 0x82];

/// Length field that ends a frame.
const END_MARK: [u8; 4] = [0; 4];

/// Input bytes per block written.
const BLOCK_LEN: usize = 64 << 10;

/// How far back a dependent block may refer.
const WINDOW_LEN: usize = 64 << 10;

/// A compressed byte stands for at most so many: each further byte of a match length counts 255.
const EXPANSION_MAX: usize = 255;

const VERSION_BITS: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const DICTIONARY: u8 = 0b0000_0001;
const STORED_BIT: u32 = 1 << 31;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut table = CompressTable::default();
    out.extend_from_slice(&FRAME_HEADER);
    for chunk in input.chunks(BLOCK_LEN) {
        compress_block(chunk, &mut table, out);
    }
    out.extend_from_slice(&END_MARK);
}

fn compress_block(chunk: &[u8], table: &mut CompressTable, out: &mut Vec<u8>) {
    let length_at = out.len();
    let block_at = length_at + 4;
    out.resize(block_at + block::get_maximum_output_size(chunk.len()), 0);
    let len = block::compress_into_with_table(chunk, &mut out[block_at..], table)
        .expect("BUG: the room is lz4's own upper bound");
    out.truncate(block_at + len);
    let mut field = block_length(len);
    if len >= chunk.len() {
        out.truncate(block_at);
        out.extend_from_slice(chunk);
        field = block_length(chunk.len()) | STORED_BIT;
    }
    out[length_at..block_at].copy_from_slice(&field.to_le_bytes());
}

fn block_length(len: usize) -> u32 {
    u32::try_from(len).expect("BUG: a block is at most 64 KiB")
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let (frame, mut rest) = Frame::read(input).ok_or(Fault::Corrupt)?;
    let mut out = Vec::new();
    loop {
        let (block, after) = frame.split_block(rest).ok_or(Fault::Corrupt)?;
        rest = after;
        match block {
            Block::End => return Ok(out),
            Block::Stored(bytes) => {
                reserve(&mut out, bytes.len(), limit)?;
                out.extend_from_slice(bytes);
            }
            Block::Compressed(bytes) => frame.append_block(bytes, limit, &mut out)?,
        }
    }
}

/// Room for `more` bytes, by doubling, but never more than the limit.
fn reserve(out: &mut Vec<u8>, more: usize, limit: usize) -> Result<(), Fault> {
    let left = limit - out.len();
    if more > left {
        return Err(Fault::TooLarge);
    }
    if out.capacity() - out.len() < more {
        out.reserve_exact(more.max(out.len()).min(left));
    }
    Ok(())
}

/// What the frame's descriptor says about its blocks.
struct Frame {
    block_max: usize,
    independent: bool,
    block_checksums: bool,
}

enum Block<'a> {
    End,
    Stored(&'a [u8]),
    Compressed(&'a [u8]),
}

impl Frame {
    /// The descriptor, and what follows it; `None` for another format or version.
    fn read(input: &[u8]) -> Option<(Frame, &[u8])> {
        let (&[flags, block_size], rest) = input.strip_prefix(&MAGIC)?.split_first_chunk()?;
        if flags & VERSION_BITS != VERSION || flags & DICTIONARY != 0 {
            return None;
        }
        let block_max = match block_size {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return None,
        };
        let content_size = if flags & CONTENT_SIZE == 0 { 0 } else { 8 };
        let (_, blocks) = rest.split_at_checked(content_size + 1)?;
        let independent = flags & INDEPENDENT != 0;
        Some((Frame { block_max, independent, block_checksums: flags & BLOCK_CHECKSUMS != 0 }, blocks))
    }

    fn split_block<'a>(&self, bytes: &'a [u8]) -> Option<(Block<'a>, &'a [u8])> {
        let (field, rest) = bytes.split_first_chunk()?;
        if *field == END_MARK {
            return Some((Block::End, rest));
        }
        let field = u32::from_le_bytes(*field);
        let len = usize::try_from(field & !STORED_BIT).ok()?;
        if len > self.block_max {
            return None;
        }
        let (block, rest) = rest.split_at_checked(len)?;
        let (_, rest) = rest.split_at_checked(if self.block_checksums { 4 } else { 0 })?;
        let stored = field & STORED_BIT != 0;
        Some((if stored { Block::Stored(block) } else { Block::Compressed(block) }, rest))
    }

    fn append_block(&self, block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        let most = block.len().saturating_mul(EXPANSION_MAX).min(self.block_max);
        let room = most.min(limit - start);
        reserve(out, room, limit)?;
        out.resize(start + room, 0);
        let (before, target) = out.split_at_mut(start);
        let len = if self.independent {
            block::decompress_into(block, target)
        } else {
            let window = before.len().saturating_sub(WINDOW_LEN);
            block::decompress_into_with_dict(block, target, before.get(window..).unwrap_or_default())
        };
        match len {
            Ok(len) => {
                out.truncate(start + len);
                Ok(())
            }
            Err(block::DecompressError::OutputTooSmall { .. }) if room < most => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Corrupt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
    use std::io::{Read, Write};

    /// Text that compresses, and refers back across block boundaries if it may.
    fn text(len: usize) -> Vec<u8> {
        (0..).flat_map(|i: u32| format!("{} bottles, ", i * 7 % 4096).into_bytes()).take(len).collect()
    }

    #[test]
    fn blocks_are_independent_because_java_refuses_dependent_ones() {
        let mut bytes = Vec::new();
        compress(&text(200_000), &mut bytes);
        assert_eq!(bytes[..4], MAGIC);
        let flags = bytes[4];
        assert_eq!(flags >> 6, 1, "version");
        assert_eq!(flags >> 5 & 1, 1, "independent blocks");
        assert_eq!(flags & 0b1_1111, 0, "no checksums, no content size, no dictionary");
        assert_eq!(bytes[5], 0x40, "blocks of 64 KiB");
    }

    #[test]
    fn another_decoder_reads_what_is_written() {
        for len in [0, 1, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 1, 300_000] {
            let mut bytes = Vec::new();
            compress(&text(len), &mut bytes);
            let mut output = Vec::new();
            FrameDecoder::new(bytes.as_slice()).read_to_end(&mut output).unwrap();
            assert_eq!(output, text(len));
        }
    }

    #[test]
    fn whatever_another_encoder_writes_is_read() {
        let input = text(700_000);
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
                for extras in [false, true] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(extras)
                        .content_checksum(extras)
                        .content_size(extras.then_some(700_000));
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&input).unwrap();
                    let bytes = encoder.finish().unwrap();
                    assert_eq!(decompress(&bytes, 700_000), Ok(input.clone()), "{mode:?} {size:?}");
                    assert_eq!(decompress(&bytes, 699_999), Err(Fault::TooLarge), "{mode:?} {size:?}");
                }
            }
        }
    }

    #[test]
    fn bytes_that_do_not_compress_are_stored() {
        let mut state = 1_u32;
        let random = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let noise: Vec<u8> = random.take(1000).collect();
        let mut bytes = Vec::new();
        compress(&noise, &mut bytes);
        assert_eq!(bytes.len(), FRAME_HEADER.len() + 4 + 1000 + END_MARK.len());
        assert_eq!(decompress(&bytes, 1000), Ok(noise));
    }
}
