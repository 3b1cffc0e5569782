#!/bin/sh
# The first process of the initramfs with a shell. It fills a daemon and switches to another root. There
# a second daemon takes over. There is no /proc, and /dev has only what a shell needs. Every command is
# printed, to show where a boot hangs. The machine is switched off at the end in any case.
set -eux
PATH=/bin
export PATH
trap 'poweroff -f' EXIT

fail() {
    echo "with a shell: $*"
    exit 1
}

# Checks that $1 equals $2.
same() {
    [ "$1" = "$2" ] || fail "\"$1\" instead of \"$2\""
}

# Starts a daemon in the background and waits until it is ready. Its process is $!.
start() {
    mkfifo ready
    "$@" >ready &
    read -r line <ready || fail "no daemon: $*"
    rm ready
}

# Starts the daemon that must survive the switch of the root. The switch empties the old root, and the
# daemon would not see the new one. So the daemon uses paths relative to the working directory, which
# moves along. The shell around it survives too, and writes the exit code.
old() {
    code=0
    sh -c 'echo $$ >pid; exec s6-fdholder-daemon -1 -i rules old' || code=$?
    echo "$code" >ended
}

before() {
    mknod /dev/null c 1 3
    mount -t tmpfs run /run
    cp -R /rules /run/rules
    /bin/fdholder --install /bin
    cd /run
    mkfifo ended
    start old
    listen service s6-fdholder-store old unix:service
    echo "something to read" | s6-fdholder-store old "a pipe"

    mount -t tmpfs root /new
    mkdir /new/dev /new/run
    mknod /new/dev/null c 1 3
    cp -a /bin /init /new
    mount -o move /run /new/run
    exec switch_root /new /init again
}

after() {
    [ ! -e /rules ] || fail "this is the old root"
    cd /run
    start s6-fdholder-daemon -1 -i /run/rules new
    new=$!
    s6-fdholder-transferdump old new
    kill "$(cat pid)"
    read -r code <ended
    same "$code" 0
    s6-fdholder-list old 2>/dev/null && fail "the old daemon is still there"
    same "$(s6-fdholder-list new | sort | tr '\n' ,)" "a pipe,unix:service,"
    same "$(s6-fdholder-retrieve new "a pipe" cat)" "something to read"

    # In the end a third daemon serves on that socket.
    start s6-fdholder-retrieve new unix:service s6-fdholderd -1 -i rules
    service=$!
    echo "hello" | s6-fdholder-store service greeting
    same "$(s6-fdholder-retrieve service greeting cat)" "hello"
    kill "$new" "$service"
    wait "$new" || fail "the new daemon ended with $?"
    wait "$service" || fail "the service ended with $?"
}

if [ "${1:-}" != again ]; then
    before
fi
after
echo "with a shell: pass"
