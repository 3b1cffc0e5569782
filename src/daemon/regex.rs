//! POSIX extended regular expressions, as the access rules have them.
//!
//! A rule's author is trusted less than the daemon, and an identifier's author not at all. So an
//! expression has a fixed amount of room, or is refused, and a search costs at most the length of
//! the text times that of the program, whatever the two are: all places in the program that a
//! match can have reached are followed at once, as a set of bits, and none is ever gone back to.
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

/// Room for instructions, the last one included.
const INSTRUCTIONS: usize = 512;
/// Room for sets of bytes that differ.
const SETS: usize = 32;
/// How many groups can be open at once.
const DEPTH: usize = 64;
/// The largest number in a bound, `RE_DUP_MAX` of glibc.
const REPEAT_MAX: usize = 0x7fff;

/// Why an expression is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It is not a regular expression.
    Syntax,
    /// It has a back-reference.
    BackReference,
    /// It takes more instructions or sets than there is room for.
    TooLarge,
    /// Its groups are nested too deep.
    TooDeep,
}

/// A condition on the place between two bytes.
#[derive(Clone, Copy)]
enum Anchor {
    TextStart,
    TextEnd,
    WordStart,
    WordEnd,
    WordEdge,
    NotWordEdge,
}

impl Anchor {
    /// Whether it holds between these bytes; `None` lies outside the text.
    fn holds(self, before: Option<u8>, after: Option<u8>) -> bool {
        let (left, right) = (before.is_some_and(is_word), after.is_some_and(is_word));
        match self {
            Anchor::TextStart => before.is_none(),
            Anchor::TextEnd => after.is_none(),
            Anchor::WordStart => !left && right,
            Anchor::WordEnd => left && !right,
            Anchor::WordEdge => left != right,
            Anchor::NotWordEdge => left == right,
        }
    }
}

/// A step of a program. Distances count from the step itself, so a piece of a program can be copied
/// and moved as it is.
#[derive(Clone, Copy)]
enum Step {
    /// The end: there is a match.
    Match,
    /// Takes this byte.
    Byte(u8),
    /// Takes a byte of the set with this number.
    Set(u8),
    /// Goes on where this holds.
    Anchor(Anchor),
    /// Goes on there.
    Jump(i16),
    /// Goes on both behind this and there.
    Split(i16),
}

/// A set of numbers below 64 * `N`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bits<const N: usize>([u64; N]);

impl<const N: usize> Bits<N> {
    const EMPTY: Self = Bits([0; N]);

    fn insert(&mut self, number: usize) {
        self.0[number / 64 % N] |= 1 << (number % 64);
    }

    fn contains(&self, number: usize) -> bool {
        self.0[number / 64 % N] >> (number % 64) & 1 != 0
    }

    /// Takes the smallest number out.
    fn pop(&mut self) -> Option<usize> {
        let (place, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let number = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(place * 64 + number)
    }
}

/// A set of bytes.
type Bytes = Bits<4>;
/// A set of places in a program.
type Places = Bits<{ INSTRUCTIONS / 64 }>;

/// Those of which that is true.
fn bytes_that(are: impl Fn(u8) -> bool) -> Bytes {
    let mut set = Bytes::EMPTY;
    for byte in (0..=u8::MAX).filter(|byte| are(*byte)) {
        set.insert(byte.into());
    }
    set
}

/// Whether a byte belongs to a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a byte is of the class of that name; nothing if there is no such class.
fn is_of(class: &[u8], byte: u8) -> Option<bool> {
    Some(match class {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte == b' ' || (b'\t'..=b'\r').contains(&byte),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

/// An expression, ready to be searched for.
pub struct Regex {
    /// [`Step::Match`] from the end of the program on.
    steps: [Step; INSTRUCTIONS],
    sets: [Bytes; SETS],
}

impl Regex {
    /// Reads an expression. One with a NUL in it is not valid.
    pub fn compile(expression: &[u8]) -> Result<Regex, Invalid> {
        let regex = Regex { steps: [Step::Match; INSTRUCTIONS], sets: [Bytes::EMPTY; SETS] };
        if expression.contains(&0) {
            return Err(Invalid::Syntax);
        }
        let mut compiler = Compiler { rest: expression, regex, length: 0, sets: 0 };
        compiler.expression()?;
        Ok(compiler.regex)
    }

    /// Whether it matches anywhere in the text.
    pub fn matches(&self, text: &[u8]) -> bool {
        let mut before = None;
        // Where the bytes so far lead to.
        let mut reached = Places::EMPTY;
        for after in text.iter().map(|byte| Some(*byte)).chain([None]) {
            let mut seen = Places::EMPTY;
            let mut next = Places::EMPTY;
            // A match can begin anywhere.
            reached.insert(0);
            while let Some(at) = reached.pop() {
                seen.insert(at);
                let mut go = |to: usize| {
                    if !seen.contains(to) {
                        reached.insert(to);
                    }
                };
                match self.steps[at % INSTRUCTIONS] {
                    Step::Match => return true,
                    Step::Byte(byte) if after == Some(byte) => next.insert(at + 1),
                    Step::Set(set) if after.is_some_and(|byte| self.has(set, byte)) => {
                        next.insert(at + 1);
                    }
                    Step::Anchor(anchor) if anchor.holds(before, after) => go(at + 1),
                    Step::Jump(distance) => go(at.wrapping_add_signed(distance.into())),
                    Step::Split(distance) => {
                        go(at + 1);
                        go(at.wrapping_add_signed(distance.into()));
                    }
                    _ => {}
                }
            }
            reached = next;
            before = after;
        }
        false
    }

    /// Whether the set with that number has the byte in it.
    fn has(&self, set: u8, byte: u8) -> bool {
        self.sets[usize::from(set) % SETS].contains(byte.into())
    }
}

/// A group that is open, or the expression as a whole.
#[derive(Clone, Copy)]
struct Group {
    /// Where its program begins.
    start: usize,
    /// The jump from the end of its alternatives so far to its own end, if there are any.
    jump: Option<usize>,
}

/// What stands in brackets.
enum Element {
    /// A single character, which can begin or end a range.
    One(u8),
    /// More than that, and already in the set.
    More,
}

/// An expression being read.
struct Compiler<'a> {
    /// What has not been read yet.
    rest: &'a [u8],
    regex: Regex,
    /// How long the program is; there is always room for the end.
    length: usize,
    /// How many sets there are.
    sets: usize,
}

impl Compiler<'_> {
    /// Reads all of it.
    fn expression(&mut self) -> Result<(), Invalid> {
        let mut group = Group { start: 0, jump: None };
        // The groups around it, the innermost last.
        let mut outer = [group; DEPTH];
        let mut depth = 0;
        while let Some(byte) = self.next() {
            // Where that begins which a repetition would repeat.
            let mut start = self.length;
            match byte {
                b'|' => {
                    self.close(group)?;
                    let distance = distance(self.length + 2 - group.start)?;
                    self.insert(group.start, Step::Split(distance))?;
                    group.jump = Some(self.length);
                    // How far is known when the group ends.
                    self.push(Step::Jump(1))?;
                    continue;
                }
                b'(' => {
                    *outer.get_mut(depth).ok_or(Invalid::TooDeep)? = group;
                    depth += 1;
                    group = Group { start, jump: None };
                    continue;
                }
                b')' if depth > 0 => {
                    self.close(group)?;
                    start = group.start;
                    depth -= 1;
                    group = *outer.get(depth).ok_or(Invalid::TooDeep)?;
                }
                b'*' | b'+' | b'?' | b'{' => return Err(Invalid::Syntax),
                b'.' => self.push_set(bytes_that(|byte| byte != 0))?,
                b'[' => self.bracket()?,
                b'^' | b'$' => {
                    let is_start = byte == b'^';
                    let anchor = if is_start { Anchor::TextStart } else { Anchor::TextEnd };
                    self.push(Step::Anchor(anchor))?;
                    continue;
                }
                b'\\' => {
                    let is_anchor = self.escape()?;
                    if is_anchor {
                        continue;
                    }
                }
                _ => self.push(Step::Byte(byte))?,
            }
            while let Some(operator @ (b'*' | b'+' | b'?' | b'{')) = self.rest.first() {
                let operator = *operator;
                self.next();
                let (least, most) = match operator {
                    b'*' => (0, None),
                    b'+' => (1, None),
                    b'?' => (0, Some(1)),
                    _ => self.bound()?,
                };
                self.repeat(start, least, most)?;
            }
        }
        if depth > 0 {
            return Err(Invalid::Syntax);
        }
        self.close(group)
    }

    /// Reads a byte, if there is one.
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Reads this byte, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Appends a step.
    fn push(&mut self, step: Step) -> Result<(), Invalid> {
        if self.length + 1 >= INSTRUCTIONS {
            return Err(Invalid::TooLarge);
        }
        *self.regex.steps.get_mut(self.length).ok_or(Invalid::TooLarge)? = step;
        self.length += 1;
        Ok(())
    }

    /// Puts a step in front of all from `start` on.
    fn insert(&mut self, start: usize, step: Step) -> Result<(), Invalid> {
        self.push(step)?;
        let moved = self.regex.steps.get_mut(start..self.length);
        moved.ok_or(Invalid::TooLarge)?.rotate_right(1);
        Ok(())
    }

    /// Appends a copy of so many steps from `start` on.
    fn copy(&mut self, start: usize, count: usize) -> Result<(), Invalid> {
        for at in start..start + count {
            let step = self.regex.steps.get(at).ok_or(Invalid::TooLarge)?;
            self.push(*step)?;
        }
        Ok(())
    }

    /// Appends a step that takes a byte of the set.
    fn push_set(&mut self, set: Bytes) -> Result<(), Invalid> {
        let known = self.regex.sets.iter().take(self.sets).position(|known| *known == set);
        let number = known.unwrap_or(self.sets);
        *self.regex.sets.get_mut(number).ok_or(Invalid::TooLarge)? = set;
        self.sets = self.sets.max(number + 1);
        self.push(Step::Set(number as u8))
    }

    /// Ends the alternatives so far where the program now ends.
    fn close(&mut self, group: Group) -> Result<(), Invalid> {
        if let Some(jump) = group.jump {
            let step = Step::Jump(distance(self.length - jump)?);
            *self.regex.steps.get_mut(jump).ok_or(Invalid::TooLarge)? = step;
        }
        Ok(())
    }

    /// Reads what stands behind a backslash. Says whether it is an anchor.
    fn escape(&mut self) -> Result<bool, Invalid> {
        let byte = self.next().ok_or(Invalid::Syntax)?;
        let anchor = match byte {
            b'1'..=b'9' => return Err(Invalid::BackReference),
            b'w' | b'W' => {
                self.push_set(bytes_that(|other| is_word(other) == (byte == b'w')))?;
                return Ok(false);
            }
            b's' | b'S' => {
                let is_in = |other| is_of(b"space", other) == Some(byte == b's');
                self.push_set(bytes_that(is_in))?;
                return Ok(false);
            }
            b'`' => Anchor::TextStart,
            b'\'' => Anchor::TextEnd,
            b'<' => Anchor::WordStart,
            b'>' => Anchor::WordEnd,
            b'b' => Anchor::WordEdge,
            b'B' => Anchor::NotWordEdge,
            _ => {
                self.push(Step::Byte(byte))?;
                return Ok(false);
            }
        };
        self.push(Step::Anchor(anchor))?;
        Ok(true)
    }

    /// Reads a bound from behind `{` to `}`.
    fn bound(&mut self) -> Result<(usize, Option<usize>), Invalid> {
        let (least, end) = self.number()?;
        let (most, end) = match (least, end) {
            (Some(_), b'}') => (least, end),
            (_, b',') => self.number()?,
            _ => return Err(Invalid::Syntax),
        };
        let least = least.unwrap_or(0);
        if end != b'}' || most.is_some_and(|most| most < least) {
            return Err(Invalid::Syntax);
        }
        if most.unwrap_or(least) > REPEAT_MAX {
            return Err(Invalid::TooLarge);
        }
        Ok((least, most))
    }

    /// Reads digits, if any, and the comma or brace behind them. Digits and the comma can have a
    /// backslash in front of them where that makes them ordinary, as glibc has it.
    fn number(&mut self) -> Result<(Option<usize>, u8), Invalid> {
        let mut number = None;
        loop {
            let byte = match self.next() {
                Some(b'\\') if self.eat(b'0') => b'0',
                Some(b'\\') if self.eat(b',') => b',',
                Some(byte) => byte,
                None => return Err(Invalid::Syntax),
            };
            if byte == b',' || byte == b'}' {
                return Ok((number, byte));
            }
            if !byte.is_ascii_digit() {
                return Err(Invalid::Syntax);
            }
            let value = number.unwrap_or(0) * 10 + usize::from(byte - b'0');
            number = Some(value.min(REPEAT_MAX + 1));
        }
    }

    /// Has all from `start` on repeated so many times; without `most` any number of times more.
    fn repeat(&mut self, start: usize, least: usize, most: Option<usize>) -> Result<(), Invalid> {
        let count = self.length - start;
        // The empty string is what it was, however often.
        if count == 0 {
            return Ok(());
        }
        if most == Some(0) {
            let dropped = self.regex.steps.get_mut(start..self.length);
            dropped.ok_or(Invalid::TooLarge)?.fill(Step::Match);
            self.length = start;
            return Ok(());
        }
        for _ in 1..least {
            self.copy(start, count)?;
        }
        let Some(most) = most else {
            self.push(Step::Split(-distance(count)?))?;
            if least == 0 {
                self.insert(start, Step::Split(distance(count + 2)?))?;
            }
            return Ok(());
        };
        // Each of the rest can be where it ends.
        let optional = most - least;
        let mut left = optional * (count + 1);
        let mut source = start;
        if least == 0 {
            self.insert(start, Step::Split(distance(left)?))?;
            source += 1;
            left -= count + 1;
        }
        while left > 0 {
            self.push(Step::Split(distance(left)?))?;
            self.copy(source, count)?;
            left -= count + 1;
        }
        Ok(())
    }

    /// Reads from behind `[` to `]`.
    fn bracket(&mut self) -> Result<(), Invalid> {
        let is_negated = self.eat(b'^');
        let mut set = Bytes::EMPTY;
        let mut is_first = true;
        loop {
            let byte = self.next().ok_or(Invalid::Syntax)?;
            if byte == b']' && !is_first {
                break;
            }
            if byte == b'-' && !is_first && self.rest.first() != Some(&b']') {
                return Err(Invalid::Syntax);
            }
            is_first = false;
            let Element::One(low) = self.element(byte, &mut set)? else { continue };
            let mut high = low;
            if let [b'-', end, ..] = *self.rest {
                if end != b']' {
                    self.next();
                    self.next();
                    let Element::One(end) = self.element(end, &mut set)? else {
                        return Err(Invalid::Syntax);
                    };
                    high = end;
                }
            }
            if low > high {
                return Err(Invalid::Syntax);
            }
            for byte in low..=high {
                set.insert(byte.into());
            }
        }
        self.push_set(bytes_that(|byte| set.contains(byte.into()) != is_negated))
    }

    /// Reads the rest of something in brackets that begins with that byte.
    fn element(&mut self, byte: u8, set: &mut Bytes) -> Result<Element, Invalid> {
        let Some(kind @ (b'.' | b'=' | b':')) = self.rest.first() else {
            return Ok(Element::One(byte));
        };
        if byte != b'[' {
            return Ok(Element::One(byte));
        }
        let kind = *kind;
        self.next();
        let end = self.rest.windows(2).position(|pair| pair == [kind, b']']);
        let (name, rest) =
            end.and_then(|end| self.rest.split_at_checked(end)).ok_or(Invalid::Syntax)?;
        self.rest = rest.get(2..).ok_or(Invalid::Syntax)?;
        match (kind, name) {
            (b'.', [one]) => Ok(Element::One(*one)),
            (b'=', [one]) => {
                set.insert((*one).into());
                Ok(Element::More)
            }
            (b':', _) => {
                for byte in 0..=u8::MAX {
                    if is_of(name, byte).ok_or(Invalid::Syntax)? {
                        set.insert(byte.into());
                    }
                }
                Ok(Element::More)
            }
            _ => Err(Invalid::Syntax),
        }
    }
}

/// A distance in a program.
fn distance(steps: usize) -> Result<i16, Invalid> {
    if steps <= INSTRUCTIONS { Ok(steps as i16) } else { Err(Invalid::TooLarge) }
}
