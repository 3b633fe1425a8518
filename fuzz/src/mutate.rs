//! Changes to bytes that parsers are known to stumble over.
//!
//!     flip a bit ▸ another byte ▸ a number at a limit, of any width and order ▸ cut ▸ more bytes
//!     ▸ a piece twice, elsewhere, from another input, or as zeroes

/// Random numbers from one seed: SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }
}

/// Longest input that mutation makes: longer ones only take longer.
const INPUT_BYTES_MAX: usize = 256 << 10;

/// Numbers at which lengths, counts and offsets overflow or change their sign.
const LIMITS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// Changes `input` in one to eight places; `other` is an input to take pieces from.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let places = 1 << rng.below(4);
    for _ in 0..=rng.below(places) {
        mutate_once(input, other, rng);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn mutate_once(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.below(input.len());
    // Headers are where lengths and counts are.
    let at = if rng.below(2) == 0 { at.min(rng.below(96)) } else { at };
    let len_max = 1 << rng.below(12);
    let len = rng.below(len_max).min(input.len().saturating_sub(at));
    match rng.below(9) {
        0 => with_byte(input, at, |byte, rng| byte ^ (1 << rng.below(8)), rng),
        1 => with_byte(input, at, |_, rng| rng.draw() as u8, rng),
        2 | 3 => put_number(input, at, rng),
        4 => input.truncate(at),
        5 => input.extend((0..rng.below(64)).map(|_| rng.draw() as u8)),
        6 => {
            let piece: Vec<u8> = input.iter().skip(at).take(len).copied().collect();
            let to = rng.below(input.len());
            input.splice(to..to, piece);
        }
        7 => {
            let from = rng.below(other.len());
            let piece = other.get(from..).unwrap_or_default();
            let piece: Vec<u8> = piece.iter().take(len.max(16)).copied().collect();
            input.splice(at..at + len, piece);
        }
        _ => input.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0),
    }
}

fn with_byte(input: &mut [u8], at: usize, change: impl Fn(u8, &mut Rng) -> u8, rng: &mut Rng) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte, rng);
    }
}

/// A limit, or a number beside one, or what is there and a little more or less.
fn put_number(input: &mut [u8], at: usize, rng: &mut Rng) {
    let width = [1, 2, 4, 8][rng.below(4)];
    let Some(place) = input.get_mut(at..at + width) else { return };
    let big_endian = rng.below(2) == 0;
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(place);
    if big_endian {
        bytes[..width].reverse();
    }
    let base = if rng.below(2) == 0 { LIMITS[rng.below(LIMITS.len())] } else { u64::from_le_bytes(bytes) };
    let value = base.wrapping_add(rng.below(9) as u64).wrapping_sub(4);
    bytes = value.to_le_bytes();
    if big_endian {
        bytes[..width].reverse();
    }
    place.copy_from_slice(&bytes[..width]);
}
