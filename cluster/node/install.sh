#!/usr/bin/env bash
# Install the project on a machine of a cluster: the wheel beside this script, and what is pinned beside it, every file
# checked by its hash and nothing else, into ~/vicc-ray; later shells find it. Given again it changes what has changed.
#
# usage: bash install.sh [CLOUD...]     CLOUD: aws, gcp or azure: what a head needs to begin machines there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$HOME/vicc-ray
pins=(-r "$here/cluster.txt")
for cloud in "$@"; do pins+=(-r "$here/$cloud.txt"); done

if ! [ -x "$venv/bin/pip" ]; then
  # Ubuntu keeps venv in a package of its own; python3.12 is the Python of cluster.txt.
  python3.12 -m venv --clear "$venv" 2>/dev/null || {
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq python3.12-venv >/dev/null
    python3.12 -m venv --clear "$venv"
  }
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/uv.txt"
install=("$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode)
"${install[@]}" --require-hashes "${pins[@]}"
"${install[@]}" --no-deps --reinstall-package vicc-ray "$here"/vicc_ray-*.whl

# `ray up` runs its commands in login shells, and so do `ray attach` and `ray exec`.
line=". $venv/bin/activate; export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0"
grep -qxF "$line" ~/.bashrc || echo "$line" >> ~/.bashrc
