//! The fd-holding protocol: converts between bytes and values. This code uses no socket and no clock.
//! The client and the daemon share all of it.
//!
//! The protocol is that of `s6-fdholderd` in s6 2.11 to 2.15, found by reading and by running it. Every
//! number is in network byte order.
//!
//! A connection is a Unix stream socket that carries frames in both directions. A frame is a
//! [`Header`](frame::Header) of six bytes and a payload. Its descriptors travel with its first byte, in
//! one control message.
//!
//! | operation | request payload | descriptors | reply payload | descriptors |
//! |---|---|---|---|---|
//! | store | `S` entry | 1 | errno | 0 |
//! | delete | `D` idlen id NUL | 0 | errno | 0 |
//! | retrieve | `R` flag idlen id NUL; flag 1 = delete as well | 0 | errno | 1 when it is 0 |
//! | list | `L` | 0 | errno alone, or 0, u32 n, n NUL-terminated identifiers | 0 |
//! | get dump | `?` | 0 | errno alone, or 0, u32 frames, u32 entries; then the frames of entries | one per entry |
//! | set dump | `!` u32 entries | 0 | errno alone, or 0, u32 frames | 0 |
//! | its frames | `.` entries | one per entry | `EAGAIN` = more to come, 0 = complete, else errno | 0 |

pub mod activation;
pub mod address;
pub mod entry;
pub mod frame;
pub mod reply;
pub mod request;
pub mod tai;
pub mod variables;
