//! Fuzzes regular expressions.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(regex);
