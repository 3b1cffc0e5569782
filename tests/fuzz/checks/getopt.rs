//! Command lines: ours parses them like `getopt_long` of the C library in POSIX order. The library must be
//! glibc. Unlike glibc, ours accepts no abbreviations, and knows `--help`.

use fdholder::applets::{APPLETS, TABLES};
use fdholder::cli::getopt::{self, Arguments, Spec, Stop};
use fdholder::cli::number;
use fdholder::daemon::listener::Privileges;
use fdholder::sys::strings::{Builder, Strings};
use libc::{c_char, c_int};
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    fn getopt_long(
        count: c_int,
        arguments: *const *const c_char,
        letters: *const c_char,
        words: *const libc::option,
        index: *mut c_int,
    ) -> c_int;
    static mut optind: c_int;
    static mut opterr: c_int;
    static optarg: *const c_char;
}

/// An option: its index in the table, and the value if it has one.
type Found = (usize, Option<Vec<u8>>);

/// The meaning of a command line.
#[derive(PartialEq, Eq, Debug)]
enum Line {
    /// These options, and this number of operands.
    Valid(Vec<Found>, usize),
    /// A request for help.
    Help,
    /// Wrong usage.
    Wrong,
}

/// The number that stands for `--help` among the letters.
const HELP: c_int = 256;
/// The first number that stands for a long name.
const WORD: c_int = 257;
/// The number of words of a command line that are used.
const WORDS: usize = 12;

/// A command line as a program gets it: a name, and words.
struct Words(Vec<CString>);

impl Words {
    /// Splits bytes into words at NULs.
    fn new(bytes: &[u8]) -> Words {
        let words = bytes.split(|byte| *byte == 0).take(WORDS);
        Words([&b"name"[..]].into_iter().chain(words).map(|w| CString::new(w).unwrap()).collect())
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.0.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
    }

    /// The meaning in the C library.
    fn parse_by_libc(&self, options: &[Spec]) -> Line {
        // The state of `getopt_long` is one for the process.
        static STATE: Mutex<()> = Mutex::new(());
        let _state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut letters = b"+:".to_vec();
        let mut names = Vec::new();
        for (index, option) in options.iter().enumerate() {
            if option.letter != 0 {
                letters.push(option.letter);
                letters.extend(option.has_value.then_some(b':'));
            }
            let value = option.has_value.into();
            names.push((CString::new(option.word).unwrap(), value, WORD + index as c_int));
        }
        let letters = CString::new(letters).unwrap();
        let option = |name: *const c_char, has_arg, val| libc::option {
            name,
            has_arg,
            flag: ptr::null_mut(),
            val,
        };
        let mut table: Vec<_> = names
            .iter()
            .map(|(name, value, number)| option(name.as_ptr(), *value, *number))
            .collect();
        table.push(option(c"help".as_ptr(), 0, HELP));
        table.push(option(ptr::null(), 0, 0));
        let (arguments, mut found, mut at) = (self.pointers(), Vec::new(), 1);
        let count = self.0.len() as c_int;
        // SAFETY: the lock protects the state. 0 resets it.
        unsafe { (optind, opterr) = (0, 0) };
        loop {
            let mut index = -1;
            // SAFETY: the vector, the letters and the table are terminated, and in POSIX order nothing
            // is written to the vector. The value is a string of the vector.
            let (letter, next, value) = unsafe {
                let letter = getopt_long(
                    count,
                    arguments.as_ptr(),
                    letters.as_ptr(),
                    table.as_ptr(),
                    &raw mut index,
                );
                let value = (!optarg.is_null()).then(|| CStr::from_ptr(optarg).to_bytes().to_vec());
                (letter, optind as usize, value)
            };
            if letter == -1 {
                return Line::Valid(found, self.0.len() - next);
            }
            if let Ok(index) = usize::try_from(index) {
                // SAFETY: the strings whose pointers the table has still exist.
                let whole = unsafe { CStr::from_ptr(table[index].name) }.to_bytes();
                let given = &self.0[at].to_bytes()[2..];
                if given.split(|byte| *byte == b'=').next() != Some(whole) {
                    return Line::Wrong;
                }
            }
            match letter {
                HELP => return Line::Help,
                WORD.. => found.push(((letter - WORD) as usize, value)),
                _ if letter == '?' as c_int || letter == ':' as c_int => return Line::Wrong,
                _ => {
                    let index =
                        options.iter().position(|option| c_int::from(option.letter) == letter);
                    found.push((index.expect("a letter of the table"), value));
                }
            }
            at = next;
        }
    }
}

/// Checks that a command line of an applet is parsed like in the C library.
pub fn check(bytes: &[u8]) {
    let Some((number, words)) = bytes.split_first() else { return };
    assert_eq!(TABLES.len(), APPLETS.len());
    let table = TABLES[usize::from(*number) % TABLES.len()];
    let words = Words::new(words);
    let pointers = words.pointers();
    // The layout of the stack of a new process, without an environment.
    let mut stack = vec![ptr::without_provenance(words.0.len())];
    stack.extend(pointers);
    stack.push(ptr::null());
    // SAFETY: this is the layout that the kernel makes, and it exists as long as the strings are used.
    let (mut strings, environment) = unsafe { Strings::from_stack(stack.as_ptr().cast()) };
    assert_eq!(environment.first(), None);
    strings.next();
    if cfg!(miri) {
        // Miri has no C library.
        check_builder();
        return strings.for_each(|word| check_value(word.to_bytes()));
    }
    let mut arguments = Arguments::new(strings);
    match words.parse_by_libc(table) {
        Line::Valid(options, operands) => {
            for (index, value) in options {
                assert_eq!(arguments.option(table).unwrap(), Some(index));
                assert_eq!(table[index].has_value, value.is_some());
                if let Some(value) = value {
                    assert_eq!(arguments.value().to_bytes(), &value[..]);
                    check_value(&value);
                }
            }
            assert_eq!(arguments.option(table), Ok(None));
            let all = &words.0[words.0.len() - operands..];
            match arguments.program() {
                Ok(rest) => assert!(rest.eq(all.iter().map(|word| &word[..]))),
                Err(Stop) => assert_eq!(operands, 0),
            }
            for word in all {
                assert_eq!(arguments.operand(), Ok(&word[..]));
            }
            assert_eq!(arguments.operand(), Err(Stop));
        }
        line => {
            while let Ok(found) = arguments.option(table) {
                assert!(found.is_some(), "{line:?}");
            }
            assert_eq!(arguments.asks_for_help(), line == Line::Help);
        }
    }
}

/// Checks the meaning of a value as a number and as a list of groups.
fn check_value(value: &[u8]) {
    let parse = |digits: &[u8]| {
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
        digits.parse::<u32>().ok()
    };
    assert_eq!(number::whole(value), parse(value));
    let string = CString::new(value).unwrap();
    assert_eq!(getopt::number(&string), parse(value).ok_or(Stop));
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = value;
    let number = number::take(&mut rest);
    assert!(value.ends_with(rest));
    let taken = &value[..value.len() - rest.len()];
    assert_eq!(number, parse(taken).unwrap_or(0));
    // All digits are taken, unless the number would be too large with one more.
    assert!(taken.len() == digits || parse(&value[..taken.len() + 1]).is_none());

    let numbers = value.split(|byte| *byte == b',').map(parse);
    let is_list = numbers.clone().all(|number| number.is_some()) && numbers.count() <= 64;
    let mut privileges = Privileges::UNCHANGED;
    assert_eq!(privileges.set_groups(value).is_some(), value.is_empty() || is_list);
    for set in [Privileges::set_user, Privileges::set_group] {
        assert_eq!(set(&mut privileges, value).is_some(), parse(value).is_some());
    }
}

/// Checks that a vector of strings that is built in pieces contains the right strings.
fn check_builder() {
    let mut builder = Builder::new(5).unwrap();
    builder.add(c"there");
    builder.begin().bytes(b"S6_FD_").number(12).bytes(b"=").number(3).end();
    builder.begin().end();
    builder.begin().bytes(b"S6_FD#=").end();
    builder.add(c"last");
    let made: Vec<_> = builder.finish().unwrap().map(CStr::to_bytes).collect();
    assert_eq!(made, [&b"there"[..], b"S6_FD_12=3", b"", b"S6_FD#=", b"last"]);
    // One string more than there is room for.
    let mut builder = Builder::new(1).unwrap();
    builder.add(c"there");
    builder.add(c"too many");
    assert!(builder.finish().is_err());
}
