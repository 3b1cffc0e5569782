//! The hash of identifiers is SipHash-1-3, as in the standard library. No identifiers collide with every
//! key, as they did with a polynomial hash.

use fdholder::daemon::hash::hash;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

#[test]
fn with_a_key_of_zeros_the_hash_equals_that_of_the_standard_library() {
    let bytes: Vec<u8> = (0..=255).collect();
    for length in 0..=255 {
        let mut other = DefaultHasher::new();
        other.write(&bytes[..length]);
        assert_eq!(hash(&[0; 2], &bytes[..length]), other.finish(), "{length}");
    }
}

#[test]
fn with_another_key_the_hash_equals_the_published_test_vector() {
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    assert_eq!(hash(&key, b"").to_le_bytes(), [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab]);
}

/// The difference of the two identifiers, as polynomials, is a product of factors x^e - 1. If x is odd and e
/// is 2^k, such a factor is divisible by 2^(k + 2). The product is divisible by 2^64, so a polynomial hash of
/// 64 bits collides for every odd x.
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
        // A polynomial hash collides.
        assert_eq!(polynomial(factor, &one), polynomial(factor, &other));
        hashes.extend([&one, &other].map(|text| hash(&[seed, 0], text)));
    }
    assert_eq!(hashes.len(), 2000);
}
