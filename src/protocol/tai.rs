//! TAI64N labels, the dates of the protocol.
//!
//! A label has twelve bytes in network byte order: 64 bits of seconds, and 32 bits of nanoseconds below
//! 10^9. Labels compare bytewise like the dates. The seconds are TAI, counted from 2^62: they include
//! the ten seconds that TAI was ahead of UTC at the start of 1972, and every leap second since. The
//! tools of s6 count the leap seconds too. So the label of a date is 2^62 + 10 + Unix time + the number
//! of earlier leap seconds, which is 2^62 + 37 + Unix time since 2017 (measured on s6 2.11, 2.13 and
//! 2.15).

use crate::sys::time::Time;

/// A TAI64N label.
pub type Label = [u8; 12];

/// The label of Unix time 0, without leap seconds.
const EPOCH: u64 = (1 << 62) + 10;

/// The distance of "never" from now, in seconds.
const NEVER: u64 = 1 << 61;

/// The days, counted from 1970-01-01, that began just after a leap second.
static LEAP_DAYS: [u16; 27] = [
    912,    // 1972-07-01
    1_096,  // 1973-01-01
    1_461,  // 1974-01-01
    1_826,  // 1975-01-01
    2_191,  // 1976-01-01
    2_557,  // 1977-01-01
    2_922,  // 1978-01-01
    3_287,  // 1979-01-01
    3_652,  // 1980-01-01
    4_199,  // 1981-07-01
    4_564,  // 1982-07-01
    4_929,  // 1983-07-01
    5_660,  // 1985-07-01
    6_574,  // 1988-01-01
    7_305,  // 1990-01-01
    7_670,  // 1991-01-01
    8_217,  // 1992-07-01
    8_582,  // 1993-07-01
    8_947,  // 1994-07-01
    9_496,  // 1996-01-01
    10_043, // 1997-07-01
    10_592, // 1999-01-01
    13_149, // 2006-01-01
    14_245, // 2009-01-01
    15_522, // 2012-07-01
    16_617, // 2015-07-01
    17_167, // 2017-01-01
];

/// True if the nanoseconds are below 10^9 and the seconds below 2^63.
pub fn is_valid(label: &Label) -> bool {
    let [first, .., a, b, c, d] = *label;
    first < 0x80 && u32::from_be_bytes([a, b, c, d]) < 1_000_000_000
}

/// The label of a Unix time. The nanoseconds must be below 10^9.
pub fn label(time: Time) -> Label {
    let leaps = LEAP_DAYS.iter().filter(|day| time.seconds >= i64::from(**day) * 86400).count();
    let seconds = EPOCH.wrapping_add_signed(time.seconds).wrapping_add(leaps as u64);
    let mut label = [0; 12];
    let (head, tail) = label.split_at_mut(8);
    head.copy_from_slice(&seconds.to_be_bytes());
    tail.copy_from_slice(&(time.nanoseconds as u32).to_be_bytes());
    label
}

/// The label for "never": 2^61 seconds from now.
pub fn never(now: Time) -> Label {
    label(Time { seconds: now.seconds.wrapping_add_unsigned(NEVER), ..now })
}

/// The label of `milliseconds` from now; 0 is never.
pub fn after(milliseconds: u32, now: Time) -> Label {
    if milliseconds == 0 {
        return never(now);
    }
    label(now.plus(Time::from_milliseconds(milliseconds)))
}

/// The seconds and the nanoseconds of a label.
pub fn order(label: &Label) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *label;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

/// True if the date is 2^60 seconds or more after 1970: no clock reaches it.
pub fn is_far_off(label: &Label) -> bool {
    label[0] >= ((EPOCH + NEVER / 2) >> 56) as u8
}

/// True if a label means "never": it is more than 2^60 seconds from now.
pub fn is_never(label: &Label, now: Time) -> bool {
    let seconds = label.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    seconds > (EPOCH + NEVER / 2).wrapping_add_signed(now.seconds)
}
