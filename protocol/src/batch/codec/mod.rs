//! Compression of the records of a batch, all of them as one run of bytes.
//!
//!     bits 0-2   0 none   1 gzip        2 snappy              3 lz4               4 zstd
//!                         one RFC 1952  xerial frames of      LZ4 frame of 64 KiB one frame
//!                         stream        32 KiB, or one block  independent blocks
//!
//! Clients compress and decompress; a broker stores what it gets. The forms written are those that
//! every Kafka client reads, the forms read are those that any of them writes.
//!
//! Whatever the compressed bytes declare, `decompress` allocates no more than `limit` for its result,
//! plus the fixed state of the codec (below 200 KiB). 64 MiB of zeroes are 2 KiB of zstd: the limit is
//! the defence, and reaching it is an error of its own.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::str::FromStr;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why compressed bytes could not be turned into records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("the {codec} data is not what {codec} writes")]
    Corrupt { codec: Codec },
    #[error("the {codec} data is more than {limit} bytes when decompressed")]
    TooLarge { codec: Codec, limit: usize },
}

/// A text that names no codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a compression: it is one of none, gzip, snappy, lz4, zstd")]
pub struct UnknownCodec;

impl Codec {
    /// In the order of their wire bits.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// As Kafka's `compression.type` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Bits 0 to 2 of a batch's attributes; `None` for the three values that have no meaning.
    #[inline]
    pub const fn from_wire(bits: u16) -> Option<Codec> {
        match bits {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    #[inline]
    pub const fn to_wire(self) -> u16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Codec, UnknownCodec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name).ok_or(UnknownCodec)
    }
}

/// Appends `input`, compressed, to `out`.
pub fn compress(codec: Codec, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip::compress(input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4::compress(input, out),
        Codec::Zstd => zstd::compress(input, out),
    }
}

/// The bytes that were compressed, if they are at most `limit`.
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let output = match codec {
        Codec::None if input.len() <= limit => Ok(input.to_vec()),
        Codec::None => Err(Fault::TooLarge),
        Codec::Gzip => gzip::decompress(input, limit),
        Codec::Snappy => snappy::decompress(input, limit),
        Codec::Lz4 => lz4::decompress(input, limit),
        Codec::Zstd => zstd::decompress(input, limit),
    };
    output.map_err(|fault| match fault {
        Fault::Corrupt => DecompressError::Corrupt { codec },
        Fault::TooLarge => DecompressError::TooLarge { codec, limit },
    })
}

/// What a codec's file reports; [`decompress`] adds which codec and which limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Corrupt,
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: usize = 1 << 20;
    const COMPRESSING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn compressed(codec: Codec, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, input, &mut out);
        out
    }

    #[test]
    fn bits_and_names_come_back() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_wire(codec.to_wire()), Some(codec));
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!([5, 6, 7].map(Codec::from_wire), [None; 3]);
        assert_eq!("LZ4".parse::<Codec>(), Err(UnknownCodec));
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let zeroes = vec![0; 64 * MIB];
        for codec in COMPRESSING {
            let bomb = compressed(codec, &zeroes);
            assert_eq!(decompress(codec, &bomb, MIB), Err(DecompressError::TooLarge { codec, limit: MIB }));
        }
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_less_is_not() {
        for codec in Codec::ALL {
            for len in [1, 1000, 32 << 10, (64 << 10) + 1, MIB] {
                let input: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
                let small = compressed(codec, &input);
                assert_eq!(decompress(codec, &small, len).as_ref(), Ok(&input), "{codec} {len}");
                let refused = DecompressError::TooLarge { codec, limit: len - 1 };
                assert_eq!(decompress(codec, &small, len - 1), Err(refused), "{codec} {len}");
            }
        }
    }

    #[test]
    fn the_result_holds_no_more_memory_than_the_limit() {
        let input = vec![7; 100_000];
        for codec in Codec::ALL {
            let output = decompress(codec, &compressed(codec, &input), 120_000).unwrap();
            assert!(output.capacity() <= 120_000, "{codec}: {}", output.capacity());
        }
    }

    #[test]
    fn nothing_compresses_to_something_that_comes_back_as_nothing() {
        for codec in Codec::ALL {
            assert_eq!(decompress(codec, &compressed(codec, b""), 0), Ok(Vec::new()), "{codec}");
        }
    }

    #[test]
    fn a_cut_stream_is_never_taken_for_a_whole_one() {
        let input: Vec<u8> = (0..70_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        for codec in COMPRESSING {
            let whole = compressed(codec, &input);
            for keep in [0, 1, 6, 7, 15, 16, 17, whole.len() / 2, whole.len() - 4, whole.len() - 1] {
                let cut = decompress(codec, &whole[..keep], MIB);
                assert_ne!(cut.as_ref(), Ok(&input), "{codec} {keep}");
                // Frames of snappy carry no end: a cut between two of them shows in the record count.
                assert!(codec == Codec::Snappy || cut.is_err(), "{codec} {keep}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_come_back(
            runs in prop::collection::vec((any::<u8>(), 1..9000_usize), 0..12),
            noise in prop::collection::vec(any::<u8>(), 0..9000),
        ) {
            let mut input: Vec<u8> = runs.iter().flat_map(|&(byte, n)| std::iter::repeat_n(byte, n)).collect();
            input.extend(noise);
            for codec in Codec::ALL {
                let output = decompress(codec, &compressed(codec, &input), input.len());
                prop_assert_eq!(output.as_ref(), Ok(&input));
            }
        }

        #[test]
        fn arbitrary_bytes_panic_nothing(input in prop::collection::vec(any::<u8>(), 0..300)) {
            for codec in Codec::ALL {
                let output = decompress(codec, &input, 4096).unwrap_or_default();
                prop_assert!(output.len() <= 4096);
            }
        }

        #[test]
        fn damaged_streams_panic_nothing(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut input = vec![9; 70_000];
            input.extend(noise);
            for codec in COMPRESSING {
                let mut bytes = compressed(codec, &input);
                for (at, bits) in &flips {
                    let at = at.index(bytes.len());
                    bytes[at] ^= bits;
                }
                let output = decompress(codec, &bytes, 80_000).unwrap_or_default();
                prop_assert!(output.len() <= 80_000);
            }
        }
    }
}
