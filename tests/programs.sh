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
[ "${#wanted[@]}" -gt 0 ] || exit 0

echo "installing ${wanted[*]} ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
