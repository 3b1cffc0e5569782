//! Where the programs run: empty containers, namespaces, old kernels, odd clocks and sockets, and one
//! process for several of them.

mod daemon_surroundings;
mod empty_container;
mod old_kernels;
mod one_process;
mod tool_surroundings;
