#!/bin/sh
# Boots a Debian kernel under software emulation, with two initramfs images: one has the program and a
# shell, the other has no shell. tests/init has their first processes. In both, a listening socket and a
# pipe go from one daemon to another; in the first one across a switch_root.
#
# The kernel and the shell are from Debian packages, unpacked into target/initramfs and not installed.
# qemu is installed if it is missing.
set -eu
umask 022
cd "$(dirname "$0")/.."

if [ "$(uname -m)" != x86_64 ]; then
    echo "initramfs.sh: nothing booted: the kernel is for x86_64, and this is $(uname -m)" >&2
    exit 0
fi
sh tests/setup.sh cc qemu-system-x86_64

work=$(mktemp -d)
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "initramfs.sh: $*" >&2
    exit 1
}

# Unpacks Debian packages into $work/tree.
unpack() (
    cd "$work"
    for package in "$@"; do
        apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$package"
        dpkg -x "${package}"_*.deb tree
        rm "${package}"_*.deb
    done
)

# The kernel's package is the one that linux-image-amd64 depends on.
fetch() {
    [ "$(id -u)" != 0 ] || apt-get -qq -o Acquire::Retries=3 update
    kernel=$(apt-cache depends --no-recommends --no-suggests linux-image-amd64 |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | sed -n 1p)
    [ -n "$kernel" ] || fail "apt knows no kernel: is there a list of packages?"
    unpack "$kernel" busybox-static
    mkdir "$work/fetched"
    mv "$work"/tree/boot/vmlinuz-* "$work/fetched/kernel"
    busybox=$(find "$work/tree" -path '*bin/busybox' -type f | sed -n 1p)
    mv "$busybox" "$work/fetched/busybox"
    rm -rf "$work/tree" target/initramfs target/initramfs.part
    # The folder gets its name last, so that it is complete if it exists.
    cp -R "$work/fetched" target/initramfs.part
    mv target/initramfs.part target/initramfs
    echo "initramfs.sh: $kernel fetched"
}

# Makes an initramfs of a folder. /dev/console is not needed: the kernel has one built in.
pack() {
    (cd "$1" && find . >"$1.list" && "$busybox" cpio -o -H newc <"$1.list" >"$1.cpio")
    gzip -1 "$1.cpio"
}

# Boots with the initramfs $1. It must print "$2: pass".
boot() {
    code=0
    # With a terminal as standard input qemu would change the terminal's settings.
    timeout -k 5 "$deadline" qemu-system-x86_64 -accel tcg -m 256 -nographic -no-reboot -nic none \
        -kernel target/initramfs/kernel -initrd "$1" \
        -append "console=ttyS0 quiet panic=-1" </dev/null >"$work/console" 2>&1 &
    machine=$!
    wait "$machine" || code=$?
    machine=
    if [ "$code" = 0 ] && tr -d '\r' <"$work/console" | grep -q "$2: pass\$"; then
        echo "initramfs $2: pass"
        return
    fi
    sed 's/^/    /' "$work/console" >&2
    [ "$code" != 124 ] || fail "$2: not done after $deadline seconds; the console is above"
    fail "$2: failed, qemu ended with $code; the console is above"
}

# The deadline of a boot, in seconds. An idle machine needs a tenth of it.
deadline=120

cargo build --release --locked --quiet
cargo build --release --locked --quiet --package fdholder-init
{ [ -e target/initramfs/kernel ] && [ -e target/initramfs/busybox ]; } || fetch
busybox=$PWD/target/initramfs/busybox

mkdir -p "$work/rules/uid/default/env"
: >"$work/rules/uid/default/allow"
for right in GETDUMP SETDUMP LIST STORE_REGEX RETRIEVE_REGEX; do
    echo >"$work/rules/uid/default/env/S6_FDHOLDER_$right"
done

mkdir -p "$work/shell/bin" "$work/shell/new" "$work/shell/run"
cp -R "$work/rules" "$work/shell/"
cp "$busybox" target/release/fdholder "$work/shell/bin/"
cp target/release/fdholder-init "$work/shell/bin/listen"
cp tests/init/shell.sh "$work/shell/init"
chmod 755 "$work/shell/init"
for name in cat cp kill mkdir mkfifo mknod mount poweroff rm sh sort switch_root tr; do
    ln -s busybox "$work/shell/bin/$name"
done
pack "$work/shell"
boot "$work/shell.cpio.gz" "with a shell"

# An image with one program, which contains the tools, and the rules.
mkdir "$work/alone"
cp -R "$work/rules" "$work/alone/"
cp target/release/fdholder-init "$work/alone/init"
pack "$work/alone"
boot "$work/alone.cpio.gz" "no shell"
