//! Constant databases: the bytes of a whole file in, the values of keys out. Never touches a file.
//!
//! The format is that of D. J. Bernstein's `cdb`, by its documentation. Every number is a u32, the
//! lowest byte first, and a position counts the bytes from the start of the file:
//!
//! - the header, 256 pairs: the position of a table and how many slots it has;
//! - records: length of the key, length of the value, key, value;
//! - tables of slots, pairs: the hash of a key and the position of its record, 0 in a free slot.
//!
//! The low byte of a hash says which table the key is in, the other bytes where the search starts
//! there. It goes on slot by slot, behind the last one with the first, up to a free one.
//!
//! Nothing that the bytes say is believed: what points outside the file is an error, and no search
//! looks at a slot twice.

/// Bytes of the header.
pub const HEADER: usize = (TABLES * PAIR) as usize;
/// How many tables there are.
const TABLES: u64 = 256;
/// Bytes of two numbers.
const PAIR: u64 = 8;

/// Stands for a number that is not in the file, and points outside all files: to it, or so many
/// bytes.
const OUTSIDE: u64 = 1 << 40;

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// No record has the key.
    Absent,
    /// What was to be looked at is not in the file.
    Invalid,
}

/// Whether a file has a whole header, and all tables that it describes.
pub fn is_valid(file: &[u8]) -> bool {
    (0..TABLES).all(|number| table(file, number).is_some())
}

/// The value of the first record that has the key. [`Missing::Invalid`] if the table that the key
/// belongs to, or a record with the same hash that comes first, is not all in the file.
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

/// The slots of a table.
fn table(file: &[u8], number: u64) -> Option<&[u8]> {
    let (position, slots) = pair(file, number * PAIR);
    part(file, position, slots * PAIR)
}

/// So many bytes from a position on.
fn part(bytes: &[u8], position: u64, length: u64) -> Option<&[u8]> {
    bytes.get(position.try_into().ok()?..(position + length).try_into().ok()?)
}

/// The two numbers at a position.
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
