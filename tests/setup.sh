#!/bin/sh
# Installs what the tests need besides Rust, as far as it is missing: a C linker driver, strace, and
# the packages that are named as arguments. Root alone can do that; others are told what is missing.
set -eu

missing=${*:+ $*}
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v strace >/dev/null || missing="$missing strace"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "setup.sh: these Debian packages are missing:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of packages
apt-get -qq install --no-install-recommends $missing >/dev/null
