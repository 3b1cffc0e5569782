//! Environments: empty containers, namespaces, old kernels, unusual clocks and sockets, and several tools in
//! one process.

mod daemon_surroundings;
mod empty_container;
mod old_kernels;
mod one_process;
mod tool_surroundings;
