#!/bin/sh
# Measures a GPU: flashsteps bench --on-gpu FOLDER --minutes MINUTES [--stages STAGES]
# usage: sh .ci/bench-gpu.sh FOLDER [MINUTES [STAGES]]
#
# Where python3 has torch and triton already, nothing is installed in it, and neither apt nor a network is needed: this
# package goes to a folder of its own, with the wheels of .whl/ if there are any (click 8.5, where there is an older one:
# python3 -m pip download --no-deps -d .whl click). Elsewhere .venv is made, as for everything else.
set -eu
cd "$(dirname "$0")/.."
folder=$1 minutes=${2:-8} stages=${3:-}

if ! python3 -c 'import torch, triton' 2>/dev/null; then
    sh .ci/setup.sh kernels
    exec .venv/bin/flashsteps bench --on-gpu "$folder" --minutes "$minutes" ${stages:+--stages "$stages"}
fi
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
set -- .
for wheel in .whl/*.whl; do if [ -e "$wheel" ]; then set -- "$@" "$wheel"; fi; done
case $* in *flashsteps-*) shift ;; esac # one that was built elsewhere: where setuptools is too old to build it
python3 -m pip install -q --no-index --no-deps --no-build-isolation --no-compile --target "$site" "$@"
PYTHONPATH=$site python3 -P -m flashsteps bench --on-gpu "$folder" --minutes "$minutes" ${stages:+--stages "$stages"}
