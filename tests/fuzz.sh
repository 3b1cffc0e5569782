#!/bin/sh
# Fuzzes all targets, or those named after the first argument, for the given number of seconds in total:
# sh tests/fuzz.sh 3600. New inputs go to target/fuzz/corpus. A failure stops it, and the input is in
# target/fuzz. `sh tests/fuzz.sh merge` then copies the inputs that reach more code into
# tests/fuzz/corpus.
#
# RUSTFLAGS can have more flags. Stable Rust checks addresses too, with RUSTC_BOOTSTRAP=1
# RUSTFLAGS=-Zsanitizer=address.
set -eu
cd "$(dirname "$0")/.."
what=${1:?seconds, or merge}
shift
[ $# -gt 0 ] || set -- frames entries getopt regex cdb table requests

# libFuzzer is C++. Its runtime is built together with the targets.
sh tests/setup.sh cc c++
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, the flags do not apply to build scripts.
RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Ccodegen-units=1 $coverage" \
    CARGO_PROFILE_DEV_OPT_LEVEL=2 \
    cargo build --locked --quiet -p fdholder-fuzz --target "$host" --target-dir target/fuzz/build
for target; do
    program=target/fuzz/build/$host/debug/$target
    found=target/fuzz/corpus/$target
    kept=tests/fuzz/corpus/$target
    mkdir -p "$found" "$kept"
    if [ "$what" = merge ]; then
        # Inputs that reach no code of their own are left out.
        "$program" -set_cover_merge=1 -use_counters=0 -use_cmp=0 "$kept" "$found" \
            2>target/fuzz/merge.log
        continue
    fi
    echo "$target:"
    # The daemon's code ends the process at a bug. The input is in this file then.
    FDHOLDER_INPUT=target/fuzz/$target.last "$program" -max_total_time=$((what / $#)) -timeout=20 \
        -max_len=1000 -verbosity=0 -print_final_stats=1 -artifact_prefix="target/fuzz/$target-" \
        "$found" "$kept" || {
        echo "$target ended with $?: see target/fuzz/$target*" >&2
        exit 1
    }
done
