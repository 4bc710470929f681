"""Kill a run with SIGKILL at random moments, resume it each time, and compare with one left alone.

python -m benchmarks.killed [kills]
"""

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sparsefed as sf
from sparsefed.federation.experiment import read_experiment
from sparsefed.runs.record import Record

CHANGES = ["rounds=600"]
RUN = [sys.executable, "-m", "sparsefed", "run"]


def command(spec: Path, runs: Path) -> list[str]:
    sets = [word for change in CHANGES for word in ("--set", change)]
    return [*RUN, str(spec), *sets, "--runs", str(runs), "--threads", "1", "--json"]


def fingerprint(spec: sf.Experiment, runs: Path) -> str:
    return hashlib.sha256((Record(runs, spec).folder / "state.safetensors").read_bytes()).hexdigest()[:16]


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    path = Path(__file__).parents[1] / "examples" / "mnist.toml"
    spec = read_experiment(path, CHANGES)
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        started = time.monotonic()
        subprocess.run(command(path, whole), check=True, stdout=subprocess.DEVNULL)
        lasted = time.monotonic() - started
        done = 0
        for _ in range(kills):
            process = subprocess.Popen(command(path, killed), stdout=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.2, 1.0) * max(4.0, 2 * lasted / kills))
            process.kill()
            done += process.wait() != 0
        subprocess.run(command(path, killed), check=True, stdout=subprocess.DEVNULL)
        same = fingerprint(spec, whole) == fingerprint(spec, killed)
        verdict = "identical" if same else "DIFFERENT"
        print(f"killed {done} times of {kills}, then resumed: {verdict} final state")
        print(f"never stopped {fingerprint(spec, whole)}, killed {fingerprint(spec, killed)}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
