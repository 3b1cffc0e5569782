#!/bin/sh
# Builds packages and images with the files in tests/packaging, and runs the programs in them. Then
# checks the man pages and completions for packagers. initramfs-tools, dracut, Kconfig and buildah,
# which builds the Dockerfile, are the real programs, from Debian packages. For Buildroot, OpenWrt,
# abuild, mkinitcpio and the image with Rust there are stand-ins of a few lines each.
#
# The Debian packages are unpacked into target/packaging, as a system of its own, and not installed. The
# second half runs with that system as its root directory, which takes root. Without root only the first
# half runs, and the script fails.
set -eu
umask 022

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
packaging=$root/tests/packaging
docs=$root/target/docs
unpacked=$root/target/packaging
cd "$root"

fail() {
    echo "packaging.sh: $*" >&2
    exit 1
}

. "$root/tests/apt.sh"

# Runs a function or command, and prints its output only if it fails. A function stops at its first
# failing command.
quietly() {
    set +e
    (set -e; "$@") >"$work/said" 2>&1
    code=$?
    set -e
    [ "$code" = 0 ] || { cat "$work/said" >&2; fail "failed: $*"; }
}

# Checks that the folder $1 has the program, and a link to it for each of the tools $2 and for nothing
# else. All must work after the program has been stripped, as most builders do.
installed() {
    # shellcheck disable=SC2086 # a list of names
    wanted=$(printf '%s\n' $2 | LC_ALL=C sort)
    found=$(cd "$1" && find . -name '*fdholder?*' -type l | sed 's,^\./,,' | LC_ALL=C sort)
    [ "$found" = "$wanted" ] || fail "$1 has" $found "and not" $wanted
    strip "$1/fdholder" || fail "$1 has no program"
    for tool in $wanted; do
        [ "$(readlink "$1/$tool")" = fdholder ] || fail "$1/$tool does not lead to fdholder"
        "$1/$tool" --help | grep -q "^usage: $tool " || fail "$1/$tool does not work"
    done
}

# Fetches the Debian packages, once.
fetch() {
    [ ! -e "$unpacked" ] || return 0
    rm -rf "$unpacked.part"
    choose bookworm
    unpack_system bookworm "$unpacked.part" binutils buildah busybox-static cpio dracut-core fish \
        initramfs-tools-core kconfig-frontends-nox ksh93u+m man-db mandoc mksh shellcheck udev zsh
    mv "$unpacked.part" "$unpacked"
}

# Makes the folder $1 with the files and folders that follow, to build in it. It shares the target
# folder with this one.
sources() {
    folder=$1
    shift
    mkdir -p "$folder"
    ln -sfn "$root/target" "$folder/target"
    cp -R "$@" "$folder/"
}

# Calls the functions of the APKBUILD, as abuild does.
alpine() {
    startdir=$packaging/alpine pkgdir=$work/alpine CTARGET=$(rustc -vV | sed -n 's/^host: //p')
    default_prepare() { :; }
    # shellcheck source=tests/packaging/alpine/APKBUILD
    . "$startdir/APKBUILD"
    for step in prepare build check package; do
        cd "$builddir"
        $step
    done
}

# Builds for the target of the Rust image, with only the files that the Dockerfile copies.
docker() {
    # shellcheck disable=SC2046 # a list of names
    sources "$work/docker" $(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' "$packaging/docker/Dockerfile")
    cd "$work/docker"
    cargo build --release --locked --target "$musl"
    cp "target/$musl/release/fdholder" "$work/fdholder"
}

# Kconfig reads the options, here all tools but one, and make installs these.
buildroot() {
    mkdir -p "$work/buildroot/usr/bin"
    cd "$work/buildroot"
    cat >Config.in <<END
config BR2_EXTERNAL_FDHOLDER_PATH
	string
	default "$packaging/buildroot"
config BR2_x86_64
	def_bool y
config BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS
	def_bool y
config BR2_PACKAGE_HOST_RUSTC
	bool
source "\$BR2_EXTERNAL_FDHOLDER_PATH/Config.in"
END
    printf '%s\n' BR2_PACKAGE_FDHOLDER=y "# BR2_PACKAGE_FDHOLDER_LIST is not set" >.config
    # The only library of kconfig-conf that a machine may lack.
    mkdir -p "$work/kconfig"
    find "$unpacked/usr/lib" -name 'libkconfig-parser*' -exec cp -P {} "$work/kconfig/" \;
    CONFIG_= LD_LIBRARY_PATH=$work/kconfig "$unpacked/usr/bin/kconfig-conf" --olddefconfig Config.in
    grep '^BR2_PACKAGE_FDHOLDER=y' .config
    cat >Makefile <<'END'
include .config
include $(BR2_EXTERNAL_FDHOLDER_PATH)/external.mk
UPPERCASE = $(shell echo '$1' | tr a-z A-Z)
INSTALL = install
TARGET_DIR = $(CURDIR)
PKG_CARGO_ENV = CARGO_BUILD_TARGET=$(RUSTC_TARGET_NAME)
define newline


endef
$(CURDIR)/build/.stamp_installed:
	mkdir -p $(@D)
	ln -sfn $(FDHOLDER_SITE)/target $(@D)/target
	tar -C $(FDHOLDER_SITE) --exclude=./target --exclude=./.git -cf - . | tar -C $(@D) -xf -
	$(foreach hook,$(FDHOLDER_PRE_BUILD_HOOKS),$(call $(hook))$(newline))
	cd $(@D) && $(PKG_CARGO_ENV) $(FDHOLDER_CARGO_ENV) cargo build --offline --release \
		--manifest-path Cargo.toml --locked $(FDHOLDER_CARGO_BUILD_OPTS)
	$(FDHOLDER_INSTALL_TARGET_CMDS)
END
    make BR2_EXTERNAL_FDHOLDER_PATH="$packaging/buildroot" RUSTC_TARGET_NAME="$musl"
}

# Recipes are expanded twice, and cargo gets the same variables, as in OpenWrt.
openwrt() {
    mkdir -p "$work/openwrt/include" "$work/openwrt/feeds/packages/lang/rust" "$work/openwrt/build"
    ln -s "$root/target" "$work/openwrt/build/target"
    cd "$work/openwrt"
    cat >rules.mk <<'END'
INCLUDE_DIR = $(TOPDIR)/include
INSTALL_DIR = install -d -m0755
INSTALL_BIN = install -m0755
END
    cat >include/package.mk <<'END'
PKG_BUILD_DIR = $(TOPDIR)/build
PKG_INSTALL_DIR = $(TOPDIR)/install
define BuildPackage
$(eval $(Package/$(1)))
$(if $(TITLE),,$(error no title))
$(1):
	$(call Build/Prepare)
	$(call Build/Compile)
	$(call Package/$(1)/install,$(TOPDIR)/image)
endef
END
    cat >feeds/packages/lang/rust/rust-package.mk <<'END'
CARGO_PKG_VARS= CARGO_BUILD_TARGET=$(RUSTC_TARGET_ARCH) CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_PANIC=unwind \
	RUSTFLAGS="-Ctarget-feature=-crt-static"
define Build/Compile/Cargo
	+$(CARGO_PKG_VARS) cargo install --profile release --root $(PKG_INSTALL_DIR) \
		--path "$(PKG_BUILD_DIR)/$(1)" --offline --locked $(2)
endef
END
    ln -s "$packaging/openwrt" feeds/fdholder
    make -C feeds/fdholder/fdholder TOPDIR="$PWD" RUSTC_TARGET_ARCH="$musl" fdholder
}

# Puts files into a folder, as mkinitcpio does.
mkinitcpio() {
    bash -euc '
        add_binary() { install -D -m 755 "$1" "$image$2"; }
        add_symlink() { ln -s "$2" "$image$1"; }
        image=$1
        . "$2"
        build
        help' mkinitcpio "$work/mkinitcpio" "$packaging/mkinitcpio/fdholder"
}

# Makes the files of a kernel's package.
kernel=6.1.0
kernel() {
    mkdir -p "/lib/modules/$kernel" /boot
    for file in order builtin builtin.modinfo; do
        : >"/lib/modules/$kernel/modules.$file"
    done
    echo CONFIG_RD_GZIP=y >"/boot/config-$kernel"
    depmod "$kernel"
}

initramfs_tools() {
    cp "$packaging/initramfs-tools/fdholder" /etc/initramfs-tools/hooks/
    echo COMPRESS=gzip >/etc/initramfs-tools/conf.d/compress
    mkinitramfs -o "$work/initrd" "$kernel"
    unmkinitramfs "$work/initrd" "$work/initramfs-tools"
}

dracut_image() {
    module=/usr/lib/dracut/modules.d/90fdholder
    cp -R "$packaging/dracut/90fdholder" "$module"
    # The module is included only if requested.
    code=0
    bash -c '. "$1/module-setup.sh" && check' bash "$module" || code=$?
    [ "$code" = 255 ]
    dracut --no-kernel --no-hostonly --no-compress --modules bash --add fdholder \
        "$work/dracut.img" "$kernel"
    mkdir "$work/dracut"
    cd "$work/dracut"
    lsinitrd --unpack "$work/dracut.img"
}

# Builds the image. Instead of Rust there is a program called cargo with the same result.
container() {
    mkdir -p "$work/rust/bin"
    cp /bin/busybox "$work/fdholder" "$work/rust/bin/"
    ln -s busybox "$work/rust/bin/sh"
    cat >"$work/rust/bin/cargo" <<'END'
#!/bin/sh
set -e
[ "$*" = "build --release --locked" ] && [ -e Cargo.lock ]
busybox mkdir -p target/release
busybox cp /bin/fdholder target/release/
END
    chmod 755 "$work/rust/bin/cargo"
    printf 'FROM scratch\nCOPY . /\nENV PATH=/bin\n' >"$work/Dockerfile"
    container="buildah --root $work/images --runroot $work/run --storage-driver vfs"
    export BUILDAH_ISOLATION=chroot
    $container bud -f "$work/Dockerfile" -t docker.io/library/rust:1-alpine "$work/rust"
    $container bud --pull-never -f "$packaging/docker/Dockerfile" -t fdholder "$root"
    $container from --pull-never --name ours localhost/fdholder
    from_inside "$($container mount ours)"
    $container inspect --type image --format '{{.OCIv1.Config.Entrypoint}}' localhost/fdholder |
        grep -F '[/bin/fdholder]'
}

# Runs the tools of an image with the image as the root directory.
from_inside() {
    for tool in $tools; do
        chroot "$1" "/bin/$tool" --help | grep -q "^usage: $tool " ||
            fail "$tool does not work in the image $1"
    done
}

# Checks man pages with two formatters.
pages() {
    for name in fdholder $tools; do
        page=$docs/$name.8
        mandoc -T lint -W style "$page" || fail "$name.8: see above"
        LC_ALL=C man --warnings -E ascii -l "$page" >"$work/page" 2>"$work/said" ||
            fail "$name.8: man ended with $?: $(cat "$work/said")"
        [ ! -s "$work/said" ] || fail "$name.8: $(cat "$work/said")"
        for section in NAME SYNOPSIS DESCRIPTION OPTIONS "EXIT STATUS" EXAMPLES "SEE ALSO"; do
            grep -q "^$section\$" "$work/page" || fail "$name.8 has no section $section"
        done
        lexgrog "$page" >"$work/said" 2>&1 || fail "$name.8 has no name: $(cat "$work/said")"
        [ "$name" = fdholder ] || grep -q '^  *-t, --timeout ' "$work/page" || fail "$name.8: no -t"
    done
}

# Completes a word in zsh: types $1 and a tab once the line editor is ready, and waits for $2.
zsh_completes() {
    cat >"$work/.zshrc" <<END
fpath=($work/zsh \$fpath)
autoload -Uz compinit
compinit -u -D
PS1=
zle-line-init() { print -n ready }
zle -N zle-line-init
END
    cat >"$work/complete" <<'END'
zmodload zsh/zpty
zpty shell zsh -d -i
zpty -r -m shell said '*ready*'
zpty -w -n shell "$1"$'\t'
zpty -r -m shell said "*$2*"
END
    : >"$work/a-socket"
    (cd "$work" && ZDOTDIR=$work TERM=dumb timeout 120 zsh -f complete "$1" "$2") ||
        fail "zsh does not complete $1"
}

# Checks completions: each option, and one operand of each kind, in each shell.
completions() {
    mkdir -p "$work/zsh"
    cp "$docs"/_* "$work/zsh/"
    for name in fdholder $tools; do
        bash -n "$docs/$name.bash" && zsh -n "$docs/_$name" && fish -n "$docs/$name.fish" ||
            fail "completions of $name: see above"
        [ "$name" != fdholder ] || continue
        # shellcheck disable=SC2016 # bash's
        bash -ec '
            . "$2"
            COMP_WORDS=("$1" --ti) COMP_CWORD=1
            "_$1"
            [ "${COMPREPLY[*]}" = --timeout ]' bash "$name" "$docs/$name.bash" ||
            fail "bash does not complete $name --ti"
        short=${name##*-}
        fish --no-config -c "source $docs/$name.fish; source $docs/fdholder.fish
            complete -C'$name --ti'; complete -C'fdholder $short --ti'" >"$work/fish" 2>&1
        [ "$(grep -c '^--timeout' "$work/fish")" = 2 ] && [ "$(grep -c . "$work/fish")" = 2 ] ||
            fail "fish does not complete $name --ti: $(cat "$work/fish")"
    done
    zsh_completes "s6-fdholder-store --ti" timeout
    zsh_completes "s6-fdholder-store a-so" a-socket
    zsh_completes "s6-fdholderd -i a-so" a-socket
    zsh_completes "fdholder transf" transferdump
    zsh_completes "fdholder store --exp" expire
}

# Checks which shells drop the variable S6_FD# and which pass it on, as the README says.
shells() {
    for shell in dash mksh "busybox ash"; do
        said=$(env 'S6_FD#=3' $shell -c env)
        case $said in *'S6_FD#'*) fail "$shell passes S6_FD# on" ;; esac
    done
    for shell in bash fish ksh93 zsh; do
        said=$(env 'S6_FD#=3' $shell -c env)
        case $said in *'S6_FD#=3'*) ;; *) fail "$shell drops S6_FD#" ;; esac
    done
}

# The second half, in Debian's system.
inside() {
    cp "$work/fdholder" /usr/local/bin/
    tools=$(fdholder --list)
    quietly kernel
    quietly initramfs_tools
    installed "$work/initramfs-tools/usr/bin" "$tools"
    from_inside "$work/initramfs-tools"
    echo "packaging initramfs-tools: pass"
    quietly dracut_image
    installed "$work/dracut/usr/bin" "$tools"
    from_inside "$work/dracut"
    echo "packaging dracut: pass"
    quietly mkinitcpio
    installed "$work/mkinitcpio/usr/bin" "$tools"
    echo "packaging mkinitcpio: pass"
    quietly container
    echo "packaging container: pass"
    shellcheck -S warning -s sh "$packaging/initramfs-tools/fdholder"
    shellcheck -S warning -s bash "$packaging/dracut/90fdholder/module-setup.sh" \
        "$packaging/mkinitcpio/fdholder"
    shellcheck -S warning -s dash -e SC2034,SC2154 "$packaging/alpine/APKBUILD"
    busybox ash -n "$packaging/alpine/APKBUILD"
    pages
    echo "packaging man pages: pass"
    completions
    echo "packaging completions: pass"
    shells
    echo "packaging shells: pass"
}

# Continues with the unpacked system as the root directory. Files written there stay in memory.
move_in() {
    lay_over "$unpacked"
    for folder in /proc /sys "$root"; do
        mkdir -p "$over/root$folder"
        mount --rbind "$folder" "$over/root$folder"
    done
    chroot "$over/root" env PATH=/usr/local/bin:/usr/sbin:/usr/bin TMPDIR=/tmp \
        sh "$packaging.sh" inside "$work"
}

if [ $# = 2 ]; then
    work=$2
    "$1"
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
sh tests/setup.sh cc make strip
musl=$(uname -m)-unknown-linux-musl
if ! rustup target add "$musl" >"$work/said" 2>&1; then
    cat "$work/said" >&2
    echo "packaging.sh: no rustup that has Rust for $musl: built for this machine's libc instead" >&2
    musl=$(rustc -vV | sed -n 's/^host: //p')
fi
fetch

# The build must write these again, even if nothing else has changed.
rm -rf "$docs"
quietly alpine
installed "$work/alpine/usr/bin" "$(cat "$docs/tools")"
for file in bash-completion/completions/fdholder zsh/site-functions/_s6-fdholderd \
    fish/vendor_completions.d/s6-fdholder-list.fish man/man8/s6-fdholder-daemon.8; do
    [ -s "$work/alpine/usr/share/$file" ] || fail "Alpine's package has no $file"
done
echo "packaging alpine: pass"
quietly docker
quietly buildroot
installed "$work/buildroot/usr/bin" "$(grep -v 'list$' "$docs/tools")"
echo "packaging buildroot: pass"
quietly openwrt
installed "$work/openwrt/image/usr/bin" "$(cat "$docs/tools")"
echo "packaging openwrt: pass"

[ "$(id -u)" = 0 ] ||
    fail "root alone can check initramfs-tools, dracut, mkinitcpio, containers, pages, completions"
# In a plain chroot mounts cannot be made private, so that others may see them for a while.
propagation=private
unshare --mount true 2>/dev/null || propagation=unchanged
unshare --mount --propagation "$propagation" sh "$packaging.sh" move_in "$work"
