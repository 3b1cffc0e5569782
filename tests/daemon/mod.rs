//! What the daemon does for its clients: who may do what, what it keeps to whatever they do, how it
//! starts, logs and ends.

mod access_control;
mod cost;
mod fair_shares;
mod guarantees;
mod hash_collisions;
pub mod hostile_clients;
mod lame_duck;
mod log;
mod regex_conformance;
pub mod rule_files;
mod slow_closes;
mod soak;
mod startup;
