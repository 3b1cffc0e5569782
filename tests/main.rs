//! Everything that exercises the product, in one test program.
//!
//! | folder | what its tests protect |
//! |---|---|
//! | `protocol` | the encoding of both sides, and that ours and those of C understand each other |
//! | `tools` | the command line, messages, exit codes, deadlines and effects of each client tool |
//! | `daemon` | access rules, fairness among clients, what is held, start, log and end |
//! | `limits` | few descriptors, calls to the kernel that fail, death between two calls |
//! | `places` | empty containers, namespaces, old kernels, unusual surroundings |
//! | `fuzz` | any bytes at all: what the fuzz targets check |
//! | `packaging` | the executable, the source and the README |
//!
//! `kit` is what they share: daemons, tools and peers to talk to. `init` is what `tests/initramfs.sh`
//! boots.

/// Makes tests out of functions: each is run for every implementation.
macro_rules! for_each_implementation {
    ($($name:ident)*) => { $(
        mod $name {
            use crate::kit::clients::Implementation::{C, Ours};
            use crate::kit::daemon::Generation::{S6_2_11, S6_2_13, S6_2_15};

            #[test]
            fn ours() {
                super::$name(Ours);
            }

            #[test]
            fn c_2_11() {
                super::$name(C(S6_2_11));
            }

            #[test]
            fn c_2_13() {
                super::$name(C(S6_2_13));
            }

            #[test]
            fn c_2_15() {
                super::$name(C(S6_2_15));
            }
        }
    )* };
}

mod daemon;
mod fuzz;
mod kit;
mod limits;
mod packaging;
mod places;
mod protocol;
mod tools;
