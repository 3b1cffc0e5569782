#!/bin/sh
# Shows the main purpose, with nothing but Rust: builds the program, fills one daemon, transfers
# everything to another, and connects through listening sockets that have moved. In the end a third
# daemon serves on one of them. If this machine has python3, its HTTP server serves on the other.
set -eu
cd "$(dirname "$0")/.."
sh tests/setup.sh cc
cargo build --release --locked --quiet

work=$(mktemp -d)
daemons=
trap 'kill $daemons 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
for tool in $(target/release/fdholder --list); do
    ln -s "$PWD/target/release/fdholder" "$work/$tool"
done
PATH=$work:$PATH
cd "$work"

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

# Checks that $1 equals $2.
same() {
    [ "$1" = "$2" ] || fail "\"$1\" instead of \"$2\""
}

# Starts a daemon in the background and waits until it is ready. Its process is $!.
start() {
    "$@" >ready &
    daemons="$daemons $!"
    tries=0
    until [ -s ready ]; do
        tries=$((tries + 1))
        { [ "$tries" -lt 1000 ] && kill -0 $! 2>/dev/null; } || fail "no daemon: $*"
        sleep 0.01
    done
    rm ready
}

# Every client has all rights.
mkdir -p rules/uid/default/env
: >rules/uid/default/allow
for right in GETDUMP SETDUMP LIST STORE_REGEX RETRIEVE_REGEX; do
    echo >"rules/uid/default/env/S6_FDHOLDER_$right"
done
start s6-fdholder-daemon -1 -i rules old
old=$!
start s6-fdholder-daemon -1 -i rules new

echo "The old daemon gets two listening sockets, a pipe and a log that expires in an hour:"
fdholder-listen old unix:service unix:service
# A start script does so every time; what is held stays.
fdholder-listen old unix:service unix:service
port=8080
until fdholder-listen old web "tcp:127.0.0.1:$port" 2>error; do
    { grep -q 'in use' error && [ "$port" -lt 8180 ]; } || fail "$(cat error)"
    port=$((port + 1))
done
echo "something to read" | s6-fdholder-store old 'a pipe'
s6-fdholder-store -d 1 -T 3600000 old 'log, for an hour' >log
s6-fdholder-list old | sort >before
sed 's/^/    /' before

echo "\$ s6-fdholder-transferdump old new"
s6-fdholder-transferdump old new

kill "$old"
wait "$old" || fail "the old daemon ended with $?"
echo "The old daemon is stopped. The new one has:"
s6-fdholder-list new | sort >after
sed 's/^/    /' after
same "$(cat after)" "$(cat before)"
echo "and, as s6-fdholder-getdump puts it:"
s6-fdholder-getdump new env | sed -n 's/^\(S6_FDID\|S6_FDLIMIT\)_/    &/p' | sort >dump
cat dump
same "$(grep -c FDID dump) $(grep -c FDLIMIT dump)" "4 1"

text=$(s6-fdholder-retrieve new 'a pipe' cat)
echo "The pipe says: $text"
same "$text" "something to read"
s6-fdholder-retrieve new 'log, for an hour' sh -c 'echo "a line" >&0'
same "$(cat log)" "a line"

# A service retrieves from the new daemon the socket that was made for the old one.
start s6-fdholder-retrieve new unix:service s6-fdholderd -1 -i rules
echo "hello from a socket that has moved" | s6-fdholder-store service greeting
text=$(s6-fdholder-retrieve service greeting cat)
echo "A client of the service hears: $text"
same "$text" "hello from a socket that has moved"

if ! command -v python3 >/dev/null; then
    echo "This machine has no python3 whose HTTP server could serve on the other socket."
    exit
fi
cat >serve.py <<'END'
from http.server import HTTPServer, SimpleHTTPRequestHandler
from socket import socket

server = HTTPServer(None, SimpleHTTPRequestHandler, bind_and_activate=False)
server.socket.close()
server.socket = socket(fileno=3)
server.serve_forever()
END
cat >get.py <<'END'
import sys
from http.client import HTTPConnection

client = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
client.request("GET", "/log")
print(client.getresponse().read().decode(), end="")
END
fdholder-activate new web -- python3 serve.py 2>/dev/null &
daemons="$daemons $!"
text=$(python3 get.py "$port")
echo "A client of python3's HTTP server gets: $text"
same "$text" "a line"
