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

/// An expression, ready to be searched for: its steps, then for each byte the sets that have it, a
/// bit for each set. All zeros are the empty one, which matches everywhere.
pub type Program = [u32; STEPS + 256];
/// The empty one.
pub const EMPTY: Program = [0; STEPS + 256];

/// A step of a program: one of these constants, and a number below 4,096 with all but the first.
type Step = u32;
/// The end: there is a match.
const MATCH: Step = 0;
/// Takes the byte that the number is, or one of the set that it is the number of, plus 256.
const TAKE: Step = 0x1000;
/// Goes on where an anchor with that number holds. What comes before chooses a hexadecimal digit:
/// the last one for the start of the text, the next for a byte that belongs to no word, the next
/// for one that does. What comes behind chooses a bit of the digit: 1 for the end of the text, 2
/// and 4 likewise.
const ANCHOR: Step = 0x2000;
/// Goes on so far from here, modulo [`STEPS`]: a step back is `STEPS` - 1. The distance counts from
/// the step itself, so a piece of a program can be copied and moved as it is.
const JUMP: Step = 0x4000;
/// Goes on both behind this and so far from here.
const SPLIT: Step = 0x8000;

/// A backslash in front of a byte, in [`SPECIAL`].
const ESCAPED: u16 = 0x100;
/// Cannot be there: nothing to repeat, or nothing behind a backslash.
const WRONG: u16 = 0x4000;
/// What stands for an anchor, for a set, of which this is the place in [`SETS`], or for nothing.
const SPECIAL: [[u16; 2]; 18] = [
    [b'^' as u16, ANCHOR as u16 + 0x007],
    [b'$' as u16, ANCHOR as u16 + 0x111],
    [b'*' as u16, WRONG],
    [b'+' as u16, WRONG],
    [b'?' as u16, WRONG],
    [b'{' as u16, WRONG],
    [b'.' as u16, 23],
    [ESCAPED, WRONG],
    [ESCAPED + b'`' as u16, ANCHOR as u16 + 0x007],
    [ESCAPED + b'\'' as u16, ANCHOR as u16 + 0x111],
    [ESCAPED + b'<' as u16, ANCHOR as u16 + 0x044],
    [ESCAPED + b'>' as u16, ANCHOR as u16 + 0x300],
    [ESCAPED + b'b' as u16, ANCHOR as u16 + 0x344],
    [ESCAPED + b'B' as u16, ANCHOR as u16 + 0x433],
    [ESCAPED + b'W' as u16, 0],
    [ESCAPED + b'w' as u16, 1],
    [ESCAPED + b'S' as u16, 12],
    [ESCAPED + b's' as u16, 13],
];
/// The sets among them, as brackets have them.
const SETS: &[u8] = b"^[:alnum:]_]^[:space:]]\x01-\xff]";

/// The classes of characters: the name and what stands behind it, then the ranges.
const CLASSES: &[u8] = b"alnum:]09AZaz\nalpha:]AZaz\nblank:]\t\t  \ncntrl:]\0\x1f\x7f\x7f\n\
    digit:]09\ngraph:]!~\nlower:]az\nprint:] ~\npunct:]!/:@[`{~\nspace:]\t\r  \nupper:]AZ\n\
    xdigit:]09AFaf";

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

/// Whether an expression matches anywhere in the text.
pub fn matches(program: &Program, text: &[u8]) -> bool {
    let (mut places, mut others) = (Places::NONE, Places::NONE);
    let (mut now, mut next) = (&mut places, &mut others);
    let mut text = text.iter();
    // What comes before and behind, two bits each, as [`ANCHOR`] has it: 0 outside the text, 1
    // no byte of a word, 2 one. It is the number of a bit there.
    let mut edge = 0;
    loop {
        // At the end there is none: a number that no byte is.
        let mut byte = 256;
        edge = edge << 2 & 12;
        if let Some(behind) = text.next() {
            byte = usize::from(*behind);
            edge |= 1 + u32::from(behind.is_ascii_alphanumeric() || *behind == b'_');
        }
        let sets = program.get(STEPS + byte).copied().unwrap_or(0);
        // A match can begin anywhere.
        now.add(0);
        while let Some(at) = now.pop() {
            let step = program[at % STEPS];
            if step == MATCH {
                return true;
            }
            let number = step % 0x1000;
            if step >= JUMP {
                now.add(at + number as usize);
            }
            if step & TAKE != 0 {
                let is_taken = if number < 256 {
                    number as usize == byte
                } else {
                    sets >> (number % 32) & 1 != 0
                };
                if is_taken {
                    next.add(at + 1);
                }
            } else if step >= SPLIT || step & ANCHOR != 0 && number >> edge & 1 != 0 {
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

/// Reads an expression, and makes a program of it; undefined if it is refused. One with a NUL in it
/// is not valid.
pub fn compile(program: &mut Program, expression: &[u8]) -> Result<(), Invalid> {
    *program = EMPTY;
    let mut compiler = Compiler {
        rest: expression,
        invalid: None,
        depth: 0,
        length: 0,
        set: [0; 256],
        outside: 0,
        program,
    };
    compiler.alternatives();
    if !compiler.rest.is_empty() {
        compiler.fail(Invalid::Syntax);
    }
    compiler.push(MATCH);
    compiler.invalid.map_or(Ok(()), Err)
}

/// An expression being read. What is wrong with it is noted; then there is nothing left to be read.
struct Compiler<'a> {
    /// What comes next.
    rest: &'a [u8],
    /// What was wrong first.
    invalid: Option<Invalid>,
    /// How many groups are open.
    depth: usize,
    /// How long the program is.
    length: usize,
    /// The set that is being read: for each byte all bits, or none.
    set: [u32; 256],
    /// What a byte has that is not mentioned.
    outside: u32,
    program: &'a mut Program,
}

impl<'a> Compiler<'a> {
    #[inline(never)]
    fn fail(&mut self, why: Invalid) {
        self.invalid = self.invalid.or(Some(why));
        self.rest = &[];
    }

    /// What comes next; NUL, which is in no expression, if nothing does.
    fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// Reads what comes next.
    fn next(&mut self) -> u8 {
        match self.rest {
            [next, rest @ ..] if *next != 0 => {
                self.rest = rest;
                *next
            }
            _ => 0,
        }
    }

    /// Reads this byte, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        if is_next {
            self.next();
        }
        is_next
    }

    /// Reads this byte, which has to come next.
    fn expect(&mut self, byte: u8) {
        if !self.eat(byte) {
            self.fail(Invalid::Syntax);
        }
    }

    /// Puts a step in front of all from `at` on.
    fn insert(&mut self, at: usize, mut step: Step) {
        let (steps, _) = self.program.split_at_mut(STEPS);
        match steps.get_mut(at..self.length + 1) {
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
            let byte = self.peek();
            if byte == 0 || byte == b'|' || byte == b')' && self.depth > 0 {
                return;
            }
            self.next();
            let mut code = u16::from(byte);
            if byte == b'\\' {
                code = ESCAPED + u16::from(self.next());
            }
            const ESCAPED_1: u16 = ESCAPED + b'1' as u16;
            const ESCAPED_9: u16 = ESCAPED + b'9' as u16;
            match (code, byte) {
                (ESCAPED_1..=ESCAPED_9, _) => self.fail(Invalid::BackReference),
                (_, b'(') => {
                    if self.depth == DEPTH {
                        self.fail(Invalid::TooDeep);
                    }
                    self.depth += 1;
                    self.alternatives();
                    self.depth -= 1;
                    self.expect(b')');
                }
                (_, b'[') => self.bracket(),
                _ => match SPECIAL.iter().find(|[special, _]| *special == code) {
                    None => self.push(TAKE + Step::from(code as u8)),
                    Some([_, WRONG]) => self.fail(Invalid::Syntax),
                    Some([_, set @ 0..0x1000]) => {
                        let behind = self.rest;
                        self.rest = SETS.get(usize::from(*set)..).unwrap_or_default();
                        self.bracket();
                        self.rest = behind;
                    }
                    Some([_, anchor]) => {
                        self.push(Step::from(*anchor));
                        // That cannot be repeated.
                        continue;
                    }
                },
            }
            while let repetition @ (b'*' | b'+' | b'?' | b'{') = self.peek() {
                self.next();
                let (least, most) = match repetition {
                    b'*' => (0, UNLIMITED),
                    b'+' => (1, UNLIMITED),
                    b'?' => (0, 1),
                    _ => self.bound(),
                };
                self.repeat(start, least, most);
            }
        }
    }

    /// Reads a bound from behind `{` to `}`.
    fn bound(&mut self) -> (usize, usize) {
        let mut least = self.number();
        let mut most = least;
        if self.eat(b',') {
            least &= REPEAT_MAX;
            most = self.number();
        }
        self.expect(b'}');
        if least > most || least == UNLIMITED {
            self.fail(Invalid::Syntax);
        }
        (least, most)
    }

    /// Reads a number of a bound; [`UNLIMITED`] if there is none. Digits and the comma can have a
    /// backslash in front of them where that makes them ordinary, as glibc has it.
    fn number(&mut self) -> usize {
        let mut number = UNLIMITED;
        loop {
            if let [b'\\', rest @ ..] = self.rest {
                if let [b'0' | b',', ..] = rest {
                    self.rest = rest;
                }
            }
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                return number;
            }
            self.next();
            // Without a number so far that is 0.
            number = (number & REPEAT_MAX) * 10 + usize::from(digit);
            if number > REPEAT_MAX {
                self.fail(Invalid::TooLarge);
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
                self.push(self.program[at % STEPS]);
            }
        }
        if most == UNLIMITED {
            self.push(SPLIT + distance(end, start));
        }
        if least == 0 {
            self.insert(start, skip);
        }
    }

    /// Reads from behind `[` to `]`.
    fn bracket(&mut self) {
        self.outside = if self.eat(b'^') { u32::MAX } else { 0 };
        self.set = [self.outside; 256];
        let mut byte = self.next();
        loop {
            let low = self.element(byte);
            if low != 0 {
                let mut high = low;
                if self.peek() == b'-' && self.rest.get(1) != Some(&b']') {
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
            if byte == 0 || byte == b'-' && self.peek() != b']' {
                self.fail(Invalid::Syntax);
                break;
            }
        }
        // The first set that is the same as this, or is empty, which none is that has been read.
        let (_, sets) = self.program.split_at_mut(STEPS);
        let (mut others, mut differ) = (0, 0);
        for (sets, is_in) in sets.iter().zip(&self.set) {
            others |= *sets;
            differ |= *sets ^ *is_in;
        }
        let number = (others & differ).trailing_ones();
        for (sets, is_in) in sets.iter_mut().zip(&self.set) {
            *sets |= *is_in & 1_u32.wrapping_shl(number);
        }
        if number == u32::BITS {
            self.fail(Invalid::TooLarge);
        }
        self.push(TAKE + 256 + number);
    }

    /// Reads the rest of something in brackets that begins with that byte. Gives a single character,
    /// which can begin or end a range; or NUL, for more than that, which is already in the set.
    fn element(&mut self, byte: u8) -> u8 {
        let kind = self.peek();
        match (byte, kind) {
            (b'[', b':') => {
                self.next();
                self.class();
                0
            }
            (b'[', b'.' | b'=') => {
                self.next();
                let one = self.next();
                self.expect(kind);
                self.expect(b']');
                if kind == b'.' {
                    return one;
                }
                self.range(one, one);
                0
            }
            _ => byte,
        }
    }

    /// Reads the name of a class from behind the colon up to `]`, and puts all of it into the set.
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
    fn range(&mut self, low: u8, high: u8) {
        if low > high {
            self.fail(Invalid::Syntax);
        }
        for byte in low..=high {
            self.set[usize::from(byte)] = !self.outside;
        }
    }
}

/// How far it is from one place to another, as a step has it.
fn distance(from: usize, to: usize) -> Step {
    (to.wrapping_sub(from) % STEPS) as Step
}
