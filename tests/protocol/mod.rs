//! Both sides of the protocol. What one side encodes, the other side decodes. Our daemon answers like the
//! C daemons. Daemons of all generations exchange dumps.

mod activation;
mod address;
mod codec;
pub mod daemon_conformance;
pub mod interoperability;
