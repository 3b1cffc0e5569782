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
pub const HEADER: usize = TABLES * PAIR;
/// How many tables there are.
const TABLES: usize = 256;
/// Bytes of two numbers.
const PAIR: usize = 8;

/// A file of which the header is valid.
#[derive(Clone, Copy)]
pub struct Cdb<'a> {
    bytes: &'a [u8],
}

/// What was to be looked at is not in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid;

impl<'a> Cdb<'a> {
    /// Takes the whole file. None if the header is not there whole, or one of its tables not.
    pub fn new(bytes: &'a [u8]) -> Option<Cdb<'a>> {
        let header = bytes.get(..HEADER)?;
        let cdb = Cdb { bytes };
        for pair in header.chunks_exact(PAIR) {
            cdb.table(pair)?;
        }
        Some(cdb)
    }

    /// The value of the first record that has the key. [`Invalid`] if the table that the key
    /// belongs to, or a record with the same hash that comes first, is not all in the file.
    pub fn find(&self, key: &[u8]) -> Result<Option<&'a [u8]>, Invalid> {
        let hash = hash(key);
        let head = self.bytes.get(hash as usize % TABLES * PAIR..).ok_or(Invalid)?;
        let table = self.table(head).ok_or(Invalid)?;
        // A table without slots has no keys.
        let first = (hash as usize / TABLES).checked_rem(table.len() / PAIR).unwrap_or(0);
        let (before, behind) = table.split_at_checked(first * PAIR).ok_or(Invalid)?;
        for slot in behind.chunks_exact(PAIR).chain(before.chunks_exact(PAIR)) {
            let (slot_hash, position, _) = pair(slot).ok_or(Invalid)?;
            if position == 0 {
                break;
            }
            if slot_hash == hash as usize {
                let (record_key, value) = self.record(position).ok_or(Invalid)?;
                if record_key == key {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// The slots of the table that a pair of the header describes.
    fn table(&self, head: &[u8]) -> Option<&'a [u8]> {
        let (position, slots, _) = pair(head)?;
        self.bytes.get(position..)?.get(..slots.checked_mul(PAIR)?)
    }

    /// The key and the value of the record at a position.
    fn record(&self, position: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (key, value, bytes) = pair(self.bytes.get(position..)?)?;
        let (key, bytes) = bytes.split_at_checked(key)?;
        Some((key, bytes.get(..value)?))
    }
}

/// The two numbers at the start of `bytes`, and what lies behind them.
fn pair(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (first, bytes) = bytes.split_first_chunk()?;
    let (second, bytes) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*first) as usize, u32::from_le_bytes(*second) as usize, bytes))
}

/// Bernstein's hash.
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte))
}
