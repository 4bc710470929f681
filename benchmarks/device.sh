#!/usr/bin/env bash
# What only a GPU can show, the most telling first: the tests on CUDA, a round at the paper's size, the frontier of
# CIFAR-10, and Table 2's headline at `paper` scale (seed 0) beside `small` (every seed), for as long as time is
# left. A log, pages and runs go to $OUT.
#
#   SPARSEFED_DATA=data benchmarks/device.sh [tests] [speed] [frontier] [headline]
#
# PyTorch must be installed. What else is missing is taken from the folder `wheels`, if there is one. SECONDS_IN_ALL
# (480) is all the time there is; JOBS (3) is how many small runs share the GPU with the large one; five of them
# double its time.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-build/device}
python=${PYTHON:-python3}
end=$(($(date +%s) + ${SECONDS_IN_ALL:-480}))
stages=${*:-tests speed frontier headline}
packages=$PWD/build/device-packages
mkdir -p "$out" build
if compgen -G "wheels/*.whl" > /dev/null && [ ! -d "$packages" ]; then
  "$python" -m pip install --quiet --no-deps --no-index --no-compile --target "$packages" wheels/*.whl || exit 2
fi
export PYTHONPATH=$PWD/src:$packages PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || { echo "expected a GPU that PyTorch sees, found none"; exit 2; }

# within SECONDS NAME COMMAND…: runs it for so long, and never past the end; an interrupted run is saved.
within() {
  local left=$((end - $(date +%s))) most=$1 name=$2
  [ "$left" -gt 10 ] || { echo "$name: no time left" | tee -a "$out/log"; return; }
  echo "== $name, $(date +%T)" | tee -a "$out/log"
  timeout --kill-after 20 "$((most < left ? most : left))" "${@:3}" 2>&1 | tee -a "$out/log"
}

runs=build/device-runs
headline() { "$python" -m sparsefed "$1" headline --scale "$2" --runs $runs --out "$out/headline_$2.md" "${@:3}"; }

[[ $stages == *tests* ]] && within 120 "tests on CUDA" "$python" -m pytest -q -n 8 -k "cuda or gpu or elsewhere" \
  -p no:cacheprovider -o filterwarnings=default --tb=short tests/{attacks,clients,data,defenses,kernels,models} tests/test_{devices,federation,received}.py
for precision in float32 tf32; do
  [[ $stages == *speed* ]] && within 60 "rounds of the paper's CIFAR-10 run, $precision" \
    "$python" -m benchmarks.paper_scale --rounds "${ROUNDS:-50}" --precision $precision
done
for share in 0.02 0.1; do
  [[ $stages == *frontier* ]] && within 150 "frontier of CIFAR-10, $share compromised" \
    "$python" -m sparsefed frontier examples/frontiers/cifar10.toml --compromised $share --set device=cuda \
    --jobs "${FRONTIER_JOBS:-6}" --budget "${BUDGET:-14m}" --runs $runs --out "$out/frontier_cifar10_$share.md"
done
if [[ $stages == *headline* ]]; then
  export -f headline
  export python runs out
  within 600 "headline at small" bash -c "for s in 0 1 2; do headline table small --set device=cuda --only \"seed \$s\" --jobs ${JOBS:-3} --threads 1; done" > "$out/log_small" &
  within 600 "headline at paper" bash -c "headline table paper --set precision=tf32 --only 'seed 0' --only 'at the server' --threads 1"
  wait
  headline report paper --set precision=tf32
  headline report small --set device=cuda
  tar -czf "$out/runs.tar.gz" --exclude=state.safetensors -C build device-runs
fi
cp benchmarks/results/paper_scale.jsonl "$out/" 2> /dev/null
echo "in $out: $(ls "$out" | tr '\n' ' ')"
