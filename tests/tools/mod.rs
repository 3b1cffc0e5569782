//! The client tools: command lines, messages and exit codes, deadlines, the environment of the programs that
//! they execute, and hostile daemons.

mod adopt;
mod adopt_refusals;
mod command_lines;
mod deadlines;
mod first_client;
mod handover_to_prog;
mod hostile_replies;
mod hostile_transfers;
mod import;
pub mod listen;
mod listen_races;
mod lost_sockets;
mod own_command_lines;
mod setdump;
mod socket_activation;
mod store_delete_list;
mod usage_and_refusals;
