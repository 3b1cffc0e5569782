#!/bin/sh
# Installs the programs named as arguments that are missing, from Debian packages. Only root can do
# that; for other users it prints the missing packages and fails.
set -eu

missing=
for program; do
    command -v "$program" >/dev/null && continue
    case $program in
        c++) packages=g++ ;;
        cc) packages="gcc libc6-dev" ;;
        debootstrap | make | strace) packages=$program ;;
        qemu-system-x86_64) packages=qemu-system-x86 ;;
        strip) packages=binutils ;;
        *)
            echo "setup.sh: no package is known for $program" >&2
            exit 1
            ;;
    esac
    missing="$missing $packages"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "setup.sh: these Debian packages are missing:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Retries=3 update
# apt-get's output matters only if it fails.
# shellcheck disable=SC2086 # a list of packages
said=$(apt-get -qq -o Acquire::Retries=3 install --no-install-recommends $missing 2>&1) || {
    echo "$said" >&2
    echo "setup.sh: apt-get cannot install$missing" >&2
    exit 1
}
