#!/bin/sh
# Shows that the tools work with programs that know nothing of s6: nginx, HAProxy, Starlet, gunicorn,
# systemd's Python module, systemd-socket-activate, a Rust program with the crate listenfd. Each function
# below "What is shown" proves what is said above it. Then all files in the README's section "Keep a
# service's sockets open while it restarts" are used as they are there, with s6, runit, OpenRC and buildah:
# tests/services/readme.sh has these functions.
#
# All programs are from Debian packages, which are unpacked into target/services and not installed. They run
# with that folder as their root directory, in namespaces of their own: they have no network but 127.0.0.1
# and ::1, and no process remains. This takes root. What is shown is shown as root and as an ordinary user,
# the README as root.
set -eu
umask 022

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
services=$root/tests/services
unpacked=$root/target/services
restarts=5
address=127.0.0.1:8080
port=8080

fail() {
    echo "services.sh: $*" >&2
    exit 1
}

. "$root/tests/apt.sh"
. "$services/readme.sh"

# Fetches the Debian packages, once.
fetch() {
    [ ! -e "$unpacked" ] || return 0
    rm -rf "$unpacked.part"
    choose bookworm
    unpack_system bookworm "$unpacked.part" buildah busybox-static gunicorn haproxy nginx-light openrc \
        python3-systemd runit s6 starlet systemd
    mv "$unpacked.part" "$unpacked"
}

# Checks that $1 equals $2.
same() {
    [ "$1" = "$2" ] || fail "\"$1\" instead of \"$2\""
}

# Waits until a command succeeds. The caller has a deadline.
until_true() {
    until "$@"; do
        sleep 0.02
    done
}

# True if a socket listens at the port $1.
listens() {
    [ -n "$(queue "$1")" ]
}

# True if a client waits at the port $1: it has connected, and no server has accepted it.
client_waits() {
    kill -0 "$client" || fail "the client has ended: $(cat <&5)"
    [ "$((0x0$(queue "$1")))" != 0 ]
}

# Prints how many clients wait at the port $1, in hexadecimal, if a socket listens there.
queue() {
    awk -v port="$(printf ':%04X$' "$1")" '
        $2 ~ port && $4 == "0A" { split($5, queues, ":"); print queues[2]; exit }' /proc/net/tcp
}

# Starts a client of the server at $1, which connects repeatedly. With $2 it ends after $2 answers.
connect() {
    mkfifo lines
    python3 "$services/client.py" "$@" >lines &
    client=$!
    exec 5<lines
    rm lines
}

# Waits until another process than before has answered the client.
served() {
    read -r line <&5 || fail "the client has ended"
    case $line in
        "served by "*) ;;
        *) fail "the client says: $line" ;;
    esac
}

# Waits for the end of a client. It must report no connection that was refused or lost.
all_answered() {
    line=
    while [ "${line#answers: }" = "$line" ]; do
        read -r line <&5 || fail "the client has ended"
        case $line in
            "served by "* | "answers: "*) ;;
            *) fail "the client says: $line" ;;
        esac
    done
    wait "$client" || fail "the client ends with $?"
}

# Ends a client that would connect for ever.
disconnect() {
    kill "$client" 2>/dev/null || :
    all_answered
}

# Starts a server and a client that connects repeatedly. Then, several times, ends the server by the signal
# $1, waits until a client waits for the next server, and starts that.
restart() {
    signal=$1
    shift
    "$@" &
    server=$!
    connect "$address"
    served
    for again in $(seq "$restarts"); do
        kill -s "$signal" "$server"
        wait "$server" || fail "the server ends with $?"
        until_true client_waits "$port"
        "$@" &
        server=$!
        served
    done
    disconnect
}

# ---- What is shown.

# nginx is restarted without a refused connection, with the variable NGINX, by which an nginx otherwise
# takes the sockets of an older one. It opens no socket of its own: the port is in use.
nginx_restarts() {
    cp "$services/nginx.conf" .
    fdholder-listen s web "tcp:$address"
    restart QUIT fdholder-activate -e nginx s web -- nginx -p . -c nginx.conf -g 'daemon off;'
}

# HAProxy is restarted without a refused connection. It takes the descriptor by its number.
haproxy_restarts() {
    fdholder-listen s web "tcp:$address"
    restart USR1 fdholder-activate s web -- haproxy -db -f "$services/haproxy.cfg"
}

# Starlet is restarted without a refused connection. Its Server::Starter reads SERVER_STARTER_PORT.
starlet_restarts() {
    fdholder-listen s web "tcp:$address"
    restart TERM fdholder-activate -e starter s web -- \
        plackup -s Starlet --max-workers 1 -E deployment "$services/app.psgi"
}

# systemd's Python module finds all descriptors by the names that -n gives them, or by their identifiers
# behind a prefix, and the descriptors are the same.
python_finds_names() {
    fdholder-listen s service-web "tcp:$address"
    fdholder-listen s service-log unix-dgram:log
    mkfifo pipe
    s6-fdholder-store s service-pipe <>pipe
    same "$(fdholder-activate -n a::c s service-log service-pipe service-web -- python3 "$services/names.py")" \
        "3 a unix datagram socket
4 unknown pipe
5 c tcp listener"
    same "$(fdholder-activate -p service- s -- python3 "$services/names.py")" "3 log unix datagram socket
4 pipe pipe
5 web tcp listener"
}

# A program with the crate listenfd takes a TCP socket and a Unix socket, and serves on both.
listenfd_serves() {
    fdholder-listen s web "tcp:$address"
    fdholder-listen s control unix:control
    fdholder-activate s web control -- fdholder-listenfd &
    server=$!
    for at in "$address" control; do
        connect "$at" 1
        served
        same "$line" "served by $server"
        all_answered
    done
    wait "$server" || fail "the server ends with $?"
}

# fdholder-import stores the sockets that systemd-socket-activate has opened. A client made it start the
# program. After both have ended, the next program serves this client.
import_keeps_the_client() {
    systemd-socket-activate --fdname=web:control -l "$address" -l "$PWD/control" \
        fdholder-import -p service: s &
    importer=$!
    until_true listens "$port"
    connect "$address" 1
    wait "$importer" || fail "fdholder-import ends with $?"
    same "$(s6-fdholder-list s | LC_ALL=C sort | tr '\n' ' ')" "service:control service:web "
    client_waits "$port" || fail "no client waits"
    fdholder-activate s service:web service:control -- fdholder-listenfd &
    server=$!
    served
    all_answered
    connect "$PWD/control" 1
    served
    all_answered
    wait "$server" || fail "the server ends with $?"
}

# fdholder-adopt takes the socket of an nginx that knows nothing of it. That nginx is killed with all its
# workers. A client that connects after that is served by the next nginx.
adopt_outlives_nginx() {
    cp "$services/nginx.conf" .
    setsid nginx -p . -c nginx.conf -g 'daemon off;' &
    server=$!
    until_true listens "$port"
    connect "$address" 1
    served
    first=$line
    all_answered
    same "$(fdholder-adopt -n s "$server")" "tcp:$address"
    fdholder-adopt s "$server"
    # Kill the whole process group.
    kill -KILL "-$server"
    wait "$server" || :
    connect "$address" 1
    until_true client_waits "$port"
    fdholder-activate -e nginx s "tcp:$address" -- nginx -p . -c nginx.conf -g 'daemon off;' &
    served
    [ "$line" != "$first" ] || fail "served by the nginx that was killed"
    all_answered
}

# With -w a server is started when a client has connected, and not before. Here it serves one client and
# ends, and would fail without one. 50 connections of two clients take 50 starts, and none is refused or lost.
first_client_starts() {
    fdholder-listen s web "tcp:$address"
    fdholder-activate -w s web -- python3 "$services/once.py" &
    server=$!
    until_true waits "$server"
    connect "$address" 1
    served
    all_answered
    wait "$server" || fail "the server ends with $?"

    for number in $(seq 50); do
        fdholder-activate -w s web -- python3 "$services/once.py" || exit 1
    done &
    server=$!
    python3 "$services/client.py" "$address" 25 >other &
    other=$!
    python3 "$services/client.py" "$address" 25 >one || fail "a client: $(cat one)"
    wait "$other" || fail "a client: $(cat other)"
    wait "$server" || fail "a server ends with an error"
    same "$(grep -h served one other | sort -u | grep -c .)" 50
}

# True if the process $1 waits for a client. It does that with a descriptor that reports signals.
waits() {
    kill -0 "$1" || fail "fdholder-activate has ended"
    ls -l "/proc/$1/fd" | grep -q signalfd
}

# ---- How it is run.

# The deadline for each function, in seconds. An idle machine needs a tenth of it.
deadline=120

# Runs the function $3, by the function $2, as the user $1 in a folder of its own. Prints its output only if
# it fails.
shown() {
    folder=$work/$3-$1
    mkdir "$folder"
    chown "$1:$1" "$folder"
    cd "$folder"
    code=0
    setpriv "--reuid=$1" "--regid=$1" --clear-groups timeout "$deadline" sh "$0" "$2" "$3" >said 2>&1 ||
        code=$?
    if [ "$code" != 0 ]; then
        cat said >&2
        [ "$code" != 124 ] || fail "$3, user $1: not done after $deadline seconds; what it says is above"
        fail "$3, user $1: failed; what it says is above"
    fi
    echo "services $3, user $1: pass"
}

# Ends all processes that this shell has started.
finish() {
    # A command substitution would be another shell, which has started none.
    jobs -p >started
    # shellcheck disable=SC2046 # a list of numbers
    kill $(cat started) 2>/dev/null || :
    wait
}

# Runs the function $1, and ends what it has started.
alone() {
    trap finish EXIT
    "$1"
}

# Does the same, with a daemon on the socket s.
with_daemon() {
    rules
    mkfifo ready
    trap finish EXIT
    s6-fdholder-daemon -1 -i fdholder/rules s >ready &
    read -r line <ready
    "$1"
}

# In the unpacked system.
inside() {
    fdholder --install /usr/local/bin
    busybox ip link set lo up
    for function in nginx_restarts haproxy_restarts starlet_restarts python_finds_names listenfd_serves \
        import_keeps_the_client adopt_outlives_nginx first_client_starts; do
        for user in 0 65534; do
            shown "$user" with_daemon "$function"
        done
    done
    for function in s6_directories runit_directories openrc_scripts container; do
        (cd /etc && rules)
        shown 0 alone "$function"
        rm -r /run/fdholder
    done
    # Each block of the section is one of those above.
    has=$(awk '/^## / { inside = /^## Keep/ } /^```/ && inside { marks++ } END { print marks / 2 }' \
        "$root/README.md")
    same "$(sort -u "$work"/*/blocks | grep -c .)" "$has"
}

# Moves into the unpacked system.
move_in() {
    lay_over "$unpacked"
    mount -t proc proc "$over/root/proc"
    mount -t tmpfs none "$over/root/run"
    ln -s /run "$over/root/var/run"
    mkdir -p "$over/root/srv/fdholder"
    cp -R "$root/README.md" "$root/tests" "$over/root/srv/fdholder/"
    cp "$root/target/release/fdholder" "$root/target/release/fdholder-listenfd" "$over/root/usr/local/bin/"
    chroot "$over/root" env -i HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp \
        work="$work" sh /srv/fdholder/tests/services.sh inside
}

if [ $# != 0 ]; then
    "$@"
    exit
fi

[ "$(id -u)" = 0 ] || fail "root alone can make namespaces for services"
work=$(mktemp -d)
chmod 755 "$work"
export work
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$root"
sh tests/setup.sh cc
cargo build --release --locked --quiet
cargo build --release --locked --quiet --package fdholder-listenfd
fetch
# In a plain chroot mounts cannot be made private, so that others may see them for a while.
propagation=private
unshare --mount true 2>/dev/null || propagation=unchanged
unshare --mount --propagation "$propagation" --pid --net --fork --kill-child sh "$0" move_in
