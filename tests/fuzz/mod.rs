//! Runs the checks of the fuzz targets on their corpora. The folder is also the package of the fuzz targets,
//! whose root is `lib.rs`.

pub mod checks;
mod corpus_replay;
