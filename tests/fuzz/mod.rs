//! What the fuzz targets check, run on their corpora. The folder is also the package of the targets
//! themselves, which is rooted in `lib.rs`.

pub mod checks;
mod corpus_replay;
