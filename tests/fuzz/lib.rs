//! What all fuzz targets have in common. What they check is in `checks`, which the test program
//! runs as well, with the corpora and with random bytes.

#[path = "checks/mod.rs"]
pub mod checks;
pub mod kit;

/// Makes a target out of the check of that name. Without a fuzzer it checks the files that are its
/// arguments.
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

/// Leaves an input in the file that `FDHOLDER_INPUT` names before it is used: a mistake that the
/// product notices ends the process at once, and the fuzzer with it.
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
