#!/bin/sh
# Fuzzes all targets, so many seconds in all: sh tests/fuzz.sh 3600. Behind that some can be named.
# What they find goes to target/fuzz/corpus; whatever is wrong stops it, and the input lies in
# target/fuzz. `sh tests/fuzz.sh merge` then takes what is worth keeping into tests/fuzz/corpus.
#
# More flags for the compiler can be in RUSTFLAGS: stable Rust checks addresses as well, with
# RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address.
set -eu
cd "$(dirname "$0")/.."
what=${1:?seconds, or merge}
shift
[ $# -gt 0 ] || set -- frames entries getopt regex cdb table requests

# libFuzzer is C++. Its runtime is built along with the targets.
sh tests/setup.sh cc c++
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target named, the flags are not for programs that only build.
RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Ccodegen-units=1 $coverage" \
    CARGO_PROFILE_DEV_OPT_LEVEL=2 \
    cargo build --locked --quiet -p fdholder-fuzz --target "$host" --target-dir target/fuzz/build
for target; do
    program=target/fuzz/build/$host/debug/$target
    found=target/fuzz/corpus/$target
    kept=tests/fuzz/corpus/$target
    mkdir -p "$found" "$kept"
    if [ "$what" = merge ]; then
        # What reaches nothing that another input does not reach is left out.
        "$program" -set_cover_merge=1 -use_counters=0 -use_cmp=0 "$kept" "$found" \
            2>target/fuzz/merge.log
        continue
    fi
    echo "$target:"
    # The daemon's code ends the process at mistakes of its own: then this is the last input.
    FDHOLDER_INPUT=target/fuzz/$target.last "$program" -max_total_time=$((what / $#)) -timeout=20 \
        -max_len=1000 -verbosity=0 -print_final_stats=1 -artifact_prefix="target/fuzz/$target-" \
        "$found" "$kept" || {
        echo "$target ended with $?: see target/fuzz/$target*" >&2
        exit 1
    }
done
