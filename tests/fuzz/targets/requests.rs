//! Fuzzes the daemon's clients, their requests and its table.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(requests);
