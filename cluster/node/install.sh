#!/usr/bin/env bash
# Install the wheel and the pinned requirements next to this script into ~/vicc-ray, each file verified by its hash, and
# add it to PATH of later shells. Running it again updates what has changed.
#
# usage: bash install.sh [CLOUD...]     CLOUD: aws, gcp or azure: requirements of a head that starts machines there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$HOME/vicc-ray
pins=(-r "$here/cluster.txt")
for cloud in "$@"; do pins+=(-r "$here/$cloud.txt"); done

if ! [ -x "$venv/bin/pip" ]; then
  # Ubuntu has venv in a separate package; cluster.txt is pinned for Python 3.12.
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
