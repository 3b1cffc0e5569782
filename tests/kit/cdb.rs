//! Writes constant databases and their values. This code is independent of the product.

/// The size of the header in bytes.
pub const HEADER: usize = 2048;

/// The hash of a key.
pub fn hash(key: &[u8]) -> u32 {
    let step = |hash: u64, byte: &u8| ((hash * 33) & 0xffff_ffff) ^ u64::from(*byte);
    key.iter().fold(5381, step) as u32
}

/// A database with these records. Its hash tables have `slots` slots for each record.
pub fn file<K: AsRef<[u8]>, V: AsRef<[u8]>>(records: &[(K, V)], slots: usize) -> Vec<u8> {
    let pair = |a: usize, b: usize| [(a as u32).to_le_bytes(), (b as u32).to_le_bytes()].concat();
    let mut file = vec![0; HEADER];
    let mut tables = vec![Vec::new(); 256];
    for (key, value) in records {
        let (key, value) = (key.as_ref(), value.as_ref());
        let hash = hash(key) as usize;
        tables[hash % 256].push((hash, file.len()));
        file.extend([&pair(key.len(), value.len()), key, value].concat());
    }
    for (i, table) in tables.iter().enumerate() {
        let mut all = vec![(0, 0); table.len() * slots];
        let head = pair(file.len(), all.len());
        file[8 * i..][..8].copy_from_slice(&head);
        for (hash, position) in table {
            let mut at = hash / 256 % all.len();
            while all[at].1 != 0 {
                at = (at + 1) % all.len();
            }
            all[at] = (*hash, *position);
        }
        file.extend(all.iter().flat_map(|(hash, position)| pair(*hash, *position)));
    }
    file
}

/// The value of a rule that allows, with variables and a program.
pub fn allow(strings: &[u8], program: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| (part.len() as u16).to_be_bytes();
    [b"A", &length(strings)[..], strings, &length(program), program].concat()
}
