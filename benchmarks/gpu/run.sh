#!/bin/sh
# Runs the checks and the measurements on a machine with a GPU that has torch, but no network.
#
#   sh benchmarks/gpu/run.sh collect WHEELS [PYTHON_VERSION]   here: downloads the wheels
#   sh benchmarks/gpu/run.sh measure WHEELS OUT [OPTIONS...]   there: installs them beside the repository, and measures
#
# OPTIONS are those of measure.py. Without any, it needs nine minutes at most, and leaves most of `options` out: run that
# part by itself, with `--parts options --rounds 2 --budget-s 300`.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
action=$1 wheels=$2

case $action in
collect)
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux_2_28_x86_64 \
        --platform manylinux2014_x86_64 --python-version "${3:-3.12}" --dest "$wheels" -r benchmarks/gpu/wheels.txt
    ;;
measure)
    out=$3
    shift 3
    if ls "$wheels"/*.whl >/dev/null 2>&1; then
        "$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" --target build/gpu-packages \
            -r benchmarks/gpu/wheels.txt
    fi
    export PYTHONPATH="build/gpu-packages:src${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
    mkdir -p "$out"
    # The shares of the time decide what is known if the machine is taken away: first that clips are right at all.
    timeout 150 "$python" benchmarks/gpu/check_device.py >"$out/checks.txt" 2>&1 || echo "a check failed, or the time was over; see checks.txt"
    tail -n 20 "$out/checks.txt"
    [ $# -gt 0 ] || set -- --clips 2 --rounds 2 --budget-s 300
    "$python" benchmarks/gpu/measure.py --out "$out/figures.json" "$@"
    ;;
*)
    echo "the first argument is collect or measure" >&2
    exit 2
    ;;
esac
