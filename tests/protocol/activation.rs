//! The variables of socket activation: what is described is read alike, whatever the names are.

use fdholder::protocol::activation::{Convention, Given, Identity, is_variable, split_suffix};
use fdholder::sys::strings::{Builder, Strings};
use proptest::collection::vec;
use proptest::prelude::*;

const IDENTITY: Identity = Identity { process: 4711, parent: 1, unique: Some(usize::MAX) };

/// The environment that describes descriptors of these names, by a convention.
fn describe(convention: Convention, names: &[&[u8]]) -> Strings {
    let mut environment = Builder::new(convention.variables(names.len())).unwrap();
    convention.describe(names, &|_| None, IDENTITY, &mut environment);
    environment.finish().unwrap()
}

/// What systemd makes of a name, and of none.
fn valid(name: &[u8]) -> Vec<u8> {
    let is_valid = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b':';
    let mut valid: Vec<u8> =
        name.iter().map(|byte| if is_valid(*byte) { *byte } else { b'_' }).collect();
    valid.truncate(255);
    if valid.is_empty() { b"unknown".to_vec() } else { valid }
}

/// A failure is in the output of the test; nothing is written into the source tree.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn what_is_described_is_read_by_that_process_and_no_other(names in vec(vec(1u8.., 0..300), 1..40)) {
        let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        let environment = describe(Convention::Systemd, &names);
        let given = Given::parse(environment, 4711, || Some(usize::MAX)).unwrap();
        prop_assert_eq!(given.count as usize, names.len());
        let found: Vec<Vec<u8>> = given.names().map(<[u8]>::to_vec).collect();
        prop_assert_eq!(found, names.iter().map(|name| valid(name)).collect::<Vec<_>>());
        // A kernel that knows no such number cannot be asked.
        prop_assert!(Given::parse(environment, 4711, || None).is_ok());
        for (process, unique) in [(4712, usize::MAX), (4711, usize::MAX - 1), (471, 1), (47110, 0)] {
            prop_assert!(Given::parse(environment, process, || Some(unique)).is_err());
        }
    }

    #[test]
    fn every_variable_that_is_made_is_one_that_is_removed(names in vec(vec(1u8.., 0..300), 1..40)) {
        let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        for name in [&b"systemd"[..], b"nginx", b"starter", b"einhorn", b"upstart"] {
            let environment = describe(Convention::named(name).unwrap(), &names);
            prop_assert!(environment.count() > 0);
            for string in environment {
                prop_assert!(is_variable(string.to_bytes()), "{:?}", string);
            }
        }
    }
}

#[test]
fn a_suffix_is_taken_off_only_where_an_equal_name_gets_one() {
    let cases: [(&str, &str); 16] = [
        ("", ""),
        ("a", "a"),
        ("a#2", "a"),
        ("a#9", "a"),
        ("a#10", "a"),
        ("a#4294967295", "a"),
        ("#2", ""),
        ("a#2#3", "a#2"),
        ("a##2", "a#"),
        ("a#1", "a#1"),
        ("a#0", "a#0"),
        ("a#02", "a#02"),
        ("a#", "a#"),
        ("a2", "a2"),
        ("2", "2"),
        ("a#2x", "a#2x"),
    ];
    for (name, due) in cases {
        let (plain, digits) = split_suffix(name.as_bytes());
        assert_eq!(plain, due.as_bytes(), "{name}");
        let whole = [plain, if digits.is_empty() { b"" } else { b"#" }, digits].concat();
        assert_eq!(whole, name.as_bytes());
    }
}
