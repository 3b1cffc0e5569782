//! Fuzzes command lines.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(getopt);
