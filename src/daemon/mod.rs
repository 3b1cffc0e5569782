//! The server side: so far, how it knows who may do what.

pub mod cdb;
pub mod regex;
pub mod rules;
