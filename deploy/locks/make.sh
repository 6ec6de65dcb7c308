#!/bin/bash
# Pins every dependency with its hashes, for all platforms, without naming where they come from (`make locks`).
# Arguments of uv pass through: `make locks ARGS=--upgrade`.
set -euo pipefail
cd "$(dirname "$0")/../.."
compile() { # output, then arguments
  local output=$1
  shift
  .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
    --output-file "deploy/locks/$output" pyproject.toml "$@"
}
# `hub` and `mirror` take their versions from `dev`, so that what is tested is what is run.
compile dev.txt --all-extras "$@"
constrain() { sed 's/ *\\$//; /^ *--hash/d' deploy/locks/dev.txt; }
compile hub.txt - --extra hub --extra kafka --constraint <(constrain) < <(printf 'hatchling\neditables\n') # these build it
compile mirror.txt --constraint <(constrain)
