#!/bin/sh
# Runs the commands of the README's section "Five minutes" on a bare machine: a minimal Debian 12 with
# Rust and nothing else, and a copy of this folder in a home directory that is closed to others. This
# shows what the tests need and do not install. Only root can run it.
#
# The machine is a folder in target/bare. A process with a mount and a PID namespace of its own has it
# as its root directory. So no mount and no process remains, however this script ends. Downloaded
# packages stay in target/bare/cache.
set -eu
umask 022
cd "$(dirname "$0")/.."
bare=$PWD/target/bare
machine=$bare/machine

fail() {
    echo "bare.sh: $*" >&2
    exit 1
}

. tests/apt.sh

# Prints the commands: the lines of the section's code blocks.
commands() {
    awk '/^## / { inside = $0 == "## Five minutes" }
         /^```/ { code = !code; next }
         inside && code' README.md
}

install_debian() {
    rm -rf "$machine"
    debootstrap --variant=minbase --cache-dir="$bare/cache" bookworm "$machine" "$mirror"
}

# Gives the machine Rust, access to the network, and this folder.
furnish() {
    # The root directory is a mount point, as on any other machine.
    mount --bind "$machine" "$machine"
    mkdir -p "$machine/usr/local/rust" "$machine/root/.cargo" "$machine/root/fdholder" \
        "$machine/etc/ssl/certs"
    mount --bind "$(rustc --print sysroot)" "$machine/usr/local/rust"
    mount -o remount,bind,ro "$machine/usr/local/rust"
    mount --rbind /dev "$machine/dev"
    mount --rbind /sys "$machine/sys"
    mount -t proc proc "$machine/proc"
    for file in /etc/hosts /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || cp "$file" "$machine$file"
    done
    for file in config config.toml; do
        file=${CARGO_HOME:-$HOME/.cargo}/$file
        [ ! -e "$file" ] || cp "$file" "$machine/root/.cargo/"
    done
    apt-config dump | grep '^Acquire::' >"$machine/etc/apt/apt.conf.d/machine" || true
    tar --exclude=./target -cf - . | tar --no-same-owner -xf - -C "$machine/root/fdholder"
    chmod 700 "$machine/root"
}

# Runs a command in the machine's copy of this folder. The environment has only the access to the
# network and the duration of the soak test. The machine's folder becomes the root of a mount namespace:
# under a root that chroot has set, tests could not make user namespaces (user_namespaces(7)).
on_machine() {
    # shellcheck disable=SC2016,SC2046 # for another shell; words without blanks
    unshare --mount sh -euc 'cd "$1"; pivot_root . mnt; cd /; umount -l /mnt; shift; exec "$@"' \
        sh "$machine" /usr/bin/env -i HOME=/root \
        PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        $(env | grep -iE '^((http|https|ftp|all|no)_proxy|CARGO_(HTTP|NET|SOURCE)_[A-Z_]*|FDHOLDER_SOAK_SECONDS)=[^ ]*$') \
        sh -euc 'cd ~/fdholder; eval "$1"' sh "$1"
}

if [ "${1:-}" = apart ]; then
    work=$bare/work
    mirror=$(mirror | sed -n 1p)
    [ -n "$mirror" ] || fail "apt has no source for this Debian release, so no known mirror"
    persistently install_debian || {
        tail -n 20 "$machine/debootstrap/debootstrap.log" >&2 || :
        fail "no Debian out of $mirror"
    }
    furnish
    commands >"$work/commands"
    [ "$(grep -c . "$work/commands")" = 2 ] || fail "README.md: other than two commands: see $0"
    while read -r command; do
        echo "bare.sh: \$ $command"
        on_machine "$command" </dev/null
        case $command in
            *demo.sh*)
                # The demo needs only a linker.
                installed=$(sed -n 's/^Commandline: .*--no-install-recommends //p' \
                    "$machine/var/log/apt/history.log")
                [ "$installed" = "gcc libc6-dev" ] || fail "$command installs $installed"
                ;;
        esac
    done <"$work/commands"
    exit
fi

[ "$(id -u)" = 0 ] || fail "root alone can make a machine"
sh tests/setup.sh debootstrap
mkdir -p "$bare/cache" "$bare/work"
namespace=
# The namespace may take a moment to end; until then the folder cannot be removed.
trap '
    [ -z "$namespace" ] || kill -KILL "$namespace" 2>/dev/null || true
    rm -rf "$machine" "$bare/work" 2>/dev/null || { sleep 2; rm -rf "$machine" "$bare/work"; }' EXIT
trap 'exit 1' HUP INT TERM
setpriv --pdeathsig KILL \
    unshare --mount --mount-proc --pid --fork --kill-child sh "$0" apart &
namespace=$!
code=0
wait "$namespace" || code=$?
namespace=
exit "$code"
