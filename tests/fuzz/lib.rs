//! The common part of all fuzz targets. `checks` contains what they check. The test program runs the checks
//! too, with the corpora and with random bytes.

#[path = "checks/mod.rs"]
pub mod checks;
pub mod kit;

/// Makes a fuzz target of the check with this name. Without a fuzzer the program checks the files that its
/// arguments name.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::note(bytes);
            $crate::checks::$name::check(bytes)
        });

        #[cfg(not(fuzzing))]
        fn main() {
            for path in std::env::args_os().skip(1) {
                $crate::checks::$name::check(&std::fs::read(path).unwrap());
            }
        }
    };
}

/// Writes an input to the file that `FDHOLDER_INPUT` names before it is checked. A bug that the product
/// notices ends the process at once, so that the fuzzer itself cannot save the input.
pub fn note(bytes: &[u8]) {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE
        .get_or_init(|| std::env::var_os("FDHOLDER_INPUT").map(|path| File::create(path).unwrap()));
    if let Some(file) = file {
        file.write_all_at(bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
}
