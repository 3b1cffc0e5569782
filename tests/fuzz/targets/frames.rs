//! Fuzzes the heads of frames, requests and replies.
#![cfg_attr(fuzzing, no_main)]

fdholder_fuzz::target!(frames);
