#!/bin/sh
# Runs code that needs few system calls in Miri, an interpreter that finds undefined behaviour: the
# checks of some fuzz targets, on their corpora. It needs a nightly Rust with `miri` and `rust-src`.
set -eu
cd "$(dirname "$0")/.."
# Addresses of mappings come from the kernel as numbers, so the program makes pointers of numbers.
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance"
# It does not optimize, and warns if it is told to.
export CARGO_PROFILE_DEV_OPT_LEVEL=0
for target in ${*:-frames entries getopt regex cdb table}; do
    echo "$target:"
    find "$PWD/tests/fuzz/corpus/$target" -type f -exec \
        cargo +nightly miri run --locked --quiet -p fdholder-fuzz --bin "$target" \
        --target-dir target/miri -- {} +
done
