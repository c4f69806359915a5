#!/usr/bin/env bash
# Builds libpng, zlib and libjpeg-turbo from Debian's source packages as static libraries that a shared object can hold.
#   .github/wheels/codecs.sh PREFIX
# Debian's own archives are compiled for programs only (no -fPIC). Needs deb-src of the system's release, cmake and nasm.
set -euo pipefail
prefix=$(realpath -m "$1")
if [ -f "$prefix/done" ]; then exit 0; fi
work=$prefix/src
mkdir -p "$work/apt/sources" "$work/apt/lists/partial"
cd "$work"

# A list of source packages of our own: the system's configuration is not touched.
for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    awk 'BEGIN { RS = ""; ORS = "\n\n" } !/-security/' "$file" | sed 's/^Types:.*/Types: deb-src/' > "apt/sources/$(basename "$file")"
done
if [ -s /etc/apt/sources.list ]; then
    grep -E '^deb ' /etc/apt/sources.list | grep -v -- '-security' | sed 's/^deb /deb-src /' > apt/sources/system.list || true
fi
apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/sources"
     -o "Dir::State::lists=$work/apt/lists" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" source zlib libpng1.6 libjpeg-turbo

build() { # name, folder of the source, licence file, options of cmake
    local name=$1 source=$2 licence=$3
    shift 3
    cmake -S "$source" -B "build-$name" -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
        -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR="$prefix/lib" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "$@"
    cmake --build "build-$name" --parallel
    cmake --install "build-$name"
    cp "$source/$licence" "$prefix/licenses/$name.LICENSE.txt"
}
(cd zlib-*/ && CFLAGS="-O3 -fPIC" ./configure --static --prefix="$prefix" && make -j"$(nproc)" install)
mkdir -p "$prefix/licenses"
cp zlib-*/README "$prefix/licenses/zlib.LICENSE.txt"
build libpng libpng*-*/ LICENSE -DPNG_SHARED=OFF -DPNG_TESTS=OFF -DZLIB_LIBRARY="$prefix/lib/libz.a" -DZLIB_INCLUDE_DIR="$prefix/include"
build libjpeg-turbo libjpeg-turbo-*/ LICENSE.md -DENABLE_SHARED=OFF -DWITH_TURBOJPEG=OFF
touch "$prefix/done"
