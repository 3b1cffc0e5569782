#!/bin/sh
# Measures the figures of the README again: compared with the C programs, by tool, by part of the
# source, and by processor.
set -eu
cd "$(dirname "$0")/.."
sh tests/setup.sh cc strace
sh tests/peers.sh
cargo bench --locked
sh tests/cross.sh
