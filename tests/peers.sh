#!/bin/sh
# Fetches the C tools that the tests talk to: s6 of three generations, each with its libraries,
# out of Debian packages, unpacked into target/peers/2.11, 2.13 and 2.15. All three run side by
# side on Debian 12 and later. Nothing is installed, and apt's own state is left alone.
#
# FDHOLDER_PEERS names another folder than target/peers; the tests then need it set as well.
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

# Whether the generation in folder $1 is there and runs: without arguments the daemon has to say
# how it is used, and exit 100.
runs() {
    code=0
    LD_LIBRARY_PATH="$1/lib" "$1/bin/s6-fdholderd" >"$work/said" 2>&1 || code=$?
    [ "$code" = 100 ]
}

# Runs a command that downloads, thrice at the most.
persistently() {
    for pause in 2 5 0; do
        if "$@" >"$work/said" 2>&1; then
            return 0
        fi
        sleep "$pause"
    done
    cat "$work/said" >&2
    return 1
}

# The mirror that the machine takes its own release from: the first source of packages whose
# suite is the release's codename and which has the component main.
mirror() {
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "$codename" ] || return 0
    cat /dev/null /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk -v codename="$codename" '
            { sub(/#.*/, "") }
            $1 == "deb" {
                sub(/\[[^]]*\]/, "")
                main = 0
                for (i = 4; i <= NF; i++) if ($i == "main") main = 1
                sub(/\/$/, "", $3)
                if (main && $3 == codename) print $2
            }'
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        # A blank line ends a stanza, a comment does not; a value goes on in indented lines.
        awk -v codename="$codename" '
            function has(list, word,    words, n) {
                n = split(list, words)
                while (n > 0) if (words[n--] == word) return 1
                return 0
            }
            function stanza(    uris) {
                if (has(field["types"], "deb") && has(field["suites"], codename) &&
                    has(field["components"], "main") && tolower(field["enabled"]) !~ /no|false/) {
                    split(field["uris"], uris)
                    print uris[1]
                }
                split("", field)
            }
            /^#/ { next }
            /^[ \t]*$/ { stanza(); next }
            /^[ \t]/ { field[name] = field[name] " " $0; next }
            {
                name = tolower($0)
                sub(/:.*/, "", name)
                sub(/^[^:]*:/, "")
                field[name] = $0
            }
            END { stanza() }' "$file"
    done
}

# Writes into $work/$1 a configuration for apt that knows the suite $1 alone and keeps what it
# finds there. How to reach the mirror (proxies and the like) is taken from the machine's own,
# the rest of which, hooks and indexes of other things, is not.
configure() {
    mkdir -p "$work/$1/lists/partial" "$work/$1/cache/archives/partial"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    signed=
    [ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
    echo "deb $signed$mirror $1 main" >"$work/$1/sources.list"
    {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' || true
        cat <<END
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$work/$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/$1/lists";
Dir::Cache "$work/$1/cache";
END
    } >"$work/$1/apt.conf"
}

# Fetches from the suite $1 the generation $2, of which $3 is the oldest version that will do.
fetch() {
    suite=$1 generation=$2 oldest=$3
    if [ -e "$peers/$generation/version" ] && runs "$peers/$generation"; then
        echo "s6 $generation: $(cat "$peers/$generation/version") is there already"
        return
    fi
    if [ -z "$mirror" ]; then
        mirror=$(mirror | sed -n 1p)
        [ -n "$mirror" ] || fail "apt has no source for this Debian release, so no known mirror"
    fi
    configure "$suite"
    export APT_CONFIG="$work/$suite/apt.conf"
    persistently apt-get -q update || fail "no list of packages for $suite ($mirror)"
    apt-cache show s6 >"$work/about" 2>/dev/null || fail "no s6 in $suite ($mirror)"
    version=$(sed -n 's/^Version: //p' "$work/about" | sed -n 1p)
    case $version in
        "$generation".*) ;;
        *) fail "$suite has s6 $version, which is not of generation $generation" ;;
    esac
    dpkg --compare-versions "$version" ge "$oldest" ||
        fail "$suite has s6 $version, older than $oldest: is $mirror out of date?"

    libraries=$(sed -n 's/^Depends: //p' "$work/about" | sed -n 1p | tr ',' '\n' |
        sed -n 's/^ *\(lib\(s6\|skarnet\|execline\)[^ ]*\).*/\1/p')
    mkdir "$work/$suite/packages" "$work/$suite/tree"
    for package in s6 execline $libraries; do
        (cd "$work/$suite/packages" && persistently apt-get -q download "$package") ||
            fail "cannot download $package of $suite ($mirror)"
    done
    for package in "$work/$suite/packages"/*.deb; do
        dpkg -x "$package" "$work/$suite/tree"
    done
    library=$(cd "$work/$suite/tree" && find . -name 'libs6.so.*' | sed -n 1p)
    [ -n "$library" ] || fail "the packages of $suite have no libs6"
    [ -e "$work/$suite/tree/bin" ] || ln -s usr/bin "$work/$suite/tree/bin"
    ln -s "$(dirname "$library")" "$work/$suite/tree/lib"
    runs "$work/$suite/tree" || fail "s6 $version does not run here: $(cat "$work/said")"
    echo "$version" >"$work/$suite/tree/version"

    # It appears in its place all at once, so that what is there is complete.
    rm -rf "$peers/$generation" "$peers/.$generation"
    cp -R "$work/$suite/tree" "$peers/.$generation"
    mv "$peers/.$generation" "$peers/$generation"
    echo "s6 $generation: $version fetched"
}

mirror=
fetch bookworm 2.11 2.11.3.2
fetch trixie 2.13 2.13.1.0
fetch forky 2.15 2.15.1.0
