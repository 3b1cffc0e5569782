#!/bin/sh
# Runs what needs no system calls to speak of in Miri, the interpreter that finds undefined behaviour:
# the checks of some fuzz targets, on their corpora. Takes a nightly Rust with `miri` and `rust-src`.
set -eu
cd "$(dirname "$0")/.."
# The memory comes from the kernel as a number, so pointers are made of numbers.
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance"
for target in ${*:-frames entries getopt regex cdb table}; do
    echo "$target:"
    find "$PWD/tests/fuzz/corpus/$target" -type f -exec \
        cargo +nightly miri run --locked --quiet -p fdholder-fuzz --bin "$target" \
        --target-dir target/miri -- {} +
done
