#!/usr/bin/env bash
# setup.sh VENV LOCKFILE: an environment with exactly what the lock file names. Does nothing when it is there.
set -euo pipefail
venv=$1 lock=$2
backend=$(cd "$(dirname "$0")/../Backend" && pwd)
python=${PYTHON:-python3}

command -v "$python" >/dev/null || { echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$("$python" --version) is too old: Python 3.11 or newer is needed (PYTHON=python3.12 make … chooses another)." >&2; exit 1; }
"$python" -c 'import venv, ensurepip' 2>/dev/null || {
  echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }

# The dev lock holds all that the other one holds, so either stamp of it serves both.
stamp_of() { sha256sum "$backend/$1" | cut -d' ' -f1; }
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if [ -x "$venv/bin/python" ] && [ -f "$venv/.coldreel" ]; then
  grep -qx "$(stamp_of "$lock")" "$venv/.coldreel" && exit 0
  grep -qx "$(stamp_of requirements-dev.txt)" "$venv/.coldreel" && exit 0
fi
echo "Setting up $venv from Backend/$lock …" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$backend/$lock" || {
  echo "Could not install Backend/$lock: is the package registry reachable?" >&2; exit 1; }
stamp_of "$lock" >"$venv/.coldreel"
