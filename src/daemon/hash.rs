//! SipHash-1-3, a keyed hash for short inputs by Jean-Philippe Aumasson and Daniel J. Bernstein (2012).
//! A client that does not know the key cannot choose identifiers that collide.

/// The key, different for each process.
pub type Key = [u64; 2];

/// The hash of `bytes`.
pub fn hash(key: &Key, bytes: &[u8]) -> u64 {
    let [a, b] = *key;
    let mut state = [
        a ^ 0x736f_6d65_7073_6575,
        b ^ 0x646f_7261_6e64_6f6d,
        a ^ 0x6c79_6765_6e65_7261,
        b ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        absorb(&mut state, word(chunk));
    }
    // The last word: the remaining bytes, and the length in the highest byte.
    absorb(&mut state, word(chunks.remainder()) | (bytes.len() as u64) << 56);
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

/// Up to eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

#[inline(never)]
fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}
