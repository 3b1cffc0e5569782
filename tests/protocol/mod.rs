//! Both sides of the protocol: what is encoded is decoded alike, our daemon answers as those of C do, and
//! dumps pass between daemons of every generation.

mod activation;
mod address;
mod codec;
pub mod daemon_conformance;
pub mod interoperability;
