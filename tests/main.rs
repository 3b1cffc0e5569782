//! All tests of the product, in one test program.
//!
//! | folder | what its tests protect |
//! |---|---|
//! | `protocol` | the encoding of both sides, and the exchange between our programs and those of C |
//! | `tools` | command lines, messages, exit codes, deadlines and effects of the client tools |
//! | `daemon` | access rules, fairness among clients, guarantees, start, log and end of the daemon |
//! | `limits` | few descriptors, system calls that fail, processes killed between two calls |
//! | `places` | empty containers, namespaces, old kernels, unusual environments |
//! | `fuzz` | the checks of the fuzz targets, with any bytes |
//! | `packaging` | the executable, the source and the README |
//!
//! `kit` has the code that they share: it starts daemons, tools and scripted peers. `init` has the programs
//! that `tests/initramfs.sh` boots, and `services` those that `tests/services.sh` starts.

/// Makes tests of functions. Each function runs with our tools and with the C tools of each generation.
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
