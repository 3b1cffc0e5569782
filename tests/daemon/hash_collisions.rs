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

/// The difference of two identifiers is a product of x^e - 1. For an odd x each of these is divisible by
/// 2^(k + 2) if e is 2^k, and all of them together by 2^64.
#[test]
fn identifiers_that_collide_for_every_factor_of_a_polynomial_do_not_collide() {
    let mut product = vec![1_i32];
    for exponent in [2, 4, 8, 16, 32, 64, 8, 16, 32, 16, 32] {
        let mut next = vec![0; product.len() + exponent];
        for (at, factor) in product.iter().enumerate() {
            next[at + exponent] += factor;
            next[at] -= factor;
        }
        product = next;
    }
    let letter = |number: i32| b'!' + u8::try_from(number.max(0)).unwrap();
    let one: Vec<u8> = product.iter().map(|factor| letter(*factor)).collect();
    let other: Vec<u8> = product.iter().map(|factor| letter(-factor)).collect();
    assert!(one.len() <= 255 && [&one, &other].iter().all(|text| text.is_ascii()));
    let polynomial = |factor: u64, bytes: &[u8]| {
        let step =
            |hash: u64, byte: &u8| hash.wrapping_add(1 + u64::from(*byte)).wrapping_mul(factor);
        bytes.iter().fold(factor, step)
    };
    let mut hashes = BTreeSet::new();
    for seed in 0..1000_u64 {
        let factor = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        // That is what it was.
        assert_eq!(polynomial(factor, &one), polynomial(factor, &other));
        hashes.extend([&one, &other].map(|text| hash(&[seed, 0], text)));
    }
    assert_eq!(hashes.len(), 2000);
}
