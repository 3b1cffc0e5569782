//! Runs the checks of the fuzz targets without a fuzzer: with their corpora, with a few bytes of these
//! changed, and with random bytes. `tests/fuzz.sh` runs the fuzzer.

use crate::fuzz::checks;
use crate::kit::tool::in_own_process;
use crate::kit::{random_cases, source};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::fs;

/// The number of inputs in addition to the corpus.
const CASES: u32 = 2000;

/// The corpus of a target: inputs that the fuzzer has found, and inputs that once failed.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = source().join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        // The test runner prints this if the check fails.
        println!("{}", input.escape_ascii());
        check(input);
    }
    let known = (any::<Index>(), vec((any::<Index>(), any::<u8>()), 0..4), any::<Index>());
    let known = known.prop_map(move |(number, changes, end)| {
        let mut input = corpus[number.index(corpus.len())].clone();
        for (position, byte) in changes {
            let length = input.len().max(1);
            input.resize(length, 0);
            input[position.index(length)] = byte;
        }
        // Half of them are truncated.
        input.truncate(2 * end.index(input.len() + 1));
        input
    });
    let input = prop_oneof![3 => known, 1 => vec(any::<u8>(), 0..200)];
    let config = random_cases(CASES);
    let done = TestRunner::new(config).run(&input, |input| {
        check(&input);
        Ok(())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

/// Makes a test of each target.
macro_rules! replay {
    ($($target:ident)*) => { $(
        #[test]
        fn $target() {
            let target = stringify!($target);
            in_own_process(module_path!(), target, || replay(target, checks::$target::check));
        }
    )* };
}

replay! { frames entries getopt regex cdb table requests }
