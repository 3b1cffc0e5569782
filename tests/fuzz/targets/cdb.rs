//! Fuzzes constant databases and the rules in them.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(cdb);
