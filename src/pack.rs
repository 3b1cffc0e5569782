//! How texts are packed, and their unpacking; `build.rs` packs them, in `packer.rs`.
//!
//! The texts, ASCII one behind the other, are told as bits. Each step begins with a bit that says
//! whether what comes has been there before: then its distance back and its length follow, else one
//! character. How likely a bit is to be set is learnt as it goes along, for every place where a bit
//! can stand, and a likely one takes up only a fraction of a bit in the packed bytes. That is range
//! coding by an asymmetric numeral system: the unpacker keeps a number, whose lowest byte says
//! what the next bit is, and takes in a byte when that number has become small.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A place where a bit can stand.
pub type Context = u8;

/// The bit that begins a step; behind a copy the one after it.
pub const KIND: Context = 0;
/// The first bit of a distance.
pub const DISTANCE: Context = 2;
/// The first bit of a length, less [`SHORTEST`] - 1.
pub const LENGTH: Context = 34;
/// The bits of a character: those that are known, behind a 1, are added to it.
pub const CHARACTER: Context = 128;
/// The shortest copy.
pub const SHORTEST: usize = 2;
/// The number that the unpacker keeps is not below this: else it takes in another byte.
pub const LOWEST: u32 = 1 << 12;

/// How many times out of 256 a bit is set that stands there, at first half of them.
pub type Odds = [u8; 256];

/// The odds after a bit that was set, or was not: a sixteenth of the way to the aim. The shift rounds
/// down, so they come to rest at 248 and at 8, and never get to 0 nor to 256.
pub fn learn(odds: u8, bit: bool) -> u8 {
    let aim = if bit { 263 } else { 8 };
    (i32::from(odds) + ((aim - i32::from(odds)) >> 4)) as u8
}

/// What is left to be unpacked. The odds, which are large, stand last: the rest is reached with
/// shorter instructions.
#[repr(C)]
struct Packed<'a> {
    number: u32,
    bytes: core::slice::Iter<'a, u8>,
    odds: Odds,
}

impl Packed<'_> {
    /// The next bit.
    fn bit(&mut self, context: Context) -> bool {
        // The last bit needs no byte behind the last one: `build.rs` has tried it.
        while self.number < LOWEST {
            self.number = self.number << 8 | self.bytes.next().map_or(0, |byte| u32::from(*byte));
        }
        let odds = self.odds[usize::from(context)];
        let mut low = self.number & 255;
        let mut range = odds;
        let bit = low < u32::from(odds);
        if !bit {
            low -= u32::from(odds);
            range = odds.wrapping_neg();
        }
        self.number = (self.number >> 8) * u32::from(range) + low;
        self.odds[usize::from(context)] = learn(odds, bit);
        bit
    }

    /// A number of at least 1, whose highest bit is set: before each other one, from the second
    /// highest on, stands whether there is one.
    fn number(&mut self, mut context: Context) -> usize {
        let mut number = 1;
        while self.bit(context) {
            number = number << 1 | usize::from(self.bit(context + 1));
            context += 2;
        }
        number
    }
}

/// Unpacks as many bytes as `texts` has. They are atomic so that they can be a static.
pub fn unpack(packed: &[u8], texts: &[AtomicU8]) {
    let mut packed = Packed { number: 0, bytes: packed.iter(), odds: [128; 256] };
    let (mut distance, mut left) = (0, 0);
    let mut kind = KIND;
    for (at, text) in texts.iter().enumerate() {
        if left == 0 && packed.bit(kind) {
            distance = packed.number(DISTANCE);
            left = packed.number(LENGTH) + SHORTEST - 1;
        }
        let byte;
        kind = KIND;
        if left > 0 {
            left -= 1;
            kind += 1;
            byte = texts.get(at.wrapping_sub(distance)).map_or(0, |text| text.load(Relaxed));
        } else {
            let mut known = 1;
            while known < 128 {
                known = known << 1 | u8::from(packed.bit(CHARACTER | known));
            }
            byte = known & 127;
        }
        text.store(byte, Relaxed);
    }
}
