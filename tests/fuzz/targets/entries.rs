//! Fuzzes entries of dumps, and frames made of them.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(entries);
