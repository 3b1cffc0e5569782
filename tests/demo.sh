#!/bin/sh
# Shows the main job: builds the program, fills one fd-holding daemon, transfers everything into
# another, and connects through a listening socket that has moved. The daemons are the C ones of
# Debian packages, two generations apart, as in an upgrade.
set -eu
cd "$(dirname "$0")/.."
sh tests/setup.sh
sh tests/peers.sh
cargo build --release --locked --quiet

work=$(mktemp -d)
trap 'kill $daemons 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
daemons=

# Runs a C tool of generation $1.
s6() {
    generation=target/peers/$1
    shift
    PATH="$generation/bin:$PATH" LD_LIBRARY_PATH="$generation/lib" "$@"
}

# The same in the background; its process is $!.
start() {
    generation=target/peers/$1
    shift
    PATH="$generation/bin:$PATH" LD_LIBRARY_PATH="$generation/lib" "$@" &
    daemons="$daemons $!"
}

# Everybody may do everything here.
mkdir -p "$work/rules/uid/default/env"
: >"$work/rules/uid/default/allow"
for right in GETDUMP SETDUMP LIST STORE_REGEX RETRIEVE_REGEX; do
    echo >"$work/rules/uid/default/env/S6_FDHOLDER_$right"
done
start 2.11 s6-ipcserver-socketbinder -- "$work/old" s6-fdholderd -1 -i "$work/rules" >"$work/1"
old=$!
start 2.15 s6-ipcserver-socketbinder -- "$work/new" s6-fdholderd -1 -i "$work/rules" >"$work/2"
until [ -s "$work/1" ] && [ -s "$work/2" ]; do sleep 0.01; done

echo "The old daemon gets a listening socket, a pipe and a log that expires in an hour:"
s6 2.11 s6-ipcserver-socketbinder -- "$work/service" s6-fdholder-store "$work/old" unix:service
echo "something to read" | s6 2.11 s6-fdholder-store "$work/old" 'a pipe'
s6 2.11 s6-fdholder-store -d 1 -T 3600000 "$work/old" 'log, for an hour' >"$work/log"
s6 2.11 s6-fdholder-list "$work/old" | sed 's/^/    /'

echo "\$ s6-fdholder-transferdump $work/old $work/new"
ln -s "$PWD/target/release/fdholder" "$work/s6-fdholder-transferdump"
"$work/s6-fdholder-transferdump" "$work/old" "$work/new"

echo "The old daemon is stopped. The new one has:"
kill "$old"
s6 2.15 s6-fdholder-list "$work/new" | sed 's/^/    /'
echo "and, as s6-fdholder-getdump puts it:"
s6 2.15 s6-fdholder-getdump "$work/new" env |
    sed -n 's/^\(S6_FDID\|S6_FDLIMIT\)_/    &/p' | sort

echo "The pipe says: $(s6 2.15 s6-fdholder-retrieve "$work/new" 'a pipe' cat)"
start 2.15 s6-fdholder-retrieve "$work/new" unix:service \
    s6-ipcserverd sh -c 'echo "hello from a socket that has moved"'
echo "A client of the service hears: $(s6 2.15 s6-ipcclient "$work/service" sh -c 'cat <&6')"
