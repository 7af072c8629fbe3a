#!/usr/bin/env bash
# The programs of Debian that `npm run deploy:check` and the fault runs need: nginx, slowhttptest, a browser, the
# checkers of the files in deploy/. Installs those that are missing; says what to do where that cannot be.
set -euo pipefail

# program:package
wanted=(
  nginx:nginx
  slowhttptest:slowhttptest
  openssl:openssl
  systemd-analyze:systemd
  systemd-notify:systemd
  systemd-nspawn:systemd-container
  caddy:caddy
  promtool:prometheus
  docker-compose:docker-compose
  podman:podman
  runc:runc
  catatonit:catatonit
  /usr/lib/podman/netavark:netavark
  /usr/lib/podman/aardvark-dns:aardvark-dns
  iptables:iptables
  mmdebstrap:mmdebstrap
  chromium:chromium
)

PATH=$PATH:/usr/sbin
missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo 'All programs are here.'
  exit
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing, of Debian's packages: ${missing[*]}. As root on Debian this script installs them." >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Nothing of it is to run as a service here.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
