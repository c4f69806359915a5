#!/usr/bin/env bash
# Pastes README's commands into a Debian that has nothing, as root. Or, with a wheel, goes from that to reports on a folder of
# PNGs in three commands, without compiler and headers.
#   tests/whole/minimal_debian.sh [--only demo|tests] [--pytest OPTIONS] [--wheel FILE] [SUITE ...]
# The suites are bookworm and trixie if none is given. Needs root, debootstrap and a mirror of Debian (the system's own is used).
# A suite takes some 5 minutes for the demo and 20 for the tests; --pytest "-k wheel" or "tests/python/cli" runs a part of these.
# Prints the time of each command, by the clock and of a processor, with the load, and stops at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
only="" wheel="" pytest="" suites=()
while [ $# -gt 0 ]; do
    case $1 in
        --only) only=$2; shift 2 ;;
        --pytest) pytest=$2; shift 2 ;;
        --wheel) wheel=$(realpath "$2"); shift 2 ;;
        *) suites+=("$1"); shift ;;
    esac
done
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -1)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/simclr_mri-debian
mkdir -p "$cache"

enter() { # SUITE COMMAND: in the fresh system, with this machine's settings for network and pip and nothing else of it
    local root=$cache/$1 folder wheels=""
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
    [ -z "${PIP_CERT:-}" ] || cp "$PIP_CERT" "$root/root/certificates.pem" # installing ca-certificates would replace the system's
    for folder in ${PIP_FIND_LINKS:-}; do # folders of wheels, seen at the same place from inside
        [ ! -d "$folder" ] || { mkdir -p "$root$folder" && wheels+=" && mount --bind -o ro $folder $root$folder"; }
    done
    unshare --mount --pid --fork bash -c "
        mount -t proc proc $root/proc && mount --rbind /dev $root/dev && mount -t tmpfs tmpfs $root/dev/shm$wheels
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 $(env | grep -E '^PIP_' | tr '\n' ' ') \
            ${PIP_CERT:+PIP_CERT=/root/certificates.pem} PYTEST_ADDOPTS='$pytest' \
            chroot $root bash -c \"\$1\"" enter "$2"
}

timed() { # SUITE NAME COMMAND
    local log=$cache/$1-$2.log TIMEFORMAT='%0R s, of a processor %0U + %0S s'
    { time enter "$1" "$3" > "$log" 2>&1; } 2> "$cache/time" || { tail -n 30 "$log"; echo "$1, $2: failed"; exit 1; }
    echo "$1, $2: $(cat "$cache/time"), load $(cut -d ' ' -f 1 /proc/loadavg). Its last line: $(tail -n 1 "$log")"
}

for suite in "${suites[@]}"; do
    rm -rf --one-file-system "${cache:?}/$suite"
    if [ ! -d "$cache/$suite-fresh" ]; then
        rm -rf "$cache/$suite-part"
        debootstrap --variant=minbase "$suite" "$cache/$suite-part" "$mirror" > "$cache/$suite-debootstrap.log"
        mv "$cache/$suite-part" "$cache/$suite-fresh"
    fi
    cp -a "$cache/$suite-fresh" "$cache/$suite"
    if [ -n "$wheel" ]; then
        cp "$wheel" "$cache/$suite/root/"
        timed "$suite" install "cd /root && apt-get update -q && apt-get install -y -q python3-venv && ! command -v gcc &&
            python3 -m venv venv && venv/bin/pip install -q ./$(basename "$wheel")"
        enter "$suite" "cd /root && venv/bin/python -c '
import simclr_mri as sm; sm.datasets.write_phantoms(\"Pictures\", n_subjects=96, slices=3, image_size=64)'"
        timed "$suite" audit "cd /root && venv/bin/simclr-mri audit Pictures/ && ls audit/*.html"
        timed "$suite" study "cd /root && venv/bin/simclr-mri study Pictures/ --recipe quick --pretrain.epochs 5 \
            --label-fractions 0.1 1 && ls runs/study/*.html"
        continue
    fi
    git clone -q . "$cache/$suite/root/simclr_mri"
    for name in demo tests; do
        [ -z "$only" ] || [ "$only" = "$name" ] || continue
        pattern=$([ "$name" = demo ] && echo 'simclr-mri demo$' || echo '-m pytest$')
        command=$(grep -m1 -E "^apt-get .*$pattern" README.md) || { echo "README.md has no line for $name"; exit 1; }
        timed "$suite" "$name" "cd /root/simclr_mri && $command"
    done
done
