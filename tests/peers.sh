#!/bin/sh
# Fetches the C tools that the tests talk to: s6 of three generations, each with its libraries. They are
# from Debian packages, unpacked into target/peers/2.11, 2.13 and 2.15, and run side by side on Debian
# 12 and later. Nothing is installed, and apt's own state does not change.
#
# FDHOLDER_PEERS names another folder than target/peers. The tests need the same setting.
set -eu
umask 022

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
peers=${FDHOLDER_PEERS:-$root/target/peers}
mkdir -p "$peers"
peers=$(CDPATH= cd -- "$peers" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "peers.sh: $*" >&2
    exit 1
}

. "$root/tests/apt.sh"

# True if the generation in the folder $1 exists and runs: without arguments the daemon prints its usage
# and exits with 100.
runs() {
    code=0
    LD_LIBRARY_PATH="$1/lib" "$1/bin/s6-fdholderd" >"$work/said" 2>&1 || code=$?
    [ "$code" = 100 ]
}

# Fetches the generation $2 from the suite $1. $3 is the oldest version that will do.
fetch() {
    suite=$1 generation=$2 oldest=$3
    if [ -e "$peers/$generation/version" ] && runs "$peers/$generation"; then
        echo "s6 $generation: $(cat "$peers/$generation/version") is there already"
        return
    fi
    choose "$suite"
    apt-cache show s6 >"$work/about" || fail "no s6 in $suite ($mirror)"
    version=$(sed -n 's/^Version: //p' "$work/about" | sed -n 1p)
    case $version in
        "$generation".*) ;;
        *) fail "$suite has s6 $version, which is not of generation $generation" ;;
    esac
    dpkg --compare-versions "$version" ge "$oldest" ||
        fail "$suite has s6 $version, older than $oldest: is $mirror out of date?"

    libraries=$(sed -n 's/^Depends: //p' "$work/about" | sed -n 1p | tr ',' '\n' |
        sed -n 's/^ *\(lib\(s6\|skarnet\|execline\)[^ ]*\).*/\1/p')
    # shellcheck disable=SC2086 # a list of packages
    unpack "$suite" "$work/$suite/tree" s6 execline $libraries
    library=$(cd "$work/$suite/tree" && find . -name 'libs6.so.*' | sed -n 1p)
    [ -n "$library" ] || fail "the packages of $suite have no libs6"
    [ -e "$work/$suite/tree/bin" ] || ln -s usr/bin "$work/$suite/tree/bin"
    ln -s "$(dirname "$library")" "$work/$suite/tree/lib"
    runs "$work/$suite/tree" || fail "s6 $version does not run here: $(cat "$work/said")"
    echo "$version" >"$work/$suite/tree/version"

    # The folder gets its name last, so that it is complete if it exists.
    rm -rf "$peers/$generation" "$peers/.$generation"
    cp -R "$work/$suite/tree" "$peers/.$generation"
    mv "$peers/.$generation" "$peers/$generation"
    echo "s6 $generation: $version fetched"
}

fetch bookworm 2.11 2.11.3.2
fetch trixie 2.13 2.13.1.0
fetch forky 2.15 2.15.1.0
