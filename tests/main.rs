//! Everything that exercises the product, in one test program.

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

mod access;
mod cases;
#[path = "fuzz/checks/mod.rs"]
mod checks;
mod clients;
mod closing;
mod codec;
mod container;
mod daemon;
mod daemon_faults;
mod daemon_surroundings;
mod deadlines;
mod exec;
mod faults;
mod fuzz;
mod hash;
mod hostile;
mod image;
mod interop;
mod kills;
mod kit;
mod lame_duck;
mod limits;
mod log;
mod old_kernels;
mod one_process;
mod places;
#[path = "../src/build/processor.rs"]
mod processor;
mod promises;
mod readme;
mod regex;
mod replies;
mod rules;
mod setdump;
mod siege;
mod soak;
mod source;
mod starting;
mod store;
mod surroundings;
