//! Regular expressions: ours accept the same expressions as the C library, and match the same texts.

use super::Input;
use crate::kit::regex_oracle::Oracle;
use fdholder::daemon::access::regex::{self, EMPTY, Invalid, Program};

/// An expression that the product has compiled.
pub struct Regex(Program);

impl Regex {
    /// Whether it matches anywhere in the text.
    pub fn matches(&self, text: &[u8]) -> bool {
        regex::matches(&self.0, text)
    }
}

/// Compiles an expression into a program that was used before, which must make no difference.
pub fn compile(expression: &[u8]) -> Result<Regex, Invalid> {
    let mut program = EMPTY;
    let _ = regex::compile(&mut program, b"[^a](b|[c-e]*)");
    regex::compile(&mut program, expression).map(|()| Regex(program))
}

/// Whether glibc may be wrong about this pair, so that it is not compared. There are two reasons.
///
/// In glibc, `^` and `$` match beside a newline, as `$.` in "a\n", although `REG_NEWLINE` is off (its
/// `group_nodes_into_DFAstates` does not check that flag). In POSIX a newline is an ordinary character then,
/// and ours does that.
///
/// In an expression that repeats a group, glibc loses track of anchors. It finds
/// `1((\B\bc|\'\w|))+{,2}(\S{0}()$|(}[[:alpha:]]1|\b}-)\w|[^a](\s\s\b|\b1[^a]|)\*)` in "1a_", where
/// neither the end nor any of the expected characters follows the 1.
fn glibc_is_wrong(expression: &[u8], text: &[u8]) -> bool {
    let has = |first: &[u8], second: &[u8]| {
        expression.windows(2).any(|pair| first.contains(&pair[0]) && second.contains(&pair[1]))
    };
    let repeats_group = has(b")", b"*+?{");
    let starts = expression.first() == Some(&b'^')
        || expression.windows(2).any(|pair| pair[0] != b'[' && pair[1] == b'^');
    let has_anchor = starts || expression.contains(&b'$') || has(b"\\", b"<>bB`'");
    has_anchor && (repeats_group || text.contains(&b'\n'))
}

/// Compares ours with the C library for an expression and these texts. Returns the number of pairs.
pub fn compare(expression: &[u8], texts: &[&[u8]]) -> usize {
    let shown = expression.escape_ascii();
    let (ours, theirs) = (compile(expression), Oracle::compile(expression));
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => {
            let texts = texts.iter().filter(|text| !glibc_is_wrong(expression, text));
            let differs = |text: &&&[u8]| ours.matches(text) != theirs.matches(text);
            let wrong = texts.clone().find(differs).map(|text| text.escape_ascii().to_string());
            assert_eq!(wrong, None, "{shown}");
            texts.count()
        }
        (Err(Invalid::BackReference | Invalid::TooLarge | Invalid::TooDeep), _) => 0,
        (Err(_), None) => 1,
        (ours, theirs) => {
            panic!("{shown}: {:?}, accepted by glibc: {}", ours.err(), theirs.is_some())
        }
    }
}

/// The largest expression for glibc, as the number of copies of a byte: glibc copies each part that is
/// repeated, and copies of copies. With anchors or alternatives, its time is exponential in their copies:
/// minutes for `(^)++++++++` and `\b(\b\b\b)+++`, and half a minute for `(\b)*+++`.
const COPIES: usize = 4000;
const COPIES_OF_BRANCHES: usize = 8;

/// An upper bound for the number of copies that glibc makes of a part of an expression.
fn copies(expression: &[u8]) -> usize {
    let bound = |rest: &[u8]| {
        let end = rest.iter().position(|byte| *byte == b'}').unwrap_or(rest.len());
        let numbers = rest[..end].split(|byte| !byte.is_ascii_digit());
        let number = |digits| std::str::from_utf8(digits).unwrap().parse().unwrap_or(COPIES);
        numbers.filter(|digits| !digits.is_empty()).map(number).max().unwrap_or(0)
    };
    expression.iter().enumerate().fold(1, |copies: usize, (at, byte)| match byte {
        b'*' | b'+' | b'?' => copies.saturating_mul(2),
        b'{' => copies.saturating_mul(bound(&expression[at + 1..]).saturating_add(1)),
        _ => copies,
    })
}

/// Checks an expression with a text, and with its halves.
pub fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let length = usize::from(input.byte());
    let expression = input.take(length);
    let text = input.take(64);
    let (first, second) = text.split_at(text.len() / 2);
    let copies = copies(expression);
    let branches = expression.iter().filter(|byte| b"^$\\|".contains(byte)).count();
    let is_cheap = copies.saturating_mul(length) <= COPIES
        && (copies == 1 || copies.saturating_mul(branches) <= COPIES_OF_BRANCHES);
    // Miri has no C library.
    if is_cheap && !cfg!(miri) {
        compare(expression, &[text, first, second]);
    } else if let Ok(regex) = compile(expression) {
        regex.matches(text);
    }
}
