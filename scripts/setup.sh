#!/bin/sh
# Sees to it that this machine can build the library, and installs what is missing of pkg-config and
# libzmq's development package. Silent when there is nothing to do. Where cgo is off (CGO_ENABLED=0, or no C
# compiler is found) the library is built without libzmq, and Go is all that it needs.
#
#   scripts/setup.sh            what building and testing need
#   scripts/setup.sh python     also pyzmq and cbor2 for /usr/bin/python3, for the test with a foreign
#                               client; the script goes on without them if they cannot be had
#   scripts/setup.sh faults     also nft and ip, for the rows of the fault campaign that need them (as root);
#                               the same goes for these
#   scripts/setup.sh browser    also Chromium, for the tests of the page of package observe; the same goes for it
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
need_zmq=4.3

say() { printf 'setup: %s\n' "$*"; }
die() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }
has_zmq() { has "$pkgconfig" && "$pkgconfig" --exists "libzmq >= $need_zmq"; }
has_tools() { [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ] || { has nft && has ip && has tc && has ss; }; }
has_browser() { has chromium || has chromium-browser || has google-chrome || has chrome || has headless-shell; }
has_python() { [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import zmq, cbor2' >/dev/null 2>&1; }

case "$*" in
'' | python | faults | browser) ;;
*) die "usage: scripts/setup.sh [python | faults | browser]" ;;
esac

# Go itself. An older go that may fetch toolchains (GOTOOLCHAIN) answers with the version it would use.
need_go=$(awk '$1 == "go" { print $2; exit }' "$root/go.mod")
has go || die "Go is missing: install Go $need_go or later (https://go.dev/doc/install)"
have_go=$(cd "$root" && go env GOVERSION 2>/dev/null) || have_go=
have_go=${have_go:-$(cd / && go env GOVERSION)}
version=${have_go#devel } version=${version#go} version=${version%%[ -]*}
printf '%s %s\n' "$version" "$need_go" | awk '{
	split($1, have, /[^0-9]+/); split($2, need, /[^0-9]+/)
	for (i = 1; i <= 3; i++) if (have[i] + 0 != need[i] + 0) exit (have[i] + 0 < need[i] + 0)
}' || die "Go is too old: $have_go is here, $need_go is needed (https://go.dev/doc/install)"

# The package manager, the names it knows our packages by, and what it calls a C compiler.
if has apt-get; then
	manager=apt-get browser=chromium tools='nftables iproute2' zmq=libzmq3-dev pc=pkg-config python='python3 python3-zmq python3-cbor2' cc='gcc libc6-dev'
elif has dnf; then
	manager=dnf browser=chromium tools='nftables iproute iproute-tc' zmq=zeromq-devel pc=pkgconf-pkg-config python='python3 python3-zmq python3-cbor2' cc=gcc
elif has apk; then
	manager=apk browser=chromium tools='nftables iproute2' zmq=zeromq-dev pc=pkgconf python='python3 py3-pyzmq py3-cbor2' cc='gcc musl-dev'
elif has pacman; then
	manager=pacman browser=chromium tools='nftables iproute2' zmq=zeromq pc=pkgconf python='python python-pyzmq python-cbor2' cc=gcc
elif has brew; then
	manager=brew browser='' tools='' zmq=zeromq pc=pkg-config python='' cc=gcc
else
	manager='' browser='' tools='' zmq="libzmq ($need_zmq or later, with its headers)" pc='pkg-config and' python='' cc=''
fi

if [ "$(id -u)" -eq 0 ]; then
	sudo=
elif [ -t 0 ]; then
	sudo=sudo
else
	sudo='sudo -n' # nobody is there to type a password
fi
as_root() { $sudo "$@"; }

# refresh brings the package lists up to date where an install may fail without.
refresh() {
	case $manager in
	apt-get) as_root apt-get update ;;
	pacman) [ -e /var/lib/pacman/sync/core.db ] || as_root pacman -Sy ;; # never a partial upgrade
	*) false ;;
	esac
}

install_now() {
	case $manager in
	apt-get) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=60 "$@" ;;
	dnf) as_root dnf install -y "$@" ;;
	apk) as_root apk add --no-cache "$@" ;;
	pacman) as_root pacman -S --needed --noconfirm "$@" ;;
	brew) brew install "$@" ;;
	esac
}

# add PACKAGE... says what it does, and keeps what the package manager says for the case of a failure.
# On failure it leaves the reason in $why.
add() {
	if [ -z "$manager" ]; then
		why='there is none of apt-get, dnf, apk, pacman and brew here'
		return 1
	fi
	if [ "$manager" != brew ] && [ -n "$sudo" ] && ! has sudo; then
		why="$manager needs root, and there is no sudo"
		return 1
	fi
	say "installing $* with $manager"
	log=$(mktemp)
	if install_now "$@" >"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return
	fi
	if { refresh && install_now "$@"; } >>"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return
	fi
	tail -n 15 "$log" >&2
	rm -f "$log"
	why="$manager failed (its last words are above)"
	return 1
}

without='or do without libzmq: CGO_ENABLED=0 make ..., and go build -tags nozmq in modules of your own'

# need_libzmq sees to a C compiler that has the C library's headers, to pkg-config and to libzmq.
need_libzmq() {
	compiler=$(go env CC)
	if ! echo '#include <stdlib.h>' | ${compiler:-cc} -E - >/dev/null 2>&1; then
		die "a C compiler with the C library's headers is missing ('$compiler' did not work)" \
			"install it${manager:+: $manager packages $cc}" "$without"
	fi
	pkgconfig=$(go env PKG_CONFIG)
	pkgconfig=${pkgconfig:-pkg-config}
	missing=
	has "$pkgconfig" || missing=$pc
	has_zmq || missing="$missing $zmq"
	if ! has_zmq; then
		# shellcheck disable=SC2086 # a list of packages
		add $missing || die "pkg-config or libzmq's development files (libzmq >= $need_zmq) are missing: $why" \
			"install by hand: ${missing# }" "$without"
		has "$pkgconfig" || die "$pkgconfig is still not in PATH"
		has_zmq || die "libzmq >= $need_zmq is needed; $pkgconfig finds $("$pkgconfig" --modversion libzmq 2>/dev/null || echo none)"
		say "libzmq $("$pkgconfig" --modversion libzmq) is ready"
	fi
}
[ "$(go env CGO_ENABLED)" = 0 ] || need_libzmq

# The foreign client of the tests.
if [ "${1:-}" = python ] && ! has_python; then
	why="no packages of that name are known for ${manager:-this machine}"
	# shellcheck disable=SC2086 # a list of packages
	if [ -z "$python" ] || ! add $python || ! has_python; then
		say "NOTE: /usr/bin/python3 has no pyzmq and cbor2: $why"
		say "NOTE: the test with a Python client will be skipped"
	fi
fi

# What breaks networks.
if [ "${1:-}" = faults ] && ! has_tools; then
	why="no packages of that name are known for ${manager:-this machine}"
	# shellcheck disable=SC2086 # a list of packages
	if [ -z "$tools" ] || ! add $tools || ! has_tools; then
		say "NOTE: nft, ip, tc or ss is missing: $why"
		say "NOTE: the rows that need them will be skipped"
	fi
fi

# What the page is tried in.
if [ "${1:-}" = browser ] && ! has_browser; then
	why="no packages of that name are known for ${manager:-this machine}"
	if [ -z "$browser" ] || ! add "$browser" || ! has_browser; then
		say "NOTE: Chromium is missing: $why"
		say "NOTE: the tests that open a page in a browser will be skipped"
	fi
fi
