//! Socket activation: a program gets descriptors from number 3 on. Variables of its environment describe
//! them.
//!
//! | convention | variables |
//! |---|---|
//! | systemd, `sd_listen_fds(3)` | `LISTEN_FDS`: their number; `LISTEN_PID`: the process; `LISTEN_FDNAMES`: names, with a `:` between them; `LISTEN_PIDFDID` (systemd 259): the unique id of the process |
//! | nginx | `NGINX`: `3;4;` |
//! | Server::Starter | `SERVER_STARTER_PORT`: `127.0.0.1:80=3;/run/x=4`; `SERVER_STARTER_GENERATION`: 1 for the first start |
//! | einhorn | `EINHORN_FD_COUNT`: their number; `EINHORN_FD_0`: a descriptor; `EINHORN_FD_FAMILY_0`: `AF_UNIX`, for example; `EINHORN_MASTER_PID`: the parent, without which programs take nothing |
//! | Upstart | `UPSTART_FDS`: `3 4`; `UPSTART_EVENTS`: `socket`, without which programs take nothing |

use super::address::Address;
use crate::cli::number;
use crate::sys::socket::{INET, INET6};
use crate::sys::strings::{Builder, Strings};

/// The number of the first descriptor.
pub const FIRST: u32 = 3;

/// The longest name, in bytes: systemd's `FDNAME_MAX`.
const NAME_MAX: usize = 255;

/// The name of a descriptor that has none.
const NAMELESS: &[u8] = b"unknown";

/// The most bytes of a variable for each descriptor: a name or an address, two separators, a number.
const EACH_MAX: usize = NAME_MAX + 2 + 10;

/// A convention for describing descriptors to a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Convention {
    /// systemd's.
    Systemd,
    /// nginx's.
    Nginx,
    /// Server::Starter's.
    Starter,
    /// einhorn's.
    Einhorn,
    /// Upstart's.
    Upstart,
}

/// The beginnings of the variables of all conventions.
const VARIABLES: [&str; 10] = [
    "LISTEN_FDS=",
    "LISTEN_PID=",
    "LISTEN_FDNAMES=",
    "LISTEN_PIDFDID=",
    "NGINX=",
    "SERVER_STARTER_PORT=",
    "SERVER_STARTER_GENERATION=",
    "EINHORN_",
    "UPSTART_FDS=",
    "UPSTART_EVENTS=",
];

/// True if a string of the environment is a variable of one of the conventions.
pub fn is_variable(string: &[u8]) -> bool {
    VARIABLES.iter().any(|beginning| string.starts_with(beginning.as_bytes()))
}

/// The process that gets the descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its process id.
    pub process: u32,
    /// The process id of its parent.
    pub parent: u32,
    /// The id that no other process ever has; `None` if the kernel has none.
    pub unique: Option<usize>,
}

impl Convention {
    /// The convention of that name.
    pub fn named(name: &[u8]) -> Option<Convention> {
        Some(match name {
            b"systemd" => Convention::Systemd,
            b"nginx" => Convention::Nginx,
            b"starter" => Convention::Starter,
            b"einhorn" => Convention::Einhorn,
            b"upstart" => Convention::Upstart,
            _ => return None,
        })
    }

    /// The most variables that describe `count` descriptors.
    pub fn variables(self, count: usize) -> usize {
        4 + if self == Convention::Einhorn { count.saturating_mul(2) } else { 0 }
    }

    /// Adds to an environment the variables that describe descriptors with these names, from number 3 on.
    /// `address` returns the address of a socket.
    pub fn describe(
        self,
        names: &[&[u8]],
        address: &dyn Fn(u32) -> Option<Address>,
        identity: Identity,
        out: &mut Builder,
    ) {
        match self {
            Convention::Systemd => {
                set(out, "LISTEN_FDS=", names.len());
                set(out, "LISTEN_PID=", identity.process as usize);
                if let Some(unique) = identity.unique {
                    set(out, "LISTEN_PIDFDID=", unique);
                }
                let is_allowed = |byte| matches!(byte, b' '..=b'~') && byte != b':';
                let add = |out: &mut Builder, name: &[u8], _| add(out, name, &is_allowed);
                join(out, names, "LISTEN_FDNAMES=", b":", &add);
            }
            Convention::Nginx => {
                // A separator follows the last one as well.
                join(out, names, "NGINX=", b";", &|out, _, number| number_of(out, number));
                out.bytes(b";");
            }
            Convention::Starter => {
                set(out, "SERVER_STARTER_GENERATION=", 1);
                let add = |out: &mut Builder, name: &[u8], number| {
                    let text = address(number).map(|address| address.text());
                    let text = text.as_ref().map_or(name, |text| text.place());
                    add(out, text, &|byte| !matches!(byte, b';' | b'='));
                    number_of(out.bytes(b"="), number);
                };
                join(out, names, "SERVER_STARTER_PORT=", b";", &add);
            }
            Convention::Einhorn => {
                set(out, "EINHORN_MASTER_PID=", identity.parent as usize);
                for (index, number) in (FIRST..).take(names.len()).enumerate() {
                    out.begin().bytes(b"EINHORN_FD_").number(index).bytes(b"=");
                    number_of(out, number);
                    out.end();
                    if let Some(address) = address(number) {
                        out.begin().bytes(b"EINHORN_FD_FAMILY_").number(index).bytes(b"=");
                        out.bytes(family(&address)).end();
                    }
                }
                set(out, "EINHORN_FD_COUNT=", names.len());
                return;
            }
            Convention::Upstart => {
                out.begin().bytes(b"UPSTART_EVENTS=socket").end();
                join(out, names, "UPSTART_FDS=", b" ", &|out, _, number| number_of(out, number));
            }
        }
        out.end();
    }
}

/// Adds a variable whose value is a number.
fn set(out: &mut Builder, name: &str, number: usize) {
    out.begin().bytes(name.as_bytes()).number(number).end();
}

/// Adds the number of a descriptor.
fn number_of(out: &mut Builder, number: u32) {
    out.number(number as usize);
}

/// Adds a variable without its end: for each descriptor what `add` writes for its name and its number,
/// with a separator between two of them.
fn join(
    out: &mut Builder,
    names: &[&[u8]],
    variable: &str,
    separator: &[u8],
    add: &dyn Fn(&mut Builder, &[u8], u32),
) {
    out.begin_long(variable.len() + names.len() * EACH_MAX + 1).bytes(variable.as_bytes());
    for (name, number) in names.iter().zip(FIRST..) {
        if number > FIRST {
            out.bytes(separator);
        }
        add(out, name, number);
    }
}

/// Adds a name or an address. Bytes that are not allowed become `_`. A text that is too long is cut.
fn add(out: &mut Builder, text: &[u8], is_allowed: &dyn Fn(u8) -> bool) {
    let text = if text.is_empty() { NAMELESS } else { text };
    for byte in text.iter().take(NAME_MAX) {
        out.bytes(&[if is_allowed(*byte) { *byte } else { b'_' }]);
    }
}

/// The name of an address family in C.
fn family(address: &Address) -> &'static [u8] {
    match address.family() {
        INET => b"AF_INET",
        INET6 => b"AF_INET6",
        _ => b"AF_UNIX",
    }
}

/// Stands in an identifier between a name that others have as well and its number among them.
pub const SUFFIX: &[u8] = b"#";

/// Splits `a#10` into the name `a` and the digits `10`, by which an identifier differs from others with an
/// equal name. The first of these has no digits.
pub fn split_suffix(name: &[u8]) -> (&[u8], &[u8]) {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (front, digits) = name.split_at(name.len() - digits);
    match (front.strip_suffix(SUFFIX), digits) {
        (_, [] | [b'0', ..] | [b'1']) | (None, _) => (name, &[]),
        (Some(plain), _) => (plain, digits),
    }
}

/// What is wrong with the variables of systemd's convention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// This one is not set.
    Missing(&'static str),
    /// The value of this one is not valid.
    Invalid(&'static str),
    /// By this one the descriptors belong to another process.
    Foreign(&'static str),
}

/// The descriptors that a process got by systemd's convention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// Their number, at least one.
    pub count: u32,
    /// The names in the variable, with a `:` between them.
    names: &'static [u8],
}

impl Given {
    /// Reads an environment. `unique` returns the id that only this process ever has. This does not check
    /// whether the descriptors are open.
    pub fn parse(
        environment: Strings,
        process: u32,
        unique: impl FnOnce() -> Option<usize>,
    ) -> Result<Given, Wrong> {
        const COUNT: &str = "LISTEN_FDS";
        const PROCESS: &str = "LISTEN_PID";
        const UNIQUE: &str = "LISTEN_PIDFDID";
        const NAMES: &str = "LISTEN_FDNAMES";
        let value = |name: &str| {
            let mut strings = environment;
            strings.find_map(|it| it.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let count = value(COUNT).ok_or(Wrong::Missing(COUNT))?;
        let count = number::whole(count).filter(|count| (1..=COUNT_MAX).contains(count));
        let count = count.ok_or(Wrong::Invalid(COUNT))?;
        let whose = value(PROCESS).ok_or(Wrong::Missing(PROCESS))?;
        let whose = number::whole(whose).ok_or(Wrong::Invalid(PROCESS))?;
        if whose != process {
            return Err(Wrong::Foreign(PROCESS));
        }
        // If the kernel has no such id, the variable is not checked.
        let is_foreign = |whose| unique().is_some_and(|unique| !is_number(whose, unique));
        if value(UNIQUE).is_some_and(is_foreign) {
            return Err(Wrong::Foreign(UNIQUE));
        }
        let names = value(NAMES).unwrap_or_default();
        if names.split(|byte| *byte == b':').count() > count as usize {
            return Err(Wrong::Invalid(NAMES));
        }
        Ok(Given { count, names })
    }

    /// The names of all, in the order of the numbers.
    pub fn names(&self) -> impl Iterator<Item = &'static [u8]> {
        let names = self.names.split(|byte| *byte == b':').chain(core::iter::repeat(&b""[..]));
        let names = names.map(|name| if name.is_empty() { NAMELESS } else { name });
        names.take(self.count as usize)
    }
}

/// The most descriptors that a process can have from number 3 on: the kernel's `INT_MAX` less three.
const COUNT_MAX: u32 = i32::MAX as u32 - FIRST;

/// True if a text is this number in decimal, without leading zeros.
fn is_number(text: &[u8], number: usize) -> bool {
    let Some((digit, front)) = text.split_last() else { return false };
    let is_right = *digit == b'0' + (number % 10) as u8;
    is_right && if number < 10 { front.is_empty() } else { is_number(front, number / 10) }
}
