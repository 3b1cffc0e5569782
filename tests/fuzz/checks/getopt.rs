//! Command lines: taken as `getopt_long` of the C library takes them, in POSIX order. It has to be
//! glibc. Unlike that, ours takes no abbreviations, and answers `--help`.

use super::text;
use fdholder::applets::APPLETS;
use fdholder::daemon::listener::{GROUPS, Privileges};
use fdholder::getopt::{Applet, Arguments, Opt};
use fdholder::sys::text::Text;
use fdholder::sys::vector::{Auxiliary, Builder, Vector};
use libc::{c_char, c_int};
use std::ffi::{CStr, CString};
use std::io::{Error, ErrorKind};
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

/// An option: its letter, and the value if it has one.
type Found = (u8, Option<Vec<u8>>);

/// What a command line is.
#[derive(PartialEq, Eq, Debug)]
enum Line {
    /// These options, and so many operands.
    Right(Vec<Found>, usize),
    /// A question for help.
    Help,
    /// Wrong usage.
    Wrong,
}

/// What `--help` counts as among letters.
const HELP: c_int = 256;
/// How many words of a command line are used.
const WORDS: usize = 12;

/// A command line as a program gets it: a name, words, NULL.
struct Words(Vec<CString>);

impl Words {
    /// Those that NULs separate.
    fn new(bytes: &[u8]) -> Words {
        let words = bytes.split(|byte| *byte == 0).take(WORDS);
        Words([&b"name"[..]].into_iter().chain(words).map(|w| CString::new(w).unwrap()).collect())
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.0.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
    }

    /// What the C library makes of it.
    fn judge(&self, applet: &Applet) -> Line {
        // One process has one state of it.
        static STATE: Mutex<()> = Mutex::new(());
        let _state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut letters = b"+:".to_vec();
        let mut names = Vec::new();
        for option in applet.options.map(Opt::read) {
            letters.push(option.letter);
            letters.extend(option.has_value.then_some(b':'));
            let (word, value) = (option.word, option.has_value.into());
            names.push((CString::new(word.collect::<Vec<u8>>()).unwrap(), value, option.letter));
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
            .map(|(name, value, letter)| option(name.as_ptr(), *value, *letter as c_int))
            .collect();
        table.push(option(c"help".as_ptr(), 0, HELP));
        table.push(option(ptr::null(), 0, 0));
        let (arguments, mut found, mut at) = (self.pointers(), Vec::new(), 1);
        let count = self.0.len() as c_int;
        // SAFETY: nobody else has the state. 0 makes it new.
        unsafe { (optind, opterr) = (0, 0) };
        loop {
            let mut index = -1;
            // SAFETY: the vector, the letters and the table end as they have to, and in that order
            // nothing is written to the vector. The value is a string of it.
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
                return Line::Right(found, self.0.len() - next);
            }
            if let Ok(index) = usize::try_from(index) {
                // SAFETY: the table has the names of strings that are still there.
                let whole = unsafe { CStr::from_ptr(table[index].name) }.to_bytes();
                let given = &self.0[at].to_bytes()[2..];
                if given.split(|byte| *byte == b'=').next() != Some(whole) {
                    return Line::Wrong;
                }
            }
            match letter {
                HELP => return Line::Help,
                _ if letter == '?' as c_int || letter == ':' as c_int => return Line::Wrong,
                _ => found.push((letter as u8, value)),
            }
            at = next;
        }
    }
}

/// Runs something in a process of its own, which says nothing, and gives its exit code; it is
/// [`CAME_BACK`] if that has come back.
fn code(run: impl FnOnce()) -> i32 {
    // SAFETY: as long as only system calls are made the child of a process with threads may go on;
    // and so it is here, where the product ends it or this does.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let nowhere = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
            libc::dup2(nowhere, 1);
            libc::dup2(nowhere, 2);
            run();
            libc::_exit(CAME_BACK);
        }
        let mut status = 0;
        // A fuzzer's alarms interrupt that.
        while libc::waitpid(child, &raw mut status, 0) != child {
            assert_eq!(Error::last_os_error().kind(), ErrorKind::Interrupted);
        }
        assert!(libc::WIFEXITED(status), "{status}");
        libc::WEXITSTATUS(status)
    }
}

/// No exit code of the product.
const CAME_BACK: i32 = 77;

/// Checks that a command line of an applet is taken as it should be.
pub fn check(bytes: &[u8]) {
    let Some((number, words)) = bytes.split_first() else { return };
    let applet = &APPLETS[usize::from(*number) % APPLETS.len()];
    let words = Words::new(words);
    let pointers = words.pointers();
    // As on the stack of a new process, without an environment.
    let mut stack = vec![ptr::without_provenance(words.0.len())];
    stack.extend(pointers);
    stack.push(ptr::null());
    // SAFETY: this is what the kernel leaves there, and it stays for as long as it is looked at.
    let (mut arguments, environment) = unsafe { Vector::from_stack(stack.as_ptr().cast()) };
    arguments.next();
    if cfg!(miri) {
        // It has no C library.
        check_vector();
        return arguments.for_each(|word| check_value(&word.collect::<Vec<u8>>()));
    }
    let mut arguments = Arguments::new(applet, arguments, environment, Auxiliary::EMPTY);
    match words.judge(applet) {
        Line::Right(options, operands) => {
            for (letter, value) in options {
                assert_eq!(arguments.option(), Some(letter));
                if let Some(value) = value {
                    assert!(arguments.value.eq(value.iter().copied()));
                    check_value(&value);
                }
            }
            assert_eq!(arguments.option(), None);
            if operands > 0 {
                let rest = arguments.program().map(Iterator::collect::<Vec<u8>>);
                let all = &words.0[words.0.len() - operands..];
                assert!(rest.eq(all.iter().map(|word| word.to_bytes().to_vec())));
            }
        }
        line => {
            let expected = if line == Line::Help { 0 } else { 100 };
            assert_eq!(code(|| while arguments.option().is_some() {}), expected, "{line:?}");
        }
    }
}

/// Checks what a value means, as a number and as a list of groups.
fn check_value(value: &[u8]) {
    let string = CString::new(value).unwrap();
    let given: Text = text(&string);
    let parse = |digits: &[u8]| {
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
        digits.parse::<u32>().ok()
    };
    assert_eq!(given.number(), parse(value));
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = given.decimal();
    let rest: Vec<u8> = rest.collect();
    assert!(value.ends_with(&rest));
    let taken = &value[..value.len() - rest.len()];
    assert_eq!(number, parse(taken).unwrap_or(0));
    // All digits, unless one more would be too many.
    assert!(taken.len() == digits || parse(&value[..taken.len() + 1]).is_none());

    let numbers = value.split(|byte| *byte == b',').map(parse);
    let is_list = numbers.clone().all(|number| number.is_some()) && numbers.count() <= 64;
    let set = |place| {
        let mut privileges = Privileges::UNCHANGED;
        privileges.set(place, given)
    };
    assert_eq!(set(GROUPS), value.is_empty() || is_list);
    for place in 0..GROUPS {
        assert_eq!(set(place), parse(value).is_some());
    }
}

/// Checks that the strings of a vector that is made piece by piece stay what they are.
fn check_vector() {
    let vector = Builder::new().unwrap();
    vector.add(Text::new(c"there"));
    vector.begin(Text::new(c"S6_FD_")).number(12).byte(b'=').number(3);
    vector.begin(Text::new(c""));
    vector.begin(Text::new(c"S6_FD#="));
    vector.add(Text::new(c"last"));
    let made: Vec<_> = vector.finish().unwrap().map(Iterator::collect::<Vec<u8>>).collect();
    assert_eq!(made, [&b"there"[..], b"S6_FD_12=3", b"", b"S6_FD#=", b"last"]);
}
