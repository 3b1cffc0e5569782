//! Constant databases: looks keys up in the bytes of a file. This code touches no file.
//!
//! The format is that of D. J. Bernstein's `cdb`, by its documentation. Every number is a u32 in
//! little-endian order. A position counts bytes from the start of the file. The file consists of:
//!
//! - the header, 256 pairs: the position of a table and its number of slots;
//! - records: the length of the key, the length of the value, the key, the value;
//! - tables of slots, which are pairs: the hash of a key and the position of its record, 0 in a free
//!   slot.
//!
//! The low byte of a hash is the number of the table, and the other bytes are the slot at which the
//! search starts. The search goes on slot by slot, from the last slot to the first, and ends at a free
//! one.
//!
//! The file may be hostile: a position outside it is an error, and no search visits a slot twice.

/// Bytes of the header.
pub const HEADER: usize = (TABLES * PAIR) as usize;
/// The number of tables.
const TABLES: u64 = 256;
/// Bytes of a pair.
const PAIR: u64 = 8;

/// Replaces a number that lies outside the file. As a position or as a length it is outside every file.
const OUTSIDE: u64 = 1 << 40;

/// Why a key has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// No record has the key.
    Absent,
    /// A table or a record lies outside the file.
    Invalid,
}

/// True if the header and all tables lie within the file.
pub fn is_valid(file: &[u8]) -> bool {
    (0..TABLES).all(|number| table(file, number).is_some())
}

/// The value of the first record with this key. [`Missing::Invalid`] if the key's table lies outside
/// the file, or an earlier record with the same hash does.
pub fn find<'a>(file: &'a [u8], key: &[u8]) -> Result<&'a [u8], Missing> {
    let hash = hash(key).into();
    let table = table(file, hash % TABLES).ok_or(Missing::Invalid)?;
    let slots = table.len() / PAIR as usize;
    let mut slot = (hash / TABLES) as usize;
    for _ in 0..slots {
        slot %= slots;
        let (slot_hash, position) = pair(table, slot as u64 * PAIR);
        if position == 0 {
            break;
        }
        if slot_hash == hash {
            let (key_length, length) = pair(file, position);
            let record = part(file, position + PAIR, key_length + length);
            let (record_key, value) = record
                .and_then(|record| record.split_at_checked(key_length as usize))
                .ok_or(Missing::Invalid)?;
            if record_key == key {
                return Ok(value);
            }
        }
        slot += 1;
    }
    Err(Missing::Absent)
}

/// The slots of a table. `None` if they lie outside the file.
fn table(file: &[u8], number: u64) -> Option<&[u8]> {
    let (position, slots) = pair(file, number * PAIR);
    part(file, position, slots * PAIR)
}

/// `length` bytes at a position. `None` if they lie outside `bytes`.
fn part(bytes: &[u8], position: u64, length: u64) -> Option<&[u8]> {
    bytes.get(position.try_into().ok()?..(position + length).try_into().ok()?)
}

/// The pair at a position. [`OUTSIDE`] twice if it lies outside `bytes`.
#[inline(never)]
fn pair(bytes: &[u8], position: u64) -> (u64, u64) {
    match part(bytes, position, PAIR) {
        Some([a, b, c, d, e, f, g, h]) => (
            u32::from_le_bytes([*a, *b, *c, *d]).into(),
            u32::from_le_bytes([*e, *f, *g, *h]).into(),
        ),
        _ => (OUTSIDE, OUTSIDE),
    }
}

/// Bernstein's hash.
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte))
}
