//! Access rules: rules files of the C tool, invalid files, the meaning of values, and the order of keys.

use crate::kit::cdb::{HEADER, allow, file as cdb, hash};
use crate::kit::daemon::Generation;
use crate::kit::{random_cases, wire};
use fdholder::daemon::access::cdb::{self, Missing};
use fdholder::daemon::access::rules::{self, PART_MAX, VALUE_MAX};
use fdholder::daemon::access::{Identity, Right};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::process::{getgid, getuid};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use temp_dir::TempDir;

/// The rights of a client.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Rights<'a> {
    get_dump: bool,
    set_dump: bool,
    list: bool,
    store: Option<&'a [u8]>,
    retrieve: Option<&'a [u8]>,
}

/// A rule and the rights that it gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule<'a> {
    Absent,
    Refused,
    Allowed(Rights<'a>),
}

/// The rights that the variables of a rule give, as the product reads them.
fn named(strings: &[u8]) -> Rights<'_> {
    let values = Right::ALL.map(|right| rules::value(strings, right));
    let [store, retrieve, get_dump, set_dump, list] = values;
    let [get_dump, set_dump, list] = [get_dump, set_dump, list].map(|value| value.is_some());
    Rights { get_dump, set_dump, list, store, retrieve }
}

/// Combines the result of a lookup with its rights.
fn rule(answer: Result<&[u8], rules::Rule>) -> Rule<'_> {
    match answer {
        Err(rules::Rule::Absent) => Rule::Absent,
        Err(rules::Rule::Refused) => Rule::Refused,
        Ok(strings) => Rule::Allowed(named(strings)),
        Err(rule) => panic!("{rule:?} without strings"),
    }
}

fn find<'a>(file: &'a [u8], key: &[u8]) -> Rule<'a> {
    rule(rules::find(file, key))
}

fn parse_value(value: &[u8]) -> Rule<'_> {
    rule(rules::parse_value(value))
}

/// The name of a variable, the contents of its file in a rules directory, and the string in the value that
/// the C tool makes of it.
const VARIABLES: [(&str, &str, &str); 13] = [
    ("S6_FDHOLDER_LIST", "\n", "S6_FDHOLDER_LIST="),
    ("S6_FDHOLDER_GETDUMP", "no", "S6_FDHOLDER_GETDUMP=no"),
    ("S6_FDHOLDER_SETDUMP", "", "S6_FDHOLDER_SETDUMP"),
    ("S6_FDHOLDER_STORE_REGEX", "^a b (c|d)\t \t\nmore", "S6_FDHOLDER_STORE_REGEX=^a b (c|d)"),
    ("S6_FDHOLDER_RETRIEVE_REGEX", "  \t", "S6_FDHOLDER_RETRIEVE_REGEX="),
    ("S6_FDHOLDER_LISTS", "x\n", "S6_FDHOLDER_LISTS=x"),
    ("s6_fdholder_setdump", "x\n", "s6_fdholder_setdump=x"),
    ("PATH", "  /bin:/a b", "PATH=  /bin:/a b"),
    ("EQUALS", "a=b=", "EQUALS=a=b="),
    ("NUL", "a\0b\0\n", "NUL=a\nb\n"),
    ("UTF", "\u{e4}\u{20ac}\r\n", "UTF=\u{e4}\u{20ac}"),
    ("EMPTY", "", "EMPTY"),
    ("NEWLINES", "\n\n", "NEWLINES="),
];

/// Runs the C tool on a rules directory and returns the rules file. A rule is a key with numbers of
/// [`VARIABLES`], or `None` if it refuses. `long` is an expression for the key `uid/4294967294`.
fn file_by_c(generation: Generation, rules: &[(&str, Option<Vec<usize>>)], long: &str) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    // The C tool needs this folder, even if it is empty.
    fs::create_dir_all(dir.child("rules/uid")).unwrap();
    for (key, variables) in rules {
        let folder = dir.child("rules").join(key);
        fs::create_dir_all(folder.join("env")).unwrap();
        // `allow` takes precedence over `deny`.
        fs::write(folder.join("deny"), "").unwrap();
        for number in variables.iter().flatten() {
            let (name, contents, _) = VARIABLES[*number];
            fs::write(folder.join("env").join(name), contents).unwrap();
        }
        if variables.is_some() {
            fs::write(folder.join("allow"), "").unwrap();
            fs::write(folder.join("exec"), "unused").unwrap();
        }
    }
    if !long.is_empty() {
        let env = dir.child("rules/uid/4294967294/env");
        fs::create_dir_all(&env).unwrap();
        fs::write(env.parent().unwrap().join("allow"), "").unwrap();
        fs::write(env.join("S6_FDHOLDER_STORE_REGEX"), long).unwrap();
    }
    // Without `allow` and `deny` there is no rule.
    fs::create_dir_all(dir.child("rules/uid/nobody/env")).unwrap();
    let mut tool = generation.command("s6-accessrules-cdb-from-fs");
    let output = tool.arg(dir.child("out")).arg(dir.child("rules")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(dir.child("out")).unwrap()
}

/// The rights that strings give, found in another way than the product does.
fn rights<'a>(strings: &[&'a [u8]]) -> Rights<'a> {
    let find = |name: &str| {
        let name = [name.as_bytes(), b"="].concat();
        strings.iter().find_map(|string| string.strip_prefix(&name[..]))
    };
    Rights {
        get_dump: find("S6_FDHOLDER_GETDUMP").is_some(),
        set_dump: find("S6_FDHOLDER_SETDUMP").is_some(),
        list: find("S6_FDHOLDER_LIST").is_some(),
        store: find("S6_FDHOLDER_STORE_REGEX"),
        retrieve: find("S6_FDHOLDER_RETRIEVE_REGEX"),
    }
}

#[test]
fn rules_files_of_the_c_tool_are_read_correctly() {
    let all: Vec<usize> = (0..VARIABLES.len()).collect();
    let mut made = vec![
        ("uid/self", Some(all.clone())),
        ("uid/0", Some(vec![])),
        ("uid/1000", None),
        ("uid/4294967295", Some(vec![3, 7])),
        ("uid/default", Some(vec![0, 1, 2, 4])),
        ("gid/self", None),
        ("gid/100", Some(vec![2])),
        ("gid/0", None),
        ("odd/key with spaces", Some(vec![9])),
    ];
    // With these, each hash table has several entries.
    let names: Vec<String> = (2000..3000).map(|n| format!("uid/{n}")).collect();
    made.extend(
        names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), (i % 3 != 0).then(|| vec![i % VARIABLES.len()]))),
    );
    let name = "S6_FDHOLDER_STORE_REGEX=";
    // With its name and its NUL, this is the longest part that is allowed.
    let long = "x".repeat(PART_MAX - name.len() - 1);

    for generation in Generation::ALL {
        let file = file_by_c(generation, &made, &long);
        assert!(cdb::is_valid(&file));
        for (key, variables) in &made {
            let value = cdb::find(&file, key.as_bytes()).expect(key);
            let rule = find(&file, key.as_bytes());
            let Some(variables) = variables else {
                assert_eq!((value, rule), (&b"D"[..], Rule::Refused), "{key}");
                continue;
            };
            let expected = variables.iter().map(|number| VARIABLES[*number].2.as_bytes());
            let mut expected: Vec<&[u8]> = expected.collect();
            assert_eq!(rule, Rule::Allowed(rights(&expected)), "{key} {value:?}");
            // The tool writes them in the order in which the directory lists them.
            let length = expected.iter().map(|string| string.len() + 1).sum::<usize>();
            let mut found: Vec<&[u8]> = value[3..3 + length].split(|byte| *byte == 0).collect();
            assert_eq!(found.pop(), Some(&b""[..]));
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
            let strings = &value[3..3 + length];
            assert_eq!(value, allow(strings, b"unused"));
        }
        let longest = Rights { store: Some(long.as_bytes()), ..Rights::default() };
        assert_eq!(find(&file, b"uid/4294967294"), Rule::Allowed(longest));
        for absent in (3000..6000).map(|n| format!("uid/{n}")) {
            assert_eq!(cdb::find(&file, absent.as_bytes()), Err(Missing::Absent));
        }
        for absent in ["", "uid", "uid/", "uid/00", "uid/nobody", "gid/default", "uid/self\0"] {
            assert_eq!(find(&file, absent.as_bytes()), Rule::Absent);
        }
    }
}

#[test]
fn a_rules_file_may_be_without_rules() {
    for generation in Generation::ALL {
        let file = file_by_c(generation, &[], "");
        assert!(cdb::is_valid(&file));
        assert_eq!(cdb::find(&file, b"uid/0"), Err(Missing::Absent));
    }
}

/// Looks up these keys in any bytes. A value that is found must be inside the file.
fn look_up(bytes: &[u8], keys: &[&[u8]]) {
    for key in keys {
        if let Ok(value) = cdb::find(bytes, key) {
            let (all, found) = (bytes.as_ptr_range(), value.as_ptr_range());
            assert!(all.start <= found.start && found.end <= all.end);
            parse_value(value);
        }
    }
}

/// The keys of the file that the next test changes.
const KEYS: [&str; 6] = ["uid/self", "uid/0", "gid/self", "gid/0", "uid/default", "uid/absent"];

#[test]
fn a_file_with_any_byte_changed_is_read_without_a_panic() {
    let made = [(KEYS[0], Some(vec![0, 3])), (KEYS[1], None), (KEYS[4], Some(vec![2, 4, 9]))];
    let mut file = file_by_c(Generation::S6_2_15, &made, "");
    let keys = KEYS.map(str::as_bytes);
    for position in 0..file.len() {
        let old = file[position];
        for new in 0..=u8::MAX {
            file[position] = new;
            look_up(&file, &keys);
        }
        file[position] = old;
    }
    // A truncated file lacks a part of its tables.
    for length in 0..file.len() {
        assert!(!cdb::is_valid(&file[..length]));
    }
}

#[test]
fn a_lookup_in_a_full_table_ends() {
    // No slot is free, and all have the hash of the key.
    let mut file = cdb(&[("uid/0", "D")], 1);
    let position = file.len();
    for _ in 0..100_000 {
        file.extend([hash(b"uid/1").to_le_bytes(), (HEADER as u32).to_le_bytes()].concat());
    }
    let head = 8 * (hash(b"uid/1") as usize % 256);
    file[head..][..4].copy_from_slice(&(position as u32).to_le_bytes());
    file[head + 4..][..4].copy_from_slice(&100_000u32.to_le_bytes());
    assert!(cdb::is_valid(&file));
    assert_eq!(cdb::find(&file, b"uid/1"), Err(Missing::Absent));
}

#[test]
fn a_position_outside_the_file_is_invalid() {
    let file = cdb(&[("uid/0", "D")], 2);
    let head = 8 * (hash(b"uid/0") as usize % 256);
    let table = u32::from_le_bytes(file[head..][..4].try_into().unwrap()) as usize;
    let slots = &file[table..][..16];
    let slot = table + 8 * usize::from(slots[4..8] == [0; 4]);
    let end = file.len() as u32;
    let with = |position: usize, number: u32| {
        let mut file = file.clone();
        file[position..][..4].copy_from_slice(&number.to_le_bytes());
        file
    };
    for far in [end - 1, end, end + 1, u32::MAX - 7, u32::MAX] {
        // The position of the record, the length of its key, the length of its value.
        for position in [slot + 4, HEADER, HEADER + 4] {
            let file = with(position, far);
            assert!(cdb::is_valid(&file));
            assert_eq!(cdb::find(&file, b"uid/0"), Err(Missing::Invalid), "{position} {far}");
            assert_eq!(find(&file, b"uid/0"), Rule::Refused);
        }
        // The position of the table, and its size.
        assert!(!cdb::is_valid(&with(head, far)));
        assert!(!cdb::is_valid(&with(head + 4, far)));
    }
}

proptest! {
    #![proptest_config(random_cases(256))]

    #[test]
    fn the_first_record_with_a_key_is_found(
        records in vec((vec(0..4u8, 0..4), vec(any::<u8>(), 0..20)), 0..60), slots in 1..4usize,
        other in vec(any::<u8>(), 0..6),
    ) {
        let bytes = cdb(&records, slots);
        prop_assert!(cdb::is_valid(&bytes));
        for key in records.iter().map(|(key, _)| key).chain([&other]) {
            let first = records.iter().find(|(other, _)| other == key);
            let value = first.map(|(_, value)| &value[..]).ok_or(Missing::Absent);
            prop_assert_eq!(cdb::find(&bytes, key), value);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        mut bytes in vec(any::<u8>(), HEADER..HEADER + 2000), skipped in 0..400usize,
        key in vec(any::<u8>(), 0..20),
    ) {
        look_up(&bytes, &[&key]);
        // A valid header leads to the code that reads the tables.
        let length = bytes.len() as u32;
        for head in bytes[..HEADER].chunks_exact_mut(8) {
            let number = |at: usize| u32::from_le_bytes(head[at..][..4].try_into().unwrap());
            let position = number(0) % length;
            let slots = number(4) % ((length - position) / 8 + 1);
            head[..4].copy_from_slice(&position.to_le_bytes());
            head[4..].copy_from_slice(&slots.to_le_bytes());
        }
        // Slots with the right hash lead to the code that reads the records.
        for slot in bytes[HEADER..].chunks_exact_mut(8).skip(skipped) {
            slot[..4].copy_from_slice(&hash(&key).to_le_bytes());
            slot[6..].fill(0);
        }
        prop_assert!(cdb::is_valid(&bytes));
        look_up(&bytes, &[&key]);
    }

    #[test]
    fn any_value_is_refused_or_contains_the_rule_that_is_read(
        first in prop_oneof![Just(b'A'), any::<u8>()], high in prop_oneof![Just(0u8), any::<u8>()],
        bytes in vec(prop_oneof![Just(0u8), Just(b'='), any::<u8>()], 0..40),
    ) {
        let value = [&[first, high], &bytes[..]].concat();
        match parse_value(&value) {
            Rule::Absent => prop_assert!(first != b'A' && first != b'D'),
            Rule::Refused => prop_assert!(first == b'A' || first == b'D'),
            Rule::Allowed(_) => {
                let strings = u16::from_be_bytes([value[1], value[2]]).into();
                prop_assert!(value[3..][..strings].last().is_none_or(|byte| *byte == 0));
                prop_assert_eq!(&allow(&value[3..][..strings], &value[5 + strings..]), &value);
            }
        }
    }

    #[test]
    fn a_rule_gives_exactly_the_rights_of_its_strings(
        strings in vec((0..VARIABLES.len(), prop_oneof![Just(""), Just("="), Just("x")],
            vec(1u8.., 0..3)), 0..12),
    ) {
        let strings = strings.iter().map(|(number, between, value)| {
            [VARIABLES[*number].0.as_bytes(), between.as_bytes(), value].concat()
        });
        let strings: Vec<Vec<u8>> = strings.collect();
        let ended = strings.iter().map(|string| [string, &b"\0"[..]].concat());
        let value = allow(&ended.collect::<Vec<_>>().concat(), b"");
        let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(parse_value(&value), Rule::Allowed(rights(&strings)));
    }
}

/// Values with their meaning. Expressions are empty or "a".
fn values() -> Vec<(&'static str, Vec<u8>, Rule<'static>)> {
    const NOTHING: Rights =
        Rights { get_dump: false, set_dump: false, list: false, store: None, retrieve: None };
    let list = Rule::Allowed(Rights { list: true, ..NOTHING });
    let nothing = Rule::Allowed(NOTHING);
    let set: &[u8] = b"S6_FDHOLDER_LIST=\0";
    let padded = |length: usize| [set, &vec![b'x'; length - set.len() - 1], b"\0"].concat();
    let store = |strings: &[u8], expression| {
        (allow(strings, b""), Rule::Allowed(Rights { store: Some(expression), ..NOTHING }))
    };
    let stores = [
        ("an empty expression", store(b"S6_FDHOLDER_STORE_REGEX=\0", b"")),
        ("two expressions", store(b"S6_FDHOLDER_STORE_REGEX=a\0S6_FDHOLDER_STORE_REGEX=\0", b"a")),
        (
            "two expressions in the other order",
            store(b"S6_FDHOLDER_STORE_REGEX=\0S6_FDHOLDER_STORE_REGEX=a\0", b""),
        ),
        (
            "an expression unset after it is set",
            store(b"S6_FDHOLDER_STORE_REGEX=a\0S6_FDHOLDER_STORE_REGEX\0", b"a"),
        ),
        (
            "an expression unset before it is set",
            store(b"S6_FDHOLDER_STORE_REGEX\0S6_FDHOLDER_STORE_REGEX=a\0", b"a"),
        ),
    ];
    let all = b"S6_FDHOLDER_GETDUMP=0\0S6_FDHOLDER_SETDUMP=no\0X=\0S6_FDHOLDER_LIST=\0\
        S6_FDHOLDER_RETRIEVE_REGEX=a\0S6_FDHOLDER_STORE_REGEX=\0";
    let everything = Rights {
        get_dump: true,
        set_dump: true,
        list: true,
        store: Some(b""),
        retrieve: Some(b"a"),
    };
    let mut values = vec![
        ("no byte", vec![], Rule::Refused),
        ("deny", b"D".to_vec(), Rule::Refused),
        ("deny and more", b"Dxxxxx".to_vec(), Rule::Refused),
        ("another letter", b"x".to_vec(), Rule::Absent),
        ("a small letter", b"dxxxxx".to_vec(), Rule::Absent),
        ("another letter and many bytes", vec![b'x'; VALUE_MAX], Rule::Absent),
        ("another letter and too many bytes", vec![b'x'; VALUE_MAX + 1], Rule::Refused),
        ("deny and too many bytes", vec![b'D'; VALUE_MAX + 1], Rule::Refused),
        ("only a letter", b"A".to_vec(), Rule::Refused),
        ("half a length", b"A\0".to_vec(), Rule::Refused),
        ("one length", b"A\0\0".to_vec(), Rule::Refused),
        ("a length and a half", b"A\0\0\0".to_vec(), Rule::Refused),
        ("no variables", allow(b"", b""), nothing),
        ("a length too long", b"A\0\x05\0\0".to_vec(), Rule::Refused),
        ("the other length too long", b"A\0\0\0\x01".to_vec(), Rule::Refused),
        ("the other byte order", b"A\x02\0X\0\0\0".to_vec(), Rule::Refused),
        ("a byte behind the end", [allow(set, b""), b"x".to_vec()].concat(), Rule::Refused),
        ("all rights", allow(all, b""), Rule::Allowed(everything)),
        ("a program", allow(set, b"program"), list),
        ("many variables", allow(&padded(PART_MAX), b""), list),
        ("too many variables", allow(&padded(PART_MAX + 1), b""), Rule::Refused),
        ("a long program", allow(&padded(PART_MAX), &[b'x'; PART_MAX]), list),
        ("too long a program", allow(set, &[b'x'; PART_MAX + 1]), Rule::Refused),
        ("unset", allow(b"S6_FDHOLDER_LIST\0", b""), nothing),
        ("unset after set", allow(b"S6_FDHOLDER_LIST=\0S6_FDHOLDER_LIST\0", b""), list),
        ("other names", allow(b"S6_FDHOLDER_LISTS=\0s6_fdholder_list=\0_LIST=\0", b""), nothing),
        ("empty strings and names", allow(b"\0=x\0\0S6_FDHOLDER_LIST=\0", b""), list),
    ];
    values.extend(stores.map(|(what, (value, rule))| (what, value, rule)));
    values
}

#[test]
fn every_value_gives_its_rights() {
    for (what, value, rule) in values() {
        assert_eq!(parse_value(&value), rule, "{what}");
    }
    // The last string must end with a NUL. The C daemons do not check that.
    for strings in [&b"S6_FDHOLDER_LIST="[..], b"X=\0S6_FDHOLDER_LIST=", b"x"] {
        assert_eq!(parse_value(&allow(strings, b"")), Rule::Refused);
    }
}

/// What a daemon allows a client: list, get dump, set dump, store "a" and "b", retrieve "a" and "b". `None`
/// if it refuses the client.
pub fn is_allowed(stream: std::io::Result<UnixStream>) -> Option<[bool; 7]> {
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let requests: [&[u8]; 7] =
        [b"L", b"?", b"!\0\0\0\0", b"D\x01a\0", b"D\x01b\0", b"R\0\x01a\0", b"R\0\x01b\0"];
    let mut allowed = [false; 7];
    for (request, allowed) in requests.into_iter().zip(&mut allowed) {
        wire::send_frame(&stream, request, &[]).ok()?;
        let (reply, _) = wire::receive_frame(&stream).ok()?;
        *allowed = match *reply.first()? {
            0 | 2 => true,
            1 => false,
            other => panic!("{request:?}: {other}"),
        };
    }
    Some(allowed)
}

/// What a daemon must allow a client with these rights.
fn expected(rights: Rights) -> [bool; 7] {
    let is_match = |expression: Option<&[u8]>, id| expression.is_some_and(|e| e == b"" || e == id);
    let [store, other_store] = [b"a", b"b"].map(|id| is_match(rights.store, id));
    let [retrieve, other_retrieve] = [b"a", b"b"].map(|id| is_match(rights.retrieve, id));
    let Rights { get_dump, set_dump, list, .. } = rights;
    [list, get_dump, set_dump, store, other_store, retrieve, other_retrieve]
}

/// What a daemon with these rules allows a client. `option` is `-x` for a file and `-i` for a directory.
pub fn decision(generation: Generation, option: &str, rules: &Path) -> Option<[bool; 7]> {
    let dir = TempDir::new().unwrap();
    let listener = UnixListener::bind(dir.child("s")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut daemon = generation.command("s6-fdholderd");
    daemon.args(["-v", "0", option]).arg(rules);
    daemon.stdin(OwnedFd::from(listener)).stdout(Stdio::null());
    let mut child = daemon.spawn().unwrap();
    // The command has a copy of the socket. Without it the socket ends with the daemon.
    drop(daemon);
    let allowed = is_allowed(UnixStream::connect(dir.child("s")));
    child.kill().unwrap();
    child.wait().unwrap();
    allowed
}

/// Compares the decision of a daemon with this rules file with that of the product's functions.
fn compare(generation: Generation, what: &str, file: &[u8]) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.child("rules"), file).unwrap();
    let allowed = decision(generation, "-x", &dir.child("rules"));

    assert!(cdb::is_valid(file));
    let own = Identity { uid: getuid().as_raw(), gid: getgid().as_raw() };
    let mut strings = &[][..];
    let decided = rules::decide(own, own.into(), |key| match rules::find(file, key) {
        Ok(found) => {
            strings = found;
            rules::Rule::Allowed
        }
        Err(rule) => rule,
    });
    let decided = (decided == rules::Rule::Allowed).then(|| expected(named(strings)));
    assert_eq!(allowed, decided, "{generation:?}, {what}");
}

#[test]
fn every_daemon_decides_alike() {
    let all = allow(b"S6_FDHOLDER_SETDUMP=\0S6_FDHOLDER_RETRIEVE_REGEX=\0", b"");
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let numbers = [format!("uid/{uid}"), format!("gid/{gid}")];
    let order = ["uid/self", &numbers[0], "gid/self", &numbers[1], "uid/default"];
    for generation in Generation::DAEMONS {
        for (what, value, _) in values() {
            let file = cdb(&[("uid/self", &value), ("uid/default", &all)], 2);
            compare(generation, what, &file);
        }
        // One key refuses and all later keys allow, and the other way round.
        for first in 0..=order.len() {
            let later: Vec<_> = order[first..].iter().skip(1).map(|key| (*key, &all[..])).collect();
            let first = order.get(first).map(|key| (*key, &b"D"[..]));
            let records: Vec<_> = later.iter().copied().chain(first).collect();
            compare(generation, "refused", &cdb(&records, 2));
            let turn = |value: &[u8]| if value == b"D" { all.clone() } else { b"D".to_vec() };
            let records: Vec<_> = records.iter().map(|(key, value)| (*key, turn(value))).collect();
            compare(generation, "allowed", &cdb(&records, 2));
        }
        compare(generation, "other keys", &cdb(&[("gid/default", &all), ("self", &all)], 2));
        let deny = b"D".to_vec();
        compare(generation, "two records", &cdb(&[(order[4], &all), (order[4], &deny)], 2));
        compare(generation, "two records", &cdb(&[(order[4], &deny), (order[4], &all)], 2));
    }
}

#[test]
fn keys_are_looked_up_in_the_documented_order() {
    let keys = |client: (u32, u32), own: (u32, u32)| {
        let [client, own] = [client, own].map(|(uid, gid)| Identity { uid, gid });
        // There is no rule, so all keys are looked up.
        let mut asked = Vec::new();
        let decided = rules::decide(client, own.into(), |key| {
            asked.push(String::from_utf8(key.to_vec()).unwrap());
            rules::Rule::Absent
        });
        assert_eq!(decided, rules::Rule::Absent);
        asked
    };
    assert_eq!(keys((1, 2), (3, 4)), ["uid/1", "gid/2", "uid/default"]);
    assert_eq!(keys((10, 20), (10, 4)), ["uid/self", "uid/10", "gid/20", "uid/default"]);
    assert_eq!(keys((7, 123), (5, 123)), ["uid/7", "gid/self", "gid/123", "uid/default"]);
    // The numbers of users and groups are not compared with each other.
    assert_eq!(keys((1, 2), (2, 1)), ["uid/1", "gid/2", "uid/default"]);
    let most = (u32::MAX, u32::MAX - 1);
    let all = ["uid/self", "uid/4294967295", "gid/self", "gid/4294967294", "uid/default"];
    assert_eq!(keys(most, most), all);
    assert_eq!(keys((0, 0), (0, 0)), ["uid/self", "uid/0", "gid/self", "gid/0", "uid/default"]);
}

#[test]
fn the_first_rule_decides_and_no_later_key_is_looked_up() {
    let own = Identity { uid: 0, gid: 0 };
    for first in 0..5 {
        for rule in [rules::Rule::Allowed, rules::Rule::Refused] {
            let mut asked = 0;
            let result = rules::decide(own, own.into(), |_| {
                asked += 1;
                if asked > first { rule } else { rules::Rule::Absent }
            });
            assert_eq!((result, asked), (rule, first + 1));
        }
    }
}
