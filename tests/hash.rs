//! The hash of identifiers is SipHash-1-3, by another implementation, and what collides for every factor
//! of a polynomial does not collide for every key.

use fdholder::daemon::hash::hash;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

#[test]
fn with_a_key_of_zeros_it_is_that_of_the_standard_library() {
    let bytes: Vec<u8> = (0..=255).collect();
    for length in 0..=255 {
        let mut other = DefaultHasher::new();
        other.write(&bytes[..length]);
        assert_eq!(hash(&[0; 2], &bytes[..length]), other.finish(), "{length}");
    }
}

#[test]
fn with_a_key_it_is_what_its_authors_publish() {
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    assert_eq!(hash(&key, b"").to_le_bytes(), [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab]);
}

/// Differences of two identifiers that are products of x^e - 1, and so vanish for every odd factor modulo
/// 2^64: the product for the exponents 1, 2, 4, ... is divisible by a power of 2 that grows with each.
#[test]
fn identifiers_that_collide_for_every_factor_of_a_polynomial_do_not_collide() {
    let mut product = vec![1_i32];
    for exponent in [1, 2, 4, 8, 16, 32, 64] {
        let mut next = vec![0; product.len() + exponent];
        for (at, factor) in product.iter().enumerate() {
            next[at + exponent] += factor;
            next[at] -= factor;
        }
        product = next;
    }
    // Each coefficient is 1 or -1: two texts of two letters.
    let text = |sign: i32| product.iter().map(|c| if *c == sign { b'a' } else { b'b' }).collect();
    let [one, other]: [Vec<u8>; 2] = [text(1), text(-1)];
    let polynomial = |factor: u64, bytes: &[u8]| {
        let step =
            |hash: u64, byte: &u8| hash.wrapping_add(1 + u64::from(*byte)).wrapping_mul(factor);
        bytes.iter().fold(factor, step)
    };
    let mut hashes = BTreeSet::new();
    for seed in 0..1000_u64 {
        let factor = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let parts = [&one, &other].map(|text| polynomial(factor, text) >> 32);
        // That is what it was.
        assert_eq!(parts[0], parts[1]);
        for text in [&one, &other] {
            hashes.insert(hash(&[seed, 0], text));
        }
    }
    assert_eq!(hashes.len(), 2000);
}
