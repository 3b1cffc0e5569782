# Functions for scripts that fetch Debian packages without installing them. Such a script reads this
# file, sets $work to a folder of its own, and defines fail.

mirror=

# Runs a command that downloads, at most three times.
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

# Prints the mirror of the machine's own release: that of the first package source whose suite is the
# release's codename and which has the component main.
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
        # A blank line ends a stanza, a comment does not. Indented lines continue a value.
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

# Writes into $work/$1 a configuration for apt that knows the suite $1 alone, stores all files there,
# and takes no package for installed. It keeps the machine's own settings for reaching the mirror, such
# as proxies, and drops its hooks and further indexes.
configure() {
    mkdir -p "$work/$1/lists/partial" "$work/$1/cache/archives/partial"
    : >"$work/$1/status"
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
Dir::State::status "$work/$1/status";
Dir::Cache "$work/$1/cache";
END
    } >"$work/$1/apt.conf"
}

# Makes apt use the suite $1 alone from now on.
choose() {
    if [ -z "${mirror:-}" ]; then
        mirror=$(mirror | sed -n 1p)
        [ -n "$mirror" ] || fail "apt has no source for this Debian release, so no known mirror"
    fi
    configure "$1"
    export APT_CONFIG="$work/$1/apt.conf"
    persistently apt-get -q update || fail "no list of packages for $1 ($mirror)"
}

# Downloads the packages $3 and following of the suite $1, and unpacks them into the folder $2.
unpack() {
    suite=$1 tree=$2
    shift 2
    mkdir -p "$work/$suite/packages" "$tree"
    (cd "$work/$suite/packages" && persistently apt-get -q download "$@") ||
        fail "cannot download all of $* of $suite ($mirror)"
    for package in "$work/$suite/packages"/*.deb; do
        dpkg -x "$package" "$tree"
        rm "$package"
    done
}

# Downloads the packages $3 and following of the suite $1 with all packages that they depend on, and
# unpacks them into the folder $2. Files in bin, lib and sbin go below usr.
unpack_all() {
    suite=$1 tree=$2
    shift 2
    mkdir -p "$tree"
    persistently apt-get -q -y --no-install-recommends --download-only install "$@" ||
        fail "cannot download all that $* of $suite take ($mirror)"
    for package in "$work/$suite/cache/archives"/*.deb; do
        dpkg -x "$package" "$tree"
        rm "$package"
    done
    for folder in bin lib lib32 lib64 libx32 sbin; do
        [ -d "$tree/$folder" ] && [ ! -L "$tree/$folder" ] || continue
        mkdir -p "$tree/usr/$folder"
        cp -R -P "$tree/$folder/." "$tree/usr/$folder/"
        rm -r "${tree:?}/$folder"
        ln -s "usr/$folder" "$tree/$folder"
    done
}

# Does the same, and adds the essential packages, so that the folder can be a root directory. Scripts of
# packages do not run. What the scripts of the essential packages would do is done here.
unpack_system() {
    suite=$1 tree=$2
    shift 2
    unpack_all "$suite" "$tree" '?essential' "$@"
    mkdir -p "$tree/usr/local/bin"
    for file in passwd group; do
        cp "$tree/usr/share/base-passwd/$file.master" "$tree/etc/$file"
    done
    ln -sf mawk "$tree/usr/bin/awk"
}

# Makes $over/root a system to continue in: the unpacked system $1 with /dev, /tmp and $work of this one.
# Files written there stay in memory. It takes a mount namespace of its own.
lay_over() {
    over=$work/over
    mkdir "$over"
    trap 'umount --recursive --lazy "$over"' EXIT
    mount -t tmpfs none "$over"
    mkdir "$over/upper" "$over/work" "$over/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$over/upper,workdir=$over/work" none "$over/root"
    mount --rbind /dev "$over/root/dev"
    for folder in /tmp "$work"; do
        mkdir -p "$over/root$folder"
        mount --bind "$folder" "$over/root$folder"
    done
}
