#!/usr/bin/env bash
# Renews the locks: exact versions for every platform and Python >= 3.11, each with its hashes, no registry named.
# Only here is uv used, in an environment of its own; installing needs pip alone.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=build/lock-venv
uv_version=0.9.7
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
"$environment/bin/python" -m pip --disable-pip-version-check -q install "uv==$uv_version"

compile() {
    # With the extras: Debian's pip 23 holds `coverage` to its version, but not `coverage[toml]`, and takes the newest for that.
    "$environment/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras "$@"
}

compile --upgrade --extra dev -o requirements/dev.lock pyproject.toml
# The smaller locks follow the large one, so that one environment can hold them all.
compile -c requirements/dev.lock --extra postgres -o requirements/run.lock pyproject.toml
compile -c requirements/dev.lock -o requirements/build.lock requirements/build.in
compile --upgrade -o requirements/openai-2.lock requirements/openai-2.in

(cd web && npm install --package-lock-only --no-audit --no-fund)
cd tests/live/sdk_node && npm install --package-lock-only --no-audit --no-fund
