#!/usr/bin/env bash
# Installs the system programs that the end-to-end tests run against, where that may be done: as root, with apt.
# Elsewhere it does nothing, and the tests that need a missing program say so and are skipped.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

wanted=()
want() { # want COMMAND PACKAGE
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || wanted+=("$2")
}
want sshd openssh-server
want ssh openssh-client
want nginx nginx-light
want curl curl
want socat socat
want nc netcat-openbsd
want openssl openssl
want dnsmasq dnsmasq-base
want dig bind9-dnsutils
want zsh zsh
want fish fish
if ! command -v fc-list >/dev/null || [ -z "$(fc-list : family | head -n 1)" ]; then
    wanted+=(fontconfig fonts-dejavu-core) # without fonts a browser's pages would be empty boxes
fi
browser=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || browser=(chromium)
compgen -G "/usr/lib/*/libatomic.so.1" >/dev/null || wanted+=(libatomic1) # for the program that drives the browser
# promtool comes in a package whose service would be started: only the program is taken out of it
programs="$(cd "$(dirname "$0")/.." && pwd)/build/programs"
promtool=()
command -v promtool >/dev/null || [ -x "$programs/usr/bin/promtool" ] || promtool=(prometheus)
[ "${#wanted[@]}${#browser[@]}${#promtool[@]}" != 000 ] || exit 0

echo "installing ${wanted[*]} ${browser[*]} ${promtool[*]} ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
install() {
    [ "$#" -eq 0 ] || apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
install "${wanted[@]}"
install "${browser[@]}" # by itself: where there is none, the others are installed all the same
if [ "${#promtool[@]}" -gt 0 ]; then
    folder=$(mktemp -d)
    chmod 755 "$folder"
    mkdir -p "$programs"
    (cd "$folder" && apt-get download -qq "${promtool[@]}" && dpkg-deb -x ./*.deb "$programs")
    rm -r "$folder"
fi
