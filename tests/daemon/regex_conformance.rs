//! Regular expressions: ours accept the same expressions as the C library, and match the same texts.

use crate::fuzz::checks::regex::{compare, compile};
use fdholder::daemon::access::regex::Invalid;
use std::time::{Duration, Instant};

/// Texts for the expressions below.
const TEXTS: &[&[u8]] = &[
    b"",
    b"a",
    b"b",
    b"ab",
    b"aa",
    b"aaa",
    b"aaaa",
    b"abab",
    b"a b",
    b"^a",
    b"a$",
    b"a{1",
    b"}",
    b")",
    b"a)",
    b"*",
    b"-",
    b"]",
    b"\\",
    b"a-b",
    b"a_b",
    b"_",
    b"7",
    b" ",
    b"\t",
    b"\x0b",
    b".",
    b"[",
    b":",
    b"=",
    b"\xe9",
    b"\x7f",
    b"a\nb",
    b"\n",
    b"A",
    b"xyz",
    b"fd:web-80",
    b"wW",
    b",",
];

/// Expressions with every construct, and with every case that POSIX leaves undefined and glibc defines.
const EXPRESSIONS: &[&str] = &[
    "",
    "a",
    "ab",
    ".",
    "..",
    "a.b",
    "[ab]",
    "[^ab]",
    "[]a]",
    "[^]a]",
    "[a-c]",
    "[-a]",
    "[a-]",
    "[^-a]",
    "[%--]",
    "[--a]",
    "[a-c-]",
    "[a-c-e]",
    "[a-c-e-g]",
    "[c-a]",
    "[a",
    "[",
    "[]",
    "[^]",
    "[a-",
    "[[.a.]]",
    "[[.-.]]",
    "[[.space.]]",
    "[[.hyphen.]-a]",
    "[[..]]",
    "[[.].]]",
    "[[.a.]-c]",
    "[a-[.c.]]",
    "[[=a=]]",
    "[[=ab=]]",
    "[[=a=]-c]",
    "[a-[=c=]]",
    "[[:alpha:]-c]",
    "[a-[:digit:]]",
    "[[:alnum:]]",
    "[[:alpha:]]",
    "[[:blank:]]",
    "[[:cntrl:]]",
    "[[:digit:]]",
    "[[:graph:]]",
    "[[:lower:]]",
    "[[:print:]]",
    "[[:punct:]]",
    "[[:space:]]",
    "[[:upper:]]",
    "[[:xdigit:]]",
    "[^[:alpha:]]",
    "[[:word:]]",
    "[[:alpha:",
    "[[:alpha]",
    "[:alpha:]",
    "[[a]",
    "[\\]",
    "[\\w]",
    "[a^]",
    "[.]",
    "[*]",
    "[[=]=]]",
    "[[.a",
    "[[=a=]",
    "^",
    "$",
    "^$",
    "^a",
    "a$",
    "a^b",
    "a$b",
    "(^a)",
    "(a$)",
    "x|^a",
    "(^|b)a",
    "a($|b)",
    "^^a",
    "a$$",
    "^*",
    "^+a",
    "(^*a)",
    "(^)*a",
    "$*",
    "()",
    "(",
    ")",
    "a)",
    "(a",
    "(a))",
    "(|a)",
    "(a|)",
    "a|",
    "|a",
    "|",
    "a||b",
    "(()|b)",
    "()*",
    "(a)",
    "(a)(b)",
    "((a)b)",
    "(a|b)*",
    "^(ab|a)(b|)$",
    "^(a|b|ab)+$",
    "a*",
    "^a+$",
    "^a?$",
    "a**",
    "^a+*$",
    "a*?",
    "*",
    "+",
    "?",
    "*a",
    "(*a)",
    "a|*b",
    "(+)",
    "\\<*",
    "{",
    "{1}",
    "({1})",
    "a|{1}",
    "^{1}",
    "^a{2}$",
    "^a{2,}$",
    "^a{1,3}$",
    "^a{0}$",
    "^a{0,}$",
    "^a{0,1}$",
    "^a{,2}$",
    "^a{,}$",
    "a{",
    "a{1",
    "a{1,",
    "a{}",
    "a{x}",
    "a{1,x}",
    "a{2,1}",
    "a{-1}",
    "a{1,2,3}",
    "a{1\\,2}",
    "a{\\0}",
    "a{1\\}",
    "a{\\1}",
    "a{ 1}",
    "}",
    "a}",
    "a{1}}",
    "^a{2}{2}$",
    "^(a{2}){1,2}$",
    "()+",
    "a{0}*",
    "(a*)+",
    "(a*){2}",
    "(){200}",
    "(){32768}",
    "(){99999999999999999999}",
    "\\",
    "a\\",
    "(\\",
    "\\.",
    "\\*",
    "\\[",
    "\\]",
    "\\(",
    "\\)",
    "\\{",
    "\\}",
    "\\|",
    "\\^",
    "\\$",
    "\\\\",
    "\\+",
    "\\?",
    "\\a",
    "\\n",
    "\\0",
    "\\-",
    "\\w",
    "\\W",
    "\\s",
    "\\S",
    "\\ba",
    "a\\b",
    "\\Ba",
    "a\\B",
    "\\B",
    "\\<a",
    "a\\>",
    "\\`a",
    "a\\'",
    "a\\`",
    "\\'a",
    "\\<\\>",
    "\\b\\B",
    "\\w+\\>",
    "^fd:[a-z]+-[0-9]{1,5}$",
    "\u{e9}",
    "[\u{e9}]",
];

#[test]
fn every_construct_works_as_in_glibc() {
    for expression in EXPRESSIONS {
        compare(expression.as_bytes(), TEXTS);
    }
}

#[test]
fn character_classes_contain_the_same_bytes_as_in_glibc() {
    let bytes: Vec<[u8; 1]> = (0..=u8::MAX).map(|byte| [byte]).collect();
    let texts: Vec<&[u8]> = bytes.iter().map(|byte| &byte[..]).collect();
    let classes = EXPRESSIONS.iter().filter(|expression| expression.starts_with("[[:"));
    for expression in classes.chain(&[".", "\\w", "\\W", "\\s", "\\S", "[^a]"]) {
        compare(expression.as_bytes(), &texts);
    }
}

#[test]
fn unsupported_expressions_are_refused() {
    let error = |expression: &str| compile(expression.as_bytes()).err();
    assert_eq!(error("(a)\\1"), Some(Invalid::BackReference));
    assert_eq!(error("a{511}"), None);
    assert_eq!(error("a{512}"), Some(Invalid::TooLarge));
    assert_eq!(error("a{3,250}"), None);
    assert_eq!(error("((a{250}){250}){250}"), Some(Invalid::TooLarge));
    assert_eq!(error("a{32767}"), Some(Invalid::TooLarge));
    assert_eq!(error(&("(".repeat(64) + &")".repeat(64))), None);
    assert_eq!(error(&"(".repeat(65)), Some(Invalid::TooDeep));
    let sets: String = (b'!'..b'Z').map(|byte| format!("[^{}]", byte as char)).collect();
    assert_eq!(error(&sets), Some(Invalid::TooLarge));
    assert_eq!(error("a\0"), Some(Invalid::Syntax));
}

#[test]
fn a_newline_is_an_ordinary_character() {
    let matches = |expression: &str| compile(expression.as_bytes()).unwrap().matches(b"a\nb");
    assert!(matches("^a.b$") && matches("a[^x]b"));
    assert!(!matches("a$") && !matches("^b") && !matches("$.") && !matches(".^"));
}

#[test]
fn matching_takes_no_exponential_time() {
    let text = [b'a'; 255];
    let slow = ["(a*)*b", "^(a|aa)+$b", "((a{0,9}){0,9})*b", "(a?){200}a{50}b", "(((a*)+)*)+b"];
    for expression in slow {
        let regex = compile(expression.as_bytes()).unwrap();
        let begun = Instant::now();
        assert!(!regex.matches(&text), "{expression}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{expression}");
    }
    assert!(compile(b"^(a|aa)+$").unwrap().matches(&text));
}

/// Pseudorandom numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const ATOMS: &[&str] = &[
    "a",
    "b",
    "a",
    "b",
    "c",
    "_",
    "-",
    "1",
    " ",
    ".",
    "ab",
    "\\.",
    "\\*",
    "\\w",
    "\\W",
    "\\s",
    "\\S",
    "]",
    "}",
    ",",
    "()",
    "[ab]",
    "[^a]",
    "[a-c]",
    "[]a]",
    "[^]a]",
    "[a-]",
    "[-a]",
    "[%--]",
    "[[:alpha:]]",
    "[^[:alnum:]_]",
    "[[:digit:][:space:]]",
    "[[=a=]b]",
    "[[.-.]a]",
    "[[.a.]-c]",
];
const ANCHORS: &[&str] = &["^", "$", "\\<", "\\>", "\\b", "\\B", "\\`", "\\'"];
const REPEATS: &[&str] =
    &["*", "+", "?", "{2}", "{0}", "{1,}", "{0,2}", "{1,3}", "{,2}", "{,}", "**"];

/// Appends a random expression with at most this depth of groups and this number of repetitions. Both are
/// small, because the time that glibc needs to compile an expression is exponential in them.
fn generate(random: &mut Random, depth: usize, repeats: &mut usize, out: &mut Vec<u8>) {
    for i in 0..=[0, 0, 0, 1, 2][random.below(5)] {
        out.extend((i > 0).then_some(b'|'));
        for _ in 0..random.below(4) {
            match random.below(if depth > 0 { 9 } else { 6 }) {
                0 => {
                    out.extend(random.pick(ANCHORS).bytes());
                    continue;
                }
                1..6 => out.extend(random.pick(ATOMS).bytes()),
                _ => {
                    out.push(b'(');
                    generate(random, depth - 1, repeats, out);
                    out.push(b')');
                }
            }
            while *repeats > 0 && random.below(3) == 0 {
                *repeats -= 1;
                out.extend(random.pick(REPEATS).bytes());
            }
        }
    }
}

#[test]
fn random_expressions_work_as_in_glibc() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut pairs = 0;
    for _ in 0..40_000 {
        let mut expression = Vec::new();
        generate(&mut random, 2, &mut 3, &mut expression);
        // A quarter of them has up to three random changes.
        for _ in 0..random.below(12).saturating_sub(8) {
            let junk = b"()[]{}|*+?\\^$.-:=ab,10\xff";
            let at = random.below(expression.len() + 1);
            let end = (at + random.below(2)).min(expression.len());
            expression.splice(at..end, [junk[random.below(junk.len())]]);
        }
        let texts: Vec<Vec<u8>> = (0..12)
            .map(|_| (0..random.below(7)).map(|_| b"aabbc_- 1\n.\xe9]"[random.below(13)]).collect())
            .collect();
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        pairs += compare(&expression, &texts);
    }
    println!("{pairs} pairs");
    assert!(pairs >= 100_000, "only {pairs} pairs");
}

#[test]
fn an_anchor_in_a_repeated_group_is_checked_in_each_repetition() {
    let table: [(&str, &str, bool); 11] = [
        ("1((\\B\\bc|\\'\\w|))+{,2}(()$|[^a](\\s|)\\*)", "1a_", false),
        ("(^a)+b", "ab", true),
        ("(^a)+b", "aab", false),
        ("(^a|b)+c", "abc", true),
        ("x(^a|b)+c", "xac", false),
        ("(a$|b)+c", "ac", false),
        ("(a$|b)+", "bba", true),
        ("^(a\\b ?)+$", "a a", true),
        ("^(a\\b ?)+$", "aa", false),
        ("(^)*a$", "ba", true),
        ("(^){2}a", "ba", false),
    ];
    for (expression, text, expected) in table {
        let regex = compile(expression.as_bytes()).unwrap();
        assert_eq!(regex.matches(text.as_bytes()), expected, "{expression} {text}");
    }
}
