//! The variables of socket activation: the receiving process reads the names that were written, whatever
//! bytes they contain.

use crate::kit::random_cases;
use fdholder::protocol::activation::{Convention, Given, Identity, is_variable, split_suffix};
use fdholder::sys::strings::{Builder, Strings};
use proptest::collection::vec;
use proptest::prelude::*;

const IDENTITY: Identity = Identity { process: 4711, parent: 1, unique: Some(usize::MAX) };

/// The environment that describes descriptors of these names in the given convention.
fn describe(convention: Convention, names: &[&[u8]]) -> Strings {
    let mut environment = Builder::new(convention.variables(names.len())).unwrap();
    convention.describe(names, &|_| None, IDENTITY, &mut environment);
    environment.finish().unwrap()
}

/// The name as systemd reports it: other bytes become `_`, and an empty name is `unknown`.
fn valid(name: &[u8]) -> Vec<u8> {
    let is_valid = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b':';
    let mut valid: Vec<u8> =
        name.iter().map(|byte| if is_valid(*byte) { *byte } else { b'_' }).collect();
    valid.truncate(255);
    if valid.is_empty() { b"unknown".to_vec() } else { valid }
}

proptest! {
    #![proptest_config(random_cases(300))]

    #[test]
    fn only_the_process_that_is_named_reads_the_variables(names in vec(vec(1u8.., 0..300), 1..40)) {
        let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        let environment = describe(Convention::Systemd, &names);
        let given = Given::parse(environment, 4711, || Some(usize::MAX)).unwrap();
        prop_assert_eq!(given.count as usize, names.len());
        let found: Vec<Vec<u8>> = given.names().map(<[u8]>::to_vec).collect();
        prop_assert_eq!(found, names.iter().map(|name| valid(name)).collect::<Vec<_>>());
        // An old kernel has no unique identifier of a process. Then the check is skipped.
        prop_assert!(Given::parse(environment, 4711, || None).is_ok());
        for (process, unique) in [(4712, usize::MAX), (4711, usize::MAX - 1), (471, 1), (47110, 0)] {
            prop_assert!(Given::parse(environment, process, || Some(unique)).is_err());
        }
    }

    #[test]
    fn every_variable_that_is_set_is_also_recognized_for_removal(names in vec(vec(1u8.., 0..300), 1..40)) {
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
fn only_a_suffix_that_makes_equal_names_unique_is_removed() {
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
    for (name, expected) in cases {
        let (plain, digits) = split_suffix(name.as_bytes());
        assert_eq!(plain, expected.as_bytes(), "{name}");
        let whole = [plain, if digits.is_empty() { b"" } else { b"#" }, digits].concat();
        assert_eq!(whole, name.as_bytes());
    }
}
