#!/bin/bash
# Makes .venv with a Python that is new enough. A bare Debian has no ensurepip: it is installed where we may, else we say how.
set -euo pipefail
cd "$(dirname "$0")/.."

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
  usable "$python" && break
  python=
done
if [ -z "$python" ]; then
  echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  "$(dirname "$0")/packages.sh" "$version" >&2
fi
"$python" -m venv .venv
