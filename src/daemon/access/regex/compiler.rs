//! Compiles expressions into programs.

use super::program::{self, Anchor, ByteSet, EMPTY, Program, Row, STEPS, Step};
use core::mem;
use core::ops::RangeInclusive;

/// The most groups that can be open at once. The compiler recurses for each, and its stack is small.
const DEPTH: usize = 64;
/// The largest number in a bound: `RE_DUP_MAX` of glibc.
const REPEAT_MAX: u32 = 0x7fff;

/// Why an expression is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It is not a regular expression.
    Syntax,
    /// It has a back-reference.
    BackReference,
    /// It takes more steps or sets than fit into a program.
    TooLarge,
    /// Its groups are nested too deep.
    TooDeep,
}

/// A class of characters.
type Class = &'static [RangeInclusive<u8>];

const DIGIT: RangeInclusive<u8> = b'0'..=b'9';
const LOWER: RangeInclusive<u8> = b'a'..=b'z';
const UPPER: RangeInclusive<u8> = b'A'..=b'Z';
const SPACE: Class = &[b'\t'..=b'\r', b' '..=b' '];
const WORD: Class = &[DIGIT, UPPER, LOWER, b'_'..=b'_'];
const NOT_NUL: Class = &[1..=u8::MAX];

/// The classes that brackets can name, in the C locale.
const CLASSES: &[(&str, Class)] = &[
    ("[:alnum:]", &[DIGIT, UPPER, LOWER]),
    ("[:alpha:]", &[UPPER, LOWER]),
    ("[:blank:]", &[b'\t'..=b'\t', b' '..=b' ']),
    ("[:cntrl:]", &[0..=31, 127..=127]),
    ("[:digit:]", &[DIGIT]),
    ("[:graph:]", &[b'!'..=b'~']),
    ("[:lower:]", &[LOWER]),
    ("[:print:]", &[b' '..=b'~']),
    ("[:punct:]", &[b'!'..=b'/', b':'..=b'@', b'['..=b'`', b'{'..=b'~']),
    ("[:space:]", SPACE),
    ("[:upper:]", &[UPPER]),
    ("[:xdigit:]", &[DIGIT, b'A'..=b'F', b'a'..=b'f']),
];

/// Compiles an expression. If it is refused, the content of the program is unspecified. An expression
/// with NUL is refused: to C it would end there.
pub fn compile(program: &mut Program, expression: &[u8]) -> Result<(), Invalid> {
    let is_c_string = expression.iter().all(|byte| *byte != 0);
    if !is_c_string {
        return Err(Invalid::Syntax);
    }
    *program = EMPTY;
    let (steps, sets) = program::parts_mut(program);
    let mut compiler = Compiler { rest: expression, depth: 0, steps, length: 0, sets };
    compiler.alternatives()?;
    compiler.push(Step::Match)
}

/// An expression that is being read, and the program that it becomes.
///
/// Each function reads a part of the expression and appends its steps. The steps of the next part
/// follow, and a match continues there.
struct Compiler<'a> {
    /// The part of the expression that has not been read.
    rest: &'a [u8],
    /// The number of open groups.
    depth: usize,
    /// Room for the encoded steps.
    steps: &'a mut [u32],
    /// The number of steps.
    length: usize,
    /// Room for the sets.
    sets: &'a mut [Row],
}

impl Compiler<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads the next byte. An error at the end of the expression.
    fn next(&mut self) -> Result<u8, Invalid> {
        let (next, rest) = self.rest.split_first().ok_or(Invalid::Syntax)?;
        self.rest = rest;
        Ok(*next)
    }

    /// Reads the next byte if it is this one. True if it was.
    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [next, rest @ ..] if *next == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Reads this byte. An error if the next byte is another one.
    fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.eat(byte) { Ok(()) } else { Err(Invalid::Syntax) }
    }

    /// Inserts a step at `place`. The steps from there on move up.
    fn insert(&mut self, place: usize, step: Step) -> Result<(), Invalid> {
        let moved = self.steps.get_mut(place..=self.length).ok_or(Invalid::TooLarge)?;
        let mut word = step.encode();
        for next in moved {
            mem::swap(next, &mut word);
        }
        self.length += 1;
        Ok(())
    }

    /// Appends a step.
    fn push(&mut self, step: Step) -> Result<(), Invalid> {
        self.insert(self.length, step)
    }

    /// Reads alternatives, up to the end of the group or of the expression. `a|b` becomes a split to
    /// `b`, `a`, a jump past `b`, `b`.
    fn alternatives(&mut self) -> Result<(), Invalid> {
        let start = self.length;
        self.sequence()?;
        while self.eat(b'|') {
            let middle = self.length;
            self.sequence()?;
            self.insert(middle, Step::Jump(distance(middle, self.length + 1)))?;
            self.insert(start, Step::Split(distance(start, middle + 2)))?;
        }
        Ok(())
    }

    /// Reads one alternative.
    fn sequence(&mut self) -> Result<(), Invalid> {
        loop {
            let start = self.length;
            match self.peek() {
                None | Some(b'|') => return Ok(()),
                Some(b')') if self.depth > 0 => return Ok(()),
                Some(b'(') => self.group()?,
                Some(_) => {
                    let step = self.single()?;
                    self.push(step)?;
                    if let Step::Anchor(_) = step {
                        // A repetition after an anchor has nothing to repeat.
                        continue;
                    }
                }
            }
            self.repetitions(start)?;
        }
    }

    /// Reads a group from `(` to `)`.
    fn group(&mut self) -> Result<(), Invalid> {
        self.expect(b'(')?;
        if self.depth == DEPTH {
            return Err(Invalid::TooDeep);
        }
        self.depth += 1;
        self.alternatives()?;
        self.depth -= 1;
        self.expect(b')')
    }

    /// Reads what becomes a single step: a character, a set of characters or an anchor.
    fn single(&mut self) -> Result<Step, Invalid> {
        match self.next()? {
            b'^' => Ok(Step::Anchor(Anchor::TextStart)),
            b'$' => Ok(Step::Anchor(Anchor::TextEnd)),
            b'.' => self.class(NOT_NUL, false),
            b'[' => self.bracket(),
            b'\\' => self.escaped(),
            // A repetition here has nothing to repeat.
            b'*' | b'+' | b'?' | b'{' => Err(Invalid::Syntax),
            byte => Ok(Step::Byte(byte)),
        }
    }

    /// Reads what follows a backslash.
    fn escaped(&mut self) -> Result<Step, Invalid> {
        match self.next()? {
            b'1'..=b'9' => Err(Invalid::BackReference),
            b'`' => Ok(Step::Anchor(Anchor::TextStart)),
            b'\'' => Ok(Step::Anchor(Anchor::TextEnd)),
            b'<' => Ok(Step::Anchor(Anchor::WordStart)),
            b'>' => Ok(Step::Anchor(Anchor::WordEnd)),
            b'b' => Ok(Step::Anchor(Anchor::WordEdge)),
            b'B' => Ok(Step::Anchor(Anchor::NoWordEdge)),
            b'w' => self.class(WORD, false),
            b'W' => self.class(WORD, true),
            b's' => self.class(SPACE, false),
            b'S' => self.class(SPACE, true),
            byte => Ok(Step::Byte(byte)),
        }
    }

    /// The step that takes a character of this class, or any other character if `is_negated`.
    fn class(&mut self, class: Class, is_negated: bool) -> Result<Step, Invalid> {
        let mut set = ByteSet::EMPTY;
        set.insert_ranges(class);
        self.set(&mut set, is_negated)
    }

    /// The step that takes a byte of the set, or any other byte if `is_negated`. Equal sets share a
    /// row. No set of an expression is empty, so a row of zeros is free.
    fn set(&mut self, set: &mut ByteSet, is_negated: bool) -> Result<Step, Invalid> {
        if is_negated {
            set.complement();
        }
        for (number, row) in self.sets.iter_mut().enumerate() {
            if *row == ByteSet::EMPTY.0 {
                *row = set.0;
            }
            if *row == set.0 {
                return Ok(Step::Set(number as u8));
            }
        }
        Err(Invalid::TooLarge)
    }

    /// Reads from after `[` to `]`.
    fn bracket(&mut self) -> Result<Step, Invalid> {
        let is_negated = self.eat(b'^');
        let mut set = ByteSet::EMPTY;
        loop {
            // The first element can begin with `]` or `-`.
            if let Some(low) = self.element(&mut set)? {
                let high = self.range_end(low, &mut set)?;
                set.insert_ranges(&[low..=high]);
            }
            if self.eat(b']') {
                break;
            }
            if self.is_range() {
                return Err(Invalid::Syntax);
            }
        }
        self.set(&mut set, is_negated)
    }

    /// Reads an element in brackets. Returns a single character, which can be an end of a range.
    /// Inserts a class into the set, and returns `None`.
    fn element(&mut self, set: &mut ByteSet) -> Result<Option<u8>, Invalid> {
        let (element, rest) = match self.rest {
            [b'[', b'.', byte, b'.', b']', rest @ ..] => (Some(*byte), rest),
            [b'[', b'=', byte, b'=', b']', rest @ ..] => {
                // In the C locale a character is equivalent only to itself.
                set.insert(*byte);
                (None, rest)
            }
            [b'[', b':', ..] => {
                let (class, rest) = strip_class(self.rest).ok_or(Invalid::Syntax)?;
                set.insert_ranges(class);
                (None, rest)
            }
            [] | [b'[', b'.' | b'=', ..] => return Err(Invalid::Syntax),
            [byte, rest @ ..] => (Some(*byte), rest),
        };
        self.rest = rest;
        Ok(element)
    }

    /// True if the next byte is a `-` and not the last character in the brackets.
    fn is_range(&self) -> bool {
        matches!(self.rest, [b'-', end, ..] if *end != b']')
    }

    /// Reads the end of a range that begins with `low`. Returns `low` if no range begins there.
    fn range_end(&mut self, low: u8, set: &mut ByteSet) -> Result<u8, Invalid> {
        if !self.is_range() {
            return Ok(low);
        }
        self.expect(b'-')?;
        match self.element(set)? {
            Some(high) if low <= high => Ok(high),
            _ => Err(Invalid::Syntax),
        }
    }

    /// Reads all repetitions of the steps from `start` on.
    fn repetitions(&mut self, start: usize) -> Result<(), Invalid> {
        loop {
            let (least, most) = if self.eat(b'*') {
                (0, None)
            } else if self.eat(b'+') {
                (1, None)
            } else if self.eat(b'?') {
                (0, Some(1))
            } else if self.eat(b'{') {
                self.bound()?
            } else {
                return Ok(());
            };
            self.repeat(start, least, most)?;
        }
    }

    /// Reads a bound from after `{` to `}`: the least and the most repetitions.
    fn bound(&mut self) -> Result<(u32, Option<u32>), Invalid> {
        let first = self.number()?;
        let (least, most) = if self.eat_escaped(b',') {
            (first.unwrap_or(0), self.number()?)
        } else {
            (first.ok_or(Invalid::Syntax)?, first)
        };
        self.expect(b'}')?;
        if most.is_some_and(|most| least > most) {
            return Err(Invalid::Syntax);
        }
        Ok((least, most))
    }

    /// Reads this byte of a bound, as [`Compiler::eat`] does. Like glibc it skips a backslash before a
    /// comma or a `0`.
    fn eat_escaped(&mut self, byte: u8) -> bool {
        let escaped = [b'\\', byte];
        if self.rest.starts_with(&escaped) {
            self.eat(b'\\');
        }
        self.eat(byte)
    }

    /// Reads a number of a bound, if there is one.
    fn number(&mut self) -> Result<Option<u32>, Invalid> {
        let mut number = None;
        loop {
            let digit = if self.eat_escaped(b'0') {
                b'0'
            } else if let [digit @ b'1'..=b'9', rest @ ..] = self.rest {
                self.rest = rest;
                *digit
            } else {
                return Ok(number);
            };
            let value = number.unwrap_or(0) * 10 + u32::from(digit - b'0');
            if value > REPEAT_MAX {
                return Err(Invalid::TooLarge);
            }
            number = Some(value);
        }
    }

    /// Repeats the steps from `start` on. They are the first copy.
    ///
    /// - `a{2,4}` becomes `a`, `a`, a split past the next copy, `a`, the same split, `a`.
    /// - `a{2,}` becomes `a`, `a`, a split back to the last copy.
    /// - If the least is 0, a split past the first copy precedes it.
    fn repeat(&mut self, start: usize, least: u32, most: Option<u32>) -> Result<(), Invalid> {
        let end = self.length;
        // The empty string stays empty.
        if start == end || most == Some(0) {
            self.length = start;
            return Ok(());
        }
        let skip = Step::Split(distance(start, end + 1));
        // More copies than this do not fit.
        for copy in 1..most.unwrap_or(least).min(STEPS as u32) {
            if copy >= least {
                self.push(skip)?;
            }
            for place in start..end {
                self.push(program::step(self.steps, place))?;
            }
        }
        if most.is_none() {
            self.push(Step::Split(distance(end, start)))?;
        }
        if least == 0 {
            self.insert(start, skip)?;
        }
        Ok(())
    }
}

/// The class that is named at the start of the text, and the rest of the text.
fn strip_class(text: &[u8]) -> Option<(Class, &[u8])> {
    let mut classes = CLASSES.iter();
    classes.find_map(|(name, class)| Some((*class, text.strip_prefix(name.as_bytes())?)))
}

/// The distance from one place to another.
fn distance(from: usize, to: usize) -> i16 {
    to as i16 - from as i16
}
