//! POSIX extended regular expressions, as the access rules have them.
//!
//! A rule's author is trusted less than the daemon, and an identifier's author not at all. So an
//! expression has a fixed amount of room, or is refused, and a search costs at most the length of
//! the text times that of the program, whatever the two are: all places in the program that a
//! match can have reached are followed at once, each noted once, and none is ever gone back to.
//!
//! What is an expression, and what it matches, is what `regcomp` with `REG_EXTENDED | REG_NOSUB`
//! and `regexec` of glibc say in the C locale, with three exceptions. Back-references are refused,
//! since no such bound is known for them. What does not fit is refused. And glibc is
//! wrong about some anchors, those next to newlines and those of repeated groups; tests/regex.rs
//! says how.
//!
//! Where POSIX leaves it open, glibc has it so:
//!
//! - An empty expression, group or alternative matches the empty string: `()`, `a|`, `(|a)`.
//! - A repetition with nothing to repeat is an error: first of all, behind `(` or `|`, and behind
//!   an anchor; `^*` is not an expression. Repetitions of repetitions are fine: `a**`, `a{2}{3}`.
//! - `{` that begins no bound is an error; `}` alone is an ordinary character, and so is `)`
//!   outside all groups. `{,n}` is `{0,n}`, and the numbers go up to 32,767.
//! - `^` and `$` are anchors everywhere. Newlines are ordinary characters.
//! - `\w` and `\W`, `\s` and `\S` are sets of characters, `\<`, `\>`, `\b`, `\B`, `` \` `` and `\'`
//!   are anchors: start and end of a word, either, neither, start and end of the text. Before any
//!   other character but the digits 1 to 9 a backslash makes that character ordinary.
//! - In brackets a backslash is ordinary, and `-` stands for itself only first, last or as an end
//!   of a range. The names of collating symbols are the characters themselves: `[.-.]`, but not
//!   `[.hyphen.]`.
//! - `.` does not match NUL, while `[^a]` does.

use core::mem;

/// Room for steps, the last one included.
const STEPS: usize = 512;
/// Room for sets of bytes that differ.
const SETS: usize = 32;
/// How many groups can be open at once: reading goes one call deeper for each.
const DEPTH: usize = 64;
/// The largest number in a bound, `RE_DUP_MAX` of glibc. It has all bits below [`UNLIMITED`].
const REPEAT_MAX: usize = 0x7fff;
/// No number in a bound: no limit.
const UNLIMITED: usize = REPEAT_MAX + 1;

/// Why an expression is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It is not a regular expression.
    Syntax,
    /// It has a back-reference.
    BackReference,
    /// It takes more steps or sets than there is room for.
    TooLarge,
    /// Its groups are nested too deep.
    TooDeep,
}

/// A step of a program: one of these constants, and a number below 4,096 with all but the first.
type Step = u16;
/// The end: there is a match.
const MATCH: Step = 0;
/// Takes the byte that the number is, or one of the set that it is the number of, plus 256.
const TAKE: Step = 0x1000;
/// Goes on where an [`anchor`] with that number holds.
const ANCHOR: Step = 0x2000;
/// Goes on so far from here, modulo [`STEPS`]: a step back is `STEPS` - 1. The distance counts from
/// the step itself, so a piece of a program can be copied and moved as it is.
const JUMP: Step = 0x4000;
/// Goes on both behind this and so far from here.
const SPLIT: Step = 0x8000;

/// A set of bytes, a bit for each.
type Bytes = [u8; 32];

/// The classes of characters: the name and what stands behind it, then the ranges.
const CLASSES: &[u8] = b"alnum:]09AZaz\nalpha:]AZaz\nblank:]\t\t  \ncntrl:]\0\x1f\x7f\x7f\n\
    digit:]09\ngraph:]!~\nlower:]az\nprint:] ~\npunct:]!/:@[`{~\nspace:]\t\r  \nupper:]AZ\n\
    xdigit:]09AFaf";

/// Where an anchor holds; 0 if it is none. What comes before chooses a hexadecimal digit: the last
/// one for the start of the text, the next for a byte that belongs to no word, the next for one that
/// does. What comes behind chooses a bit of the digit: 1 for the end of the text, 2 and 4 likewise.
fn anchor(is_escaped: bool, byte: u8) -> Step {
    match (is_escaped, byte) {
        (false, b'^') | (true, b'`') => 0x007,
        (false, b'$') | (true, b'\'') => 0x111,
        (true, b'<') => 0x044,
        (true, b'>') => 0x300,
        (true, b'b') => 0x344,
        (true, b'B') => 0x433,
        _ => 0,
    }
}

/// Whether a byte belongs to a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// An expression, ready to be searched for. All zeros are one, [`Regex::EMPTY`].
pub struct Regex {
    steps: [Step; STEPS],
    sets: [Bytes; SETS],
}

/// Places in a program that a match can have reached.
struct Places {
    /// Whether a place has been reached.
    is_in: [bool; STEPS],
    /// Those that have not been looked at yet.
    list: [u16; STEPS],
    length: usize,
}

impl Places {
    const NONE: Places = Places { is_in: [false; STEPS], list: [0; STEPS], length: 0 };

    /// Adds a place, which counts modulo [`STEPS`].
    #[inline(never)]
    fn add(&mut self, at: usize) {
        let at = at % STEPS;
        if !mem::replace(&mut self.is_in[at], true) {
            self.list[self.length % STEPS] = at as u16;
            self.length += 1;
        }
    }

    /// Takes one out that has not been looked at.
    fn pop(&mut self) -> Option<usize> {
        self.length = self.length.checked_sub(1)?;
        Some(self.list[self.length % STEPS].into())
    }
}

impl Regex {
    /// One that matches everywhere.
    pub const EMPTY: Regex = Regex { steps: [MATCH; STEPS], sets: [[0; 32]; SETS] };

    /// Reads an expression, and becomes that; undefined if it is refused. One with a NUL in it is
    /// not valid.
    #[inline(never)]
    pub fn compile(&mut self, expression: &[u8]) -> Result<(), Invalid> {
        let mut compiler = Compiler {
            ahead: 0,
            rest: expression,
            invalid: None,
            depth: 0,
            length: 0,
            sets: 0,
            set: [0; 32],
            regex: self,
        };
        compiler.next();
        compiler.alternatives();
        if !compiler.rest.is_empty() {
            compiler.fail(Invalid::Syntax);
        }
        compiler.push(MATCH);
        compiler.invalid.map_or(Ok(()), Err)
    }

    /// Whether it matches anywhere in the text.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut places, mut others) = (Places::NONE, Places::NONE);
        let (mut now, mut next) = (&mut places, &mut others);
        let mut text = text.iter();
        // What comes before and behind, two bits each, as [`anchor`] has it: 0 outside the text, 1
        // no byte of a word, 2 one. It is the number of a bit there.
        let mut edge = 0;
        loop {
            // At the end that is none.
            let mut byte = 256;
            edge = edge << 2 & 12;
            if let Some(next) = text.next() {
                byte = usize::from(*next);
                edge |= 1 + u32::from(is_word(*next));
            }
            // A match can begin anywhere.
            now.add(0);
            while let Some(at) = now.pop() {
                let step = self.steps[at % STEPS];
                if step == MATCH {
                    return true;
                }
                if step & (JUMP | SPLIT) != 0 {
                    now.add(at + usize::from(step));
                }
                if step & TAKE != 0 {
                    if self.takes(step, byte) {
                        next.add(at + 1);
                    }
                } else if step & SPLIT != 0 || step & ANCHOR != 0 && step >> edge & 1 != 0 {
                    now.add(at + 1);
                }
            }
            if byte == 256 {
                return false;
            }
            *now = Places::NONE;
            mem::swap(&mut now, &mut next);
        }
    }

    /// Whether a step takes the byte.
    #[inline(never)]
    fn takes(&self, step: Step, byte: usize) -> bool {
        let number = usize::from(step - TAKE);
        match number.checked_sub(256) {
            None => number == byte,
            Some(set) => {
                let bits = self.sets[set % SETS].get(byte / 8).copied().unwrap_or(0);
                bits >> (byte % 8) & 1 != 0
            }
        }
    }
}

/// An expression being read. What is wrong with it is noted; then there is nothing left to be read.
struct Compiler<'a> {
    /// What comes next; NUL, which is in no expression, if nothing does.
    ahead: u8,
    /// What comes behind that.
    rest: &'a [u8],
    /// What was wrong first.
    invalid: Option<Invalid>,
    /// How many groups are open.
    depth: usize,
    /// How long the program is.
    length: usize,
    /// How many sets there are.
    sets: usize,
    /// The set that is being read.
    set: Bytes,
    regex: &'a mut Regex,
}

impl<'a> Compiler<'a> {
    #[inline(never)]
    fn fail(&mut self, why: Invalid) {
        self.invalid = self.invalid.or(Some(why));
        self.ahead = 0;
        self.rest = &[];
    }

    /// Reads what comes next.
    #[inline(never)]
    fn next(&mut self) -> u8 {
        let next = match self.rest {
            [first, rest @ ..] if *first != 0 => {
                self.rest = rest;
                *first
            }
            _ => 0,
        };
        mem::replace(&mut self.ahead, next)
    }

    /// Reads this byte, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.ahead == byte;
        if is_next {
            self.next();
        }
        is_next
    }

    /// Puts a step in front of all from `at` on.
    #[inline(never)]
    fn insert(&mut self, at: usize, mut step: Step) {
        match self.regex.steps.get_mut(at..self.length + 1) {
            Some(places) => {
                self.length += 1;
                for place in places {
                    mem::swap(place, &mut step);
                }
            }
            None => self.fail(Invalid::TooLarge),
        }
    }

    /// Appends a step.
    #[inline(never)]
    fn push(&mut self, step: Step) {
        self.insert(self.length, step);
    }

    /// Reads alternatives, up to the end of the group or of the expression.
    fn alternatives(&mut self) {
        let start = self.length;
        self.sequence();
        while self.eat(b'|') {
            let middle = self.length;
            self.sequence();
            self.insert(middle, JUMP + distance(middle, self.length + 1));
            self.insert(start, SPLIT + distance(start, middle + 2));
        }
    }

    /// Reads an alternative.
    fn sequence(&mut self) {
        loop {
            let start = self.length;
            let mut byte = self.ahead;
            if byte == 0 || byte == b'|' || byte == b')' && self.depth > 0 {
                return;
            }
            self.next();
            let is_escaped = byte == b'\\';
            if is_escaped {
                byte = self.next();
            }
            match (is_escaped, byte) {
                (false, b'(') => {
                    if self.depth == DEPTH {
                        self.fail(Invalid::TooDeep);
                    }
                    self.depth += 1;
                    self.alternatives();
                    self.depth -= 1;
                    if self.next() != b')' {
                        self.fail(Invalid::Syntax);
                    }
                }
                // There is nothing to repeat, or nothing behind the backslash.
                (false, b'*' | b'+' | b'?' | b'{') | (true, 0) => self.fail(Invalid::Syntax),
                (true, b'1'..=b'9') => self.fail(Invalid::BackReference),
                (false, b'[') => self.bracket(),
                (false, b'.') => self.set(b"\x01-\xff]"),
                (true, b'w') => self.set(b"[:alnum:]_]"),
                (true, b'W') => self.set(b"^[:alnum:]_]"),
                (true, b's') => self.set(b"[:space:]]"),
                (true, b'S') => self.set(b"^[:space:]]"),
                _ => {
                    let anchor = anchor(is_escaped, byte);
                    if anchor != 0 {
                        self.push(ANCHOR + anchor);
                        // That cannot be repeated.
                        continue;
                    }
                    self.push(TAKE + Step::from(byte));
                }
            }
            loop {
                let (least, most) = match self.ahead {
                    b'*' => (0, UNLIMITED),
                    b'+' => (1, UNLIMITED),
                    b'?' => (0, 1),
                    b'{' => (0, 0),
                    _ => break,
                };
                self.next();
                let (least, most) = if most == 0 { self.bound() } else { (least, most) };
                self.repeat(start, least, most);
            }
        }
    }

    /// Reads a bound from behind `{` to `}`. Digits and the comma can have a backslash in front of
    /// them where that makes them ordinary, as glibc has it.
    fn bound(&mut self) -> (usize, usize) {
        let (mut least, mut number) = (UNLIMITED, UNLIMITED);
        loop {
            let mut byte = self.next();
            if byte == b'\\' && matches!(self.ahead, b'0' | b',') {
                byte = self.next();
            }
            match byte {
                b'0'..=b'9' => {
                    // Without a number so far that is 0.
                    number = (number & REPEAT_MAX) * 10 + usize::from(byte - b'0');
                    if number > REPEAT_MAX {
                        self.fail(Invalid::TooLarge);
                    }
                }
                b',' if least == UNLIMITED => {
                    least = number & REPEAT_MAX;
                    number = UNLIMITED;
                }
                _ => {
                    if least == UNLIMITED {
                        least = number;
                    }
                    if byte != b'}' || least > number || least == UNLIMITED {
                        self.fail(Invalid::Syntax);
                    }
                    return (least, number);
                }
            }
        }
    }

    /// Has all from `start` on repeated so many times.
    fn repeat(&mut self, start: usize, least: usize, most: usize) {
        let end = self.length;
        // The empty string is what it was, however often.
        if start == end || most == 0 {
            self.length = start;
            return;
        }
        let copies = if most == UNLIMITED { least } else { most };
        // One does not have to go into the last of these.
        let skip = SPLIT + distance(start, end + 1);
        // More than that do not fit anyway.
        for copy in 1..copies.min(STEPS) {
            if copy >= least {
                self.push(skip);
            }
            for at in start..end {
                self.push(self.regex.steps[at % STEPS]);
            }
        }
        if most == UNLIMITED {
            self.push(SPLIT + distance(end, start));
        }
        if least == 0 {
            self.insert(start, skip);
        }
    }

    /// Has a set that is written like that.
    fn set(&mut self, bracket: &'a [u8]) {
        let behind = (self.ahead, self.rest);
        self.rest = bracket;
        self.next();
        self.bracket();
        (self.ahead, self.rest) = behind;
    }

    /// Reads from behind `[` to `]`.
    #[inline(never)]
    fn bracket(&mut self) {
        let is_negated = self.eat(b'^');
        self.set = [0; 32];
        let mut byte = self.next();
        loop {
            let low = self.element(byte);
            if low != 0 {
                let mut high = low;
                if self.ahead == b'-' && self.rest.first() != Some(&b']') {
                    self.next();
                    let end = self.next();
                    high = self.element(end);
                }
                self.range(low, high);
            }
            byte = self.next();
            if byte == b']' {
                break;
            }
            if byte == 0 || byte == b'-' && self.ahead != b']' {
                self.fail(Invalid::Syntax);
                break;
            }
        }
        if is_negated {
            for bits in &mut self.set {
                *bits = !*bits;
            }
        }
        let mut number = 0;
        while number < self.sets && self.regex.sets[number % SETS] != self.set {
            number += 1;
        }
        if number == self.sets {
            match self.regex.sets.get_mut(number) {
                Some(place) => {
                    *place = self.set;
                    self.sets += 1;
                }
                None => self.fail(Invalid::TooLarge),
            }
        }
        self.push(TAKE + 256 + number as Step);
    }

    /// Reads the rest of something in brackets that begins with that byte. Gives a single character,
    /// which can begin or end a range; or NUL, for more than that, which is already in the set.
    #[inline(never)]
    fn element(&mut self, byte: u8) -> u8 {
        let kind = self.ahead;
        if byte != b'[' || !matches!(kind, b'.' | b'=' | b':') {
            return byte;
        }
        if kind == b':' {
            self.class();
            return 0;
        }
        self.next();
        let one = self.next();
        if self.next() != kind || self.next() != b']' {
            self.fail(Invalid::Syntax);
        }
        if kind == b'=' {
            self.range(one, one);
            return 0;
        }
        one
    }

    /// Reads the name of a class from behind the colon that comes next up to `]`, and puts all of it into the set.
    fn class(&mut self) {
        for mut class in CLASSES.split(|byte| *byte == b'\n') {
            let mut rest = self.rest;
            while let ([byte, behind @ ..], [other, ranges @ ..]) = (rest, class) {
                if byte != other {
                    break;
                }
                (rest, class) = (behind, ranges);
                if *byte == b']' {
                    self.rest = rest;
                    self.next();
                    while let [low, high, behind @ ..] = class {
                        self.range(*low, *high);
                        class = behind;
                    }
                    return;
                }
            }
        }
        self.fail(Invalid::Syntax);
    }

    /// Puts these and all between into the set.
    #[inline(never)]
    fn range(&mut self, low: u8, high: u8) {
        if low > high {
            self.fail(Invalid::Syntax);
        }
        for byte in usize::from(low)..usize::from(high) + 1 {
            self.set[byte / 8] |= 1 << (byte % 8);
        }
    }
}

/// How far it is from one place to another, as a step has it.
fn distance(from: usize, to: usize) -> Step {
    (to.wrapping_sub(from) % STEPS) as Step
}
