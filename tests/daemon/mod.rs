//! The daemon: access rules, fairness among clients, guarantees against any client, start, log and end.

mod access_control;
mod cost;
mod fair_shares;
mod guarantees;
mod hash_collisions;
mod hostile_clients;
mod lame_duck;
mod log;
mod regex_conformance;
pub mod rule_files;
mod slow_closes;
mod soak;
mod startup;
