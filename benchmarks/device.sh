#!/usr/bin/env bash
# What only a GPU can show, the most telling first, in eight minutes: the tests on CUDA, the paper's CIFAR-10 run in
# full, then Table 2's headline at `paper` scale for as long as time is left. Results and a log go to $OUT.
#
#   SPARSEFED_DATA=data benchmarks/device.sh
#
# PyTorch must be installed. What else is missing is taken from the folder `wheels`, if there is one.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-build/device}
python=${PYTHON:-python3}
end=$(($(date +%s) + ${SECONDS_IN_ALL:-480}))
mkdir -p "$out" build/device-packages
if compgen -G "wheels/*.whl" > /dev/null; then
  "$python" -m pip install --quiet --no-deps --no-index --target build/device-packages wheels/*.whl || exit 2
fi
export PYTHONPATH=src:build/device-packages PYTHONUNBUFFERED=1
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || { echo "expected a GPU that PyTorch sees, found none"; exit 2; }

# within SECONDS NAME COMMAND…: runs it for so long, and never past the end; an interrupted run is saved.
within() {
  local left=$((end - $(date +%s))) most=$1 name=$2
  [ "$left" -gt 10 ] || { echo "$name: no time left" | tee -a "$out/log"; return; }
  echo "== $name" | tee -a "$out/log"
  timeout --signal INT --kill-after 20 "$((most < left ? most : left))" "${@:3}" 2>&1 | tee -a "$out/log"
}

within 100 "tests on CUDA" "$python" -m pytest -q -x -k cuda -p no:cacheprovider tests
within 240 "the paper's CIFAR-10 run" "$python" -m benchmarks.paper_scale
within 480 "Table 2's headline" "$python" -m sparsefed table headline --scale paper --runs build/device-runs
"$python" -m sparsefed report headline --scale paper --runs build/device-runs --out "$out/headline.md"
cp benchmarks/results/paper_scale.jsonl "$out/" 2> /dev/null
echo "in $out: $(ls "$out" | tr '\n' ' ')"
