#!/bin/sh
# Prints the figures of the README afresh: against the C programs, by tool, by part of the source, and
# by processor.
set -eu
cd "$(dirname "$0")/.."
sh tests/setup.sh cc strace
sh tests/peers.sh
cargo bench --locked
sh tests/cross.sh
