#!/bin/sh
# Builds the program for other processors, and runs the tests of the tools and the daemon for each under
# qemu-user. The tests themselves, and the C programs, are native. Prints one line for each processor:
# the number of tests passed, and the sizes.
#
# rustup provides the compiler's parts for the other processors, so nothing has to be installed. Where
# rustup cannot fetch them, the script unpacks the compiler that Debian builds its browsers with into
# target/cross, and builds core from source. For mips rustup has no parts, only the source of core.
# FDHOLDER_CROSS=debian uses neither rustup nor an installed emulator. Arguments select processors. With
# the word build in front of them the script only builds, and starts what it has built once.
set -eu
umask 022

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cross=$root/target/cross
peers=${FDHOLDER_PEERS:-$root/target/peers}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# Tests that run as another user need access to this folder.
chmod 755 "$work"
mkdir -p "$cross"
cd "$root"

fail() {
    echo "cross.sh: $*" >&2
    exit 1
}

. "$root/tests/apt.sh"

# Sets the compiler's name and the emulator's name for a processor.
name() {
    case $1 in
        aarch64) target=aarch64-unknown-linux-gnu emulator=aarch64 ;;
        armv7) target=armv7-unknown-linux-gnueabihf emulator=arm ;;
        i686) target=i686-unknown-linux-gnu emulator=i386 ;;
        mips) target=mips-unknown-linux-musl emulator=mips ;;
        mipsel) target=mipsel-unknown-linux-musl emulator=mipsel ;;
        riscv64) target=riscv64gc-unknown-linux-gnu emulator=riscv64 ;;
        s390x) target=s390x-unknown-linux-gnu emulator=s390x ;;
        thumbv7neon) target=thumbv7neon-unknown-linux-gnueabihf emulator=arm ;;
        *) fail "no processor is called $1" ;;
    esac
}

# Unpacks a compiler or an emulator of Debian 12 into $cross/$1, once.
once() {
    [ ! -e "$cross/$1" ] || return 0
    choose bookworm
    rm -rf "$cross/.$1"
    case $1 in
        qemu) unpack bookworm "$cross/.$1" qemu-user-static ;;
        rust)
            unpack bookworm "$cross/.$1" rustc-web libstd-rust-web-dev rust-web-src
            # The compiler's package also depends on a C compiler, which is not needed.
            unpack_all bookworm "$cross/.$1" libstd-rust-web-1.85
            ;;
    esac
    mv "$cross/.$1" "$cross/$1"
}

# Makes rustup fetch the parts for $target.
ask_rustup() {
    [ "${FDHOLDER_CROSS:-}" != debian ] && command -v rustup >/dev/null || return 1
    case $1 in
        mips*) set -- component add rust-src ;;
        *) set -- target add "$target" ;;
    esac
    rustup "$@" >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        return 1
    }
}

# Makes cargo use Debian's compiler, which includes the source of core. Its own loader and libraries are
# unpacked beside it; programs that it starts use those of the machine.
ask_debian() {
    once rust
    loader=$(find "$cross/rust/usr/lib" -name 'ld-linux*' -type f | sed -n 1p)
    cat >"$cross/rustc" <<END
#!/bin/sh
exec "$loader" --library-path "$(dirname "$loader")" \
    "$cross/rust/usr/bin/rustc" --sysroot "$cross/rust/usr" "\$@"
END
    chmod 755 "$cross/rustc"
    export RUSTC="$cross/rustc"
}

# Builds the program for $processor into $1, with more arguments. The linker is that of the installed
# Rust, which supports all processors.
build() {
    into=$1 builds=$cross/build${RUSTC:+-debian} flags=-Clinker=$linker
    shift
    case $processor${RUSTC:+-debian} in
        mips* | *-debian)
            # A stable compiler builds core if RUSTC_BOOTSTRAP is set.
            set -- -Zbuild-std=core "$@"
            builds=$builds-core
            export RUSTC_BOOTSTRAP=1
            ;;
    esac
    case $processor in
        # Position-independent code is a fifth longer, and the program has a fixed address.
        mips*) flags="$flags -Crelocation-model=static" ;;
    esac
    RUSTFLAGS=$flags cargo build --locked --release --quiet --target "$target" \
        --target-dir "$builds" "$@"
    unset RUSTC_BOOTSTRAP
    mv "$builds/$target/release/fdholder" "$into"
}

# Compiles a program $3 that runs $1 under the emulator $2. The tests take it for the program itself. It
# passes argv[0] on. It is linked statically, so that it starts under the limits that tests set.
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

# The test modules that run: the program takes part in them as a client or a daemon. Of a name with
# three parts only that test runs; the other tests of the module test the library.
run="protocol::daemon_conformance protocol::interoperability
    tools::adopt tools::adopt_refusals tools::command_lines tools::deadlines tools::handover_to_prog
    tools::hostile_replies tools::hostile_transfers tools::listen tools::listen_races
    tools::own_command_lines tools::setdump tools::store_delete_list tools::usage_and_refusals
    daemon::access_control daemon::fair_shares daemon::guarantees daemon::hostile_clients
    daemon::lame_duck daemon::log daemon::rule_files::every_daemon_decides_alike daemon::soak
    daemon::startup limits::open_files places::old_kernels"

# These do not run: they test the library or the source, which are native here,
left="protocol::activation protocol::address protocol::codec daemon::hash_collisions
    daemon::regex_conformance fuzz::checks fuzz::corpus_replay places::one_process packaging::processor
    packaging::source"
# or commands, which are the same everywhere,
left="$left packaging::readme_example"
# or the program's file, its system calls and what it needs to run, where they would find the emulator,
left="$left daemon::cost daemon::slow_closes limits::crash_points limits::daemon_faults limits::socket_faults
    limits::tool_faults places::daemon_surroundings places::empty_container places::tool_surroundings
    packaging::executable tools::lost_sockets"
# or the numbers of descriptors from 3 on, of which the emulator takes some.
left="$left tools::first_client tools::import tools::socket_activation"

# The emulator makes these tests fail. It takes memory and descriptors for itself, so low limits are too
# low for it. It handles signals that were ignored when it was started. It answers itself for the link
# that leads to the program. On 32 bits it truncates the length of a directory to -1, and takes that for the
# error of some earlier call. It does not pass on MSG_CTRUNC. It may itself need what an older kernel
# lacks. It starts no process that shares the descriptors, so what the daemon writes to a terminal is
# lost.
spoiled="old_kernels::
    a_limit_that_is_too_low_is_named
    with_a_very_low_open_file_limit_the_daemon_works_or_ends_with_a_message
    without_room_for_both_connections_the_needed_limit_is_named
    a_table_that_does_not_fit_into_memory_is_reported_at_the_start
    a_capacity_above_the_open_file_limit_is_lowered_with_a_warning
    two_full_frames_arrive_or_the_needed_limit_is_named
    a_soft_limit_of_0_is_restored_for_prog
    after_its_start_the_daemon_allocates_no_memory
    retrieve_deletes_nothing_that_it_cannot_receive
    prog_gets_the_signals_and_limits_of_the_caller
    installed_links_lead_to_the_program_and_work
    a_file_that_appears_just_before_a_link_is_made_is_reported
    no_link_is_made_to_a_program_that_has_been_removed
    a_broken_rules_file_is_logged_and_the_old_rules_stay
    an_invalid_answer_is_exit_1_without_a_timeout
    a_stopped_terminal_delays_no_client
    a_terminal_whose_output_is_not_read_delays_no_client"

# This test uses error numbers that differ on mips.
other_errors=an_error_of_the_daemon_is_reported

# True if the words $2 include the module $1, or a test of it.
among() {
    for word in $2; do
        case $word in "$1" | "$1"::*) return 0 ;; esac
    done
    return 1
}

# Prints the modules that the file $1 declares.
modules_of() {
    sed -n 's/^\(pub \)\{0,1\}mod \(.*\);/\2/p' "$1"
}

# Runs the tests with the program in the folder $1, except those named in $2, and sets $passed to the
# number of tests passed.
run_tests() {
    skipped='--skip ::c_2_'
    for test in $2; do skipped="$skipped --skip $test"; done
    modules=
    for name in $run; do
        case $name in
            *::*::*) modules="$modules $name" ;;
            *) modules="$modules $name::" ;;
        esac
    done
    # The emulator spends most of its time starting, and waits for a thread of its own then. A test that
    # waits in vain takes a minute. So four tests run at a time. FDHOLDER_SLOWER multiplies the waits that
    # tests allow.
    export FDHOLDER_BUILT="$1" FDHOLDER_PEERS="$peers" FDHOLDER_SOAK_SECONDS=5 FDHOLDER_SLOWER=10
    export RUST_BACKTRACE=0 RUST_TEST_THREADS=4
    # shellcheck disable=SC2086 # lists of names
    timeout 1200 "$native" --quiet $modules $skipped >"$work/said" 2>&1 || {
        # A test that failed only because everything is slow passes a second time, alone.
        failed=$(sed -n 's/^    \([a-z0-9_]*::[a-z0-9_:]*\)$/\1/p' "$work/said" | sort -u)
        # shellcheck disable=SC2086 # a list of names
        [ -n "$failed" ] && timeout 600 "$native" --exact $failed >"$work/again" 2>&1 || {
            tail -n 200 "$work/said"
            [ ! -e "$work/again" ] || tail -n 200 "$work/again"
            fail "tests failed on $processor"
        }
        grep -A 5 panicked "$work/said" || :
        echo "$processor: at the second try:" $failed
    }
    unset FDHOLDER_BUILT
    passed=$(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed.*/\1/p' "$work/said")
}

for folder in $(modules_of tests/main.rs); do
    # Shared code of the tests.
    [ "$folder" != kit ] || continue
    for module in $(modules_of "tests/$folder/mod.rs"); do
        among "$folder::$module" "$run $left" ||
            fail "neither run nor left names $module of tests/$folder/mod.rs"
    done
done
for test in $spoiled $other_errors; do
    grep -rqE --include='*.rs' "(fn|mod) ${test%::}" tests || fail "no test has the name $test"
done
unset RUSTC
linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
[ -x "$linker" ] || fail "there is no $linker, which comes with Rust"
native=
if [ "${1:-}" = build ]; then
    shift
else
    cargo build --locked --release --quiet
    cargo test --locked --no-run --test tests >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        fail "the tests do not build"
    }
    native=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/said")
    native=$root/${native#"$root/"}
fi
[ $# -gt 0 ] || set -- aarch64 armv7 i686 mips mipsel riscv64 s390x thumbv7neon
for processor in "$@"; do
    name "$processor"
    unset RUSTC
    ask_rustup "$processor" || ask_debian
    programs=$work/$processor
    mkdir -p "$programs/release"
    build "$programs/transferdump" --no-default-features --features transferdump
    build "$programs/fdholder"
    # The kernel runs programs for i686 without an emulator, which tests more.
    qemu=
    if [ "$processor-$(uname -m)" != i686-x86_64 ] ||
        ! "$programs/fdholder" --version >"$work/said" 2>&1; then
        qemu=$(command -v "qemu-$emulator-static") && [ "${FDHOLDER_CROSS:-}" != debian ] || {
            once qemu
            qemu=$cross/qemu/usr/bin/qemu-$emulator-static
        }
        # What one compiler builds may not start although what another one builds does.
        "$qemu" "$programs/fdholder" --version >"$work/said" 2>&1 ||
            fail "the program for $processor does not start"
    fi
    passed=
    if [ -z "$native" ]; then
        :
    elif [ -z "$qemu" ]; then
        cp "$programs/fdholder" "$programs/release/fdholder"
        run_tests "$programs" ""
    else
        # Some tests run as another user, who has no access to the emulator's folder.
        cp "$qemu" "$work/emulator"
        emulate "$programs/fdholder" "$work/emulator" "$programs/release/fdholder"
        case $processor in
            mips*) run_tests "$programs" "$spoiled $other_errors" ;;
            *) run_tests "$programs" "$spoiled" ;;
        esac
    fi
    echo "$processor:${passed:+ $passed tests passed,}" \
        "$(stat -c %s "$programs/fdholder") bytes, transferdump alone" \
        "$(stat -c %s "$programs/transferdump") bytes"
done
