#!/usr/bin/env bash
# Debian's PostgreSQL server and Chromium, for the tests that use the real ones. Without the right to install
# them those tests are skipped, each with its reason.
set -euo pipefail
missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
  echo "Installing ${missing[*]} for the tests …" >&2
  export DEBIAN_FRONTEND=noninteractive
  # Debian's package starts a server of its own on install; the tests start theirs themselves.
  "${as_root[@]}" apt-get update -qq >&2 || true
  "${as_root[@]}" env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && exit 0
fi
echo "Not installed: ${missing[*]}. The tests that need them are skipped (apt-get install ${missing[*]})." >&2
