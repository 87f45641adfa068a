#!/bin/sh
# Says which system packages are missing and installs them: `make deps`.
# With --check also what `make check` uses (clang, emulators, a cross compiler), and
# zsh, without which the test of its completion is skipped.
set -eu

want=${1:-}
missing=

# need TEST apt dnf pacman brew: TEST is a command, a pkg-config name after "pc:", a
# file after "file:", or a library of clang's runtime after "rt:"
need() {
	case $1 in
	pc:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc:}" && return ;;
	venv) command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null && return ;;
	file:*) [ -e "${1#file:}" ] && return ;;
	rt:*) command -v clang >/dev/null && [ -e "$(clang -print-runtime-dir)/libclang_rt.${1#rt:}-$(uname -m).a" ] && return ;;
	*) command -v "$1" >/dev/null && return ;;
	esac
	case $manager in
	apt-get) missing="$missing $2" ;;
	dnf) missing="$missing $3" ;;
	pacman) missing="$missing $4" ;;
	brew) missing="$missing $5" ;;
	*) missing="$missing $1" ;;
	esac
}

manager=none
for m in apt-get dnf pacman brew; do
	if command -v $m >/dev/null; then
		manager=$m
		break
	fi
done

need cc build-essential gcc base-devel gcc
need pkg-config pkg-config pkgconf-pkg-config pkgconf pkg-config
need pc:openblas libopenblas-pthread-dev openblas-devel openblas openblas
need pc:hwloc libhwloc-dev hwloc-devel hwloc hwloc
need pc:jansson libjansson-dev jansson-devel jansson jansson
need pc:inih libinih-dev inih-devel libinih inih
need pc:cmocka libcmocka-dev libcmocka-devel cmocka cmocka
need gnuplot gnuplot-nox gnuplot-minimal gnuplot gnuplot
need venv python3-venv python3 python python
if [ "$want" = --check ]; then
	need clang clang clang clang llvm
	need rt:fuzzer libclang-rt-dev compiler-rt compiler-rt -
	need qemu-aarch64 qemu-user qemu-user qemu-user -
	need zsh zsh zsh zsh zsh
	need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc -
	need file:/usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross - aarch64-linux-gnu-glibc -
fi
missing=$(echo "$missing" | sed 's/ -\b//g')
[ -n "${missing# }" ] || exit 0

if [ $manager = none ]; then
	echo "deps: missing:$missing" >&2
	echo "deps: none of apt-get, dnf, pacman, brew is here; install these by hand, then run make again" >&2
	exit 3
fi
sudo=
if [ "$(id -u)" != 0 ] && [ $manager != brew ]; then
	sudo=sudo
	command -v sudo >/dev/null || { echo "deps: not root and no sudo; as root: $manager install$missing" >&2; exit 3; }
fi
echo "deps: installing with $manager:$missing"
case $manager in
apt-get)
	$sudo apt-get update -qq
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
	;;
dnf) $sudo dnf install -y -q $missing ;;
pacman) $sudo pacman -S --needed --noconfirm $missing ;;
brew) brew install $missing ;;
esac || { echo "deps: $manager failed; install these by hand, then run make again:$missing" >&2; exit 3; }
