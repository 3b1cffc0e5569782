//! Fuzzes the daemon's table, by requests without sockets.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(table);
