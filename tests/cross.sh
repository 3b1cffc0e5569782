#!/bin/sh
# Builds the program for other processors, prints the sizes, and runs the tests of the tools and
# the daemon on each under qemu-user. The tests themselves, and the C programs that they compare
# with, are native.
#
# Of the compiler's parts for the others, and of a linker that knows them, none has to be installed:
# rustup has them, or, where it cannot fetch them, Debian packages do, unpacked into target/cross.
# Those know no riscv64. FDHOLDER_CROSS=debian does not ask rustup; arguments are processors, in
# place of all.
set -eu
umask 022

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cross=$root/target/cross
peers=${FDHOLDER_PEERS:-$root/target/peers}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# Whoever runs the tests as somebody else goes through here.
chmod 755 "$work"
mkdir -p "$cross"
cd "$root"

fail() {
    echo "cross.sh: $*" >&2
    exit 1
}

. "$root/tests/apt.sh"

# Sets what a processor is called: by the compiler, by the emulator, by Debian, and by its linker.
name() {
    case $1 in
        aarch64) set -- aarch64-unknown-linux-gnu aarch64 arm64 aarch64-linux-gnu ;;
        armv7) set -- armv7-unknown-linux-gnueabihf arm armhf arm-linux-gnueabihf ;;
        i686) set -- i686-unknown-linux-gnu i386 i386 i686-linux-gnu ;;
        s390x) set -- s390x-unknown-linux-gnu s390x s390x s390x-linux-gnu ;;
        riscv64) set -- riscv64gc-unknown-linux-gnu riscv64 "" riscv64-linux-gnu ;;
        *) fail "no processor is called $1" ;;
    esac
    target=$1 emulator=$2 debian=$3 binutils=$4
}

# Unpacks packages of Debian 12 in $cross/$1, once: the others. They are of other processors too.
once() {
    folder=$1
    shift
    [ ! -e "$cross/$folder" ] || return 0
    choose bookworm 'APT::Architectures { "'"$(dpkg --print-architecture)"'"; "arm64"; "armhf"; "i386"; "s390x"; };'
    rm -rf "$cross/.$folder"
    unpack bookworm "$cross/.$folder" "$@"
    mv "$cross/.$folder" "$cross/$folder"
}

# Has cargo use the parts for $target that rustup has, if it has them.
ask_rustup() {
    [ "${FDHOLDER_CROSS:-}" != debian ] && rustup target add "$target" >"$work/said" 2>&1 || return 1
    linker=rust-lld
}

# Has cargo use the compiler that Debian builds its browsers with, and a linker of binutils.
ask_debian() {
    [ -n "$debian" ] || return 1
    own=$(dpkg --print-architecture)
    [ "$own" = amd64 ] || [ "$own" = arm64 ] || return 1
    once rust rustc-web libstd-rust-web-1.85 libllvm19 libstd-rust-web-dev:amd64 \
        libstd-rust-web-dev:arm64 libstd-rust-web-dev:armhf libstd-rust-web-dev:i386 \
        libstd-rust-web-dev:s390x
    libraries=$(dirname "$(find "$cross/rust/usr/lib" -name 'librustc_driver*' | sed -n 1p)")
    cat >"$cross/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec "$cross/rust/usr/bin/rustc" --sysroot "$cross/rust/usr" "\$@"
END
    chmod 755 "$cross/rustc"
    export RUSTC="$cross/rustc"
    linker=$binutils-ld
    if ! command -v "$linker" >/dev/null; then
        once "binutils-$binutils" "binutils-$binutils"
        libraries=$(dirname "$(find "$cross/binutils-$binutils/usr/lib" -name 'libbfd*' | sed -n 1p)")
        cat >"$cross/$linker" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec "$cross/binutils-$binutils/usr/bin/$linker" "\$@"
END
        chmod 755 "$cross/$linker"
        linker=$cross/$linker
    fi
}

# Builds the program, with more arguments, into $cross/$1.
build() {
    into=$1
    shift
    RUSTFLAGS="-Clinker=$linker" cargo build --locked --release --quiet --target "$target" \
        --target-dir "$cross/build${RUSTC:+-debian}" "$@"
    mv "$cross/build${RUSTC:+-debian}/$target/release/fdholder" "$into"
}

# A program that runs $1 under the emulator $2: the tests take it for the program itself. What they
# call it is handed on. Linked statically, it starts under the limits that the tests set.
emulate() {
    cat >"$work/emulate.c" <<'END'
#include <unistd.h>
int main(int argc, char **argv)
{
    char *all[argc + 4];
    all[0] = EMULATOR, all[1] = "-0", all[2] = argv[0], all[3] = PROGRAM;
    for (int i = 1; i <= argc; i++) all[i + 3] = argv[i];
    execv(EMULATOR, all);
    return 126;
}
END
    cc -static -O1 -DEMULATOR="\"$2\"" -DPROGRAM="\"$1\"" -o "$3" "$work/emulate.c"
}

# The tests that are run: those that the program under test takes part in as a client or a daemon.
# The others are about the library, which is native here, about C tools, take long, or
# look at the program from outside (its file, its system calls, its memory), where they would see
# the emulator.
tests="daemon:: interop:: clients:: store:: setdump:: promises:: exec:: replies:: cases:: starting::"

# Of these, the emulator spoils what follows. It takes memory and descriptors for itself, so that
# low limits are too low for it; it handles signals that were ignored when it was started; it
# answers for the link that leads to the program; and what it reports of a control message that
# had to be cut short is lost (the kernel's own word is what it overwrites).
spoiled="
    a_limit_that_leaves_nothing_ends_clearly_or_works
    a_table_that_cannot_be_had_is_said_at_the_start
    after_the_start_the_kernel_is_asked_for_no_memory
    what_there_is_no_room_for_is_not_deleted
    signals_and_limits_stay_as_they_were
    installed_links_lead_to_the_program_and_work
    answers_that_cannot_be_right_are_exit_1_and_never_waited_for"

# Runs the tests with the program of the folder $1, as far as it is not in $2.
run_tests() {
    skipped='--skip ::c_2_'
    for test in $2; do skipped="$skipped --skip $test"; done
    # shellcheck disable=SC2086 # lists of names
    FDHOLDER_BUILT=$1 FDHOLDER_PEERS=$peers RUST_BACKTRACE=0 \
        "$native" --quiet $tests $skipped >"$work/said" 2>&1 || {
        cat "$work/said"
        fail "tests failed on $processor"
    }
    sed -n "s/^test result: /$processor: /p" "$work/said"
}

native=$(cargo test --locked --no-run --test tests 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -n "$native" ] || fail "the tests do not build"
native=$root/${native#"$root/"}
[ $# -gt 0 ] || set -- aarch64 armv7 i686 s390x riscv64
for processor in "$@"; do
    name "$processor"
    unset RUSTC
    if ! ask_rustup && ! ask_debian; then
        echo "$processor: neither rustup nor Debian has the compiler's parts for it here"
        continue
    fi
    folder=$work/$processor
    mkdir -p "$folder/release"
    build "$folder/transferdump" --no-default-features --features transferdump
    build "$folder/fdholder"
    echo "$processor: $(stat -c %s "$folder/fdholder") bytes, transferdump alone" \
        "$(stat -c %s "$folder/transferdump") bytes"

    # A kernel that runs the program as it is makes the better test.
    if [ "$("$folder/fdholder" --version 2>&1)" = "$("$root/target/release/fdholder" --version)" ]; then
        cp "$folder/fdholder" "$folder/release/fdholder"
        run_tests "$folder" ""
        continue
    fi
    qemu=$(command -v "qemu-$emulator-static") || {
        once qemu qemu-user-static
        qemu=$cross/qemu/usr/bin/qemu-$emulator-static
    }
    emulate "$folder/fdholder" "$qemu" "$folder/release/fdholder"
    run_tests "$folder" "$spoiled"
done
