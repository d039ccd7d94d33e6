#!/usr/bin/env bash
# Installs what the tests need and is not there. test/cluster installs its own parts.
set -euo pipefail
want=()
command -v git >/dev/null || want+=(git)
command -v gh >/dev/null || want+=(gh)
command -v npm >/dev/null || want+=(npm)
[ -x /usr/bin/docker-registry ] || want+=(docker-registry)
[ ${#want[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "please install: ${want[*]}" >&2
  exit 1
fi
echo "installing ${want[*]} (about 20 s)"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${want[@]}" >/dev/null
