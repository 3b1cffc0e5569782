//! Both sides of the protocol. What one side encodes, the other side decodes. Our daemon answers like the
//! C daemons. Daemons of all generations exchange dumps.

mod activation;
mod address;
mod codec;
mod daemon_conformance;
mod interoperability;
