#!/usr/bin/env bash
# Install the project on a machine of a cluster: the wheel beside this script in the versions beside it, every file
# checked by its hash, into ~/vicc-ray; later shells find it. Given again it changes what has changed.
#
# usage: bash install.sh [EXTRA...]     EXTRA: aws, gcp or azure: what a head needs to begin machines there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$HOME/vicc-ray
extras=$(IFS=, && echo "cluster${*:+,$*}")

if ! [ -x "$venv/bin/pip" ]; then
  # Ubuntu keeps venv in a package of its own; python3.12 is the Python of constraints.txt.
  python3.12 -m venv --clear "$venv" 2>/dev/null || {
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq python3.12-venv >/dev/null
    python3.12 -m venv --clear "$venv"
  }
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/uv.txt"
wheel=$(echo "$here"/vicc_ray-*.whl)
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --constraint "$here/constraints.txt" \
  --reinstall-package vicc-ray "vicc-ray[$extras] @ file://$wheel"

# `ray up` runs its commands in login shells, and so do `ray attach` and `ray exec`.
line=". $venv/bin/activate; export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0"
grep -qxF "$line" ~/.bashrc || echo "$line" >> ~/.bashrc
