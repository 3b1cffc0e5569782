# Functions for tests/services.sh, which show that the files in the README's section on services work as they
# are there.

# Prints the block of code in the README's section on services that stands below a line with the words $1.
block() {
    echo "$1" >>blocks
    awk -v words="$1" '
        /^## / { inside = $0 ~ /^## Keep/ }
        /^```/ { code = !code; next }
        inside && code && index(last, words) { print; found = 1 }
        inside && !code && NF { last = $0 }
        END { exit !found }' "$root/README.md" || fail "README.md: no block below \"$1\""
}

# Makes the program $1 out of the block below the words $2.
program() {
    mkdir -p "$(dirname "$1")"
    block "$2" >"$1"
    chmod 755 "$1"
}

# Makes the rules in this folder, with the commands of the README's example without the last one.
rules() {
    awk '/^```/ { if (text ~ /S6_FDHOLDER_/) printf "%s", text; code = !code; text = ""; next }
        code { text = text $0 "\n" }' "$root/README.md" | sed '$d' >example
    sh -eu example
}

# Waits until a server is up at the port $1 of all addresses, runs the command that follows while a client
# connects all the time, and waits until the next server answers.
restarts_unnoticed() {
    until_true listens "$1"
    connect "127.0.0.1:$1"
    served
    shift
    "$@"
    served
    disconnect
}

# Gives nginx a configuration with `listen 80`.
configure_nginx() {
    sed "s/listen .*/listen 80;/" "$services/nginx.conf" >/etc/nginx/nginx.conf
}

# The directories for s6. The daemon starts at the same time as what needs it.
s6_directories() {
    program scan/fdholder/run '`fdholder/run`:'
    program scan/web/run '`web/run`:'
    configure_nginx
    s6-svscan scan &
    scan=$!
    restarts_unnoticed 80 s6-svc -q scan/web
    s6-svscanctl -t scan
    wait "$scan" || fail "s6-svscan ends with $?"
}

# The directories for runit.
runit_directories() {
    program service/fdholder/run '`fdholder/run`:'
    program service/app/run '`app/run`:'
    mkdir -p /srv/app
    cp "$services/app.py" /srv/app/
    runsvdir service &
    scan=$!
    restarts_unnoticed 8000 sv restart "$PWD/service/app"
    kill -HUP "$scan"
    wait "$scan" || [ $? = 111 ] || fail "runsvdir ends with $?"
}

# The scripts for OpenRC. It is not the first process here; its first runlevel prepares what it needs.
openrc_scripts() {
    program /etc/init.d/fdholder '`/etc/init.d/fdholder`,'
    program /etc/init.d/proxy '`/etc/init.d/proxy`:'
    openrc sysinit
    sed 's/^frontend web/frontend proxy/' "$services/haproxy.cfg" >/etc/haproxy/haproxy.cfg
    rc-service proxy start
    restarts_unnoticed 80 rc-service proxy restart
    rc-service fdholder stop
}

# The Dockerfile, and the commands that make containers of it, with a program called docker that does what
# these commands ask for: see there. Instead of the image nginx there is one with Debian's nginx. A second
# container starts before the first one stops.
container() {
    install -m 755 "$services/docker" "$services/container.py" /usr/local/bin/
    configure_nginx
    mkdir base
    # shellcheck disable=SC2046 # a list of names
    cp -RL --parents $(ldd /usr/sbin/nginx | grep -o '/[^ ]*') /usr/sbin/nginx /usr/share/nginx \
        /etc/nginx /etc/passwd /etc/group /var/lib/nginx /var/log/nginx base/
    printf 'FROM scratch\nCOPY base /\nENV PATH=/usr/local/bin:/usr/sbin\n' >Dockerfile
    docker build -t docker.io/library/nginx .
    cp /usr/local/bin/fdholder .
    block '`Dockerfile`,' >Dockerfile
    block 'builds the image' >commands
    program daemon '`fdholder/run`:'
    ./daemon &
    daemon=$!
    until_true s6-fdholder-list /run/fdholder/s
    sed '$d' commands >prepare
    sh -eu prepare
    run=$(sed -n '$p' commands)
    $run &
    old=$!
    connect 127.0.0.1:80
    served
    $run &
    new=$!
    until_true grep -q nginx "/proc/$new/comm"
    kill -QUIT "$old"
    wait "$old" || fail "the container ends with $?"
    disconnect
    connect 127.0.0.1:80 1
    served
    all_answered
    kill -QUIT "$new"
    wait "$new" || fail "the container ends with $?"
    kill "$daemon"
    wait "$daemon" || fail "the daemon ends with $?"
}
