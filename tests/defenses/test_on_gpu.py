"""Every defense gives on another device what it gives on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import small
import torch
from test_in_a_federation import EVERY, assert_resumes, spec_of

import sparsefed as sf
from sparsefed.core.toml import to_toml
from sparsefed.defenses import Defense

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

DRAWS = {"GaussianNoise", "LiteralNoise", "CRFL", "FLAME"}
"""Rules whose noise a GPU draws otherwise than a CPU."""
SIGNS = {"SignMajority", "RLR", "LASA"}
"""Rules that go by the sign of what rounding leaves of 0."""
TIES = {"FetchSGD"}
"""Rules with estimates that are exactly equal, of which each device takes another k."""
RULES: list[Defense] = [
    sf.Mean(momentum=0.9),
    sf.GaussianNoise(sigma=0.0, momentum=0.9),
    sf.TrimmedMean(f=2),
    sf.Median(),
    sf.Krum(f=2),
    sf.PaperKrum(f=2),
    sf.MultiKrum(f=2, m=5),
    sf.Bulyan(f=2),
    sf.PaperBulyan(f=2),
    sf.SparseFed(k=50, momentum=0.9),
    sf.AutoSparseFed(max_loss=0.5),
    sf.FetchSGD(k=50, rows=5, columns=3000, momentum=0.9),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_defense_gives_the_same_on_the_cpu_and_elsewhere(rule: Defense, other_device: str) -> None:
    draw = torch.Generator().manual_seed(0)
    params = torch.zeros(5000, dtype=torch.float64)
    here, there = rule.init(params), rule.init(params.to(other_device))
    for lr in (0.1, 0.5, 0.3):
        matrix = torch.randn(15, 5000, generator=draw, dtype=torch.float64)
        ours, theirs = sf.dense(matrix).admitted(70.0), sf.dense(matrix.to(other_device)).admitted(70.0)
        delta, here = rule.step(ours, here, lr)
        remote, there = rule.step(theirs, there, lr)
        assert remote.device.type == other_device
        assert torch.allclose(delta, remote.cpu(), rtol=1e-9, atol=1e-12)
        found = rule.diagnose(theirs, there, remote, lr, 13)
        assert found == pytest.approx(rule.diagnose(ours, here, delta, lr, 13))


def test_noise_elsewhere_follows_from_seed_and_round(other_device: str) -> None:
    rule = sf.GaussianNoise(sigma=1.0)
    state = rule.init(torch.zeros(1000, device=other_device), seed=3)
    updates = sf.dense(torch.zeros(4, 1000, device=other_device))
    assert torch.equal(rule.step(updates, state)[0].cpu(), rule.step(updates, state)[0].cpu())


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize(
    "clients", [sf.Gradient(), sf.FedAvg(batch_size=4)], ids=lambda kind: type(kind).__name__
)
def test_an_attacked_federation_goes_the_same_way_on_the_cpu_and_elsewhere(
    rule: Defense, clients: sf.Clients, other_device: str
) -> None:
    ends = []
    for device in ("cpu", other_device):
        fed = sf.Federation.of(small.on(spec_of(rule, clients=clients, precision="float64"), device))
        state = fed.initial_state
        for _ in range(3):
            state, report = sf.run_round(fed, state)
        ends.append((state.params.cpu(), report))
    (here, ours), (there, theirs) = ends
    assert ours.compromised == theirs.compromised
    apart = DRAWS | SIGNS if other_device == "cuda" else TIES
    if type(rule).__name__ not in apart:
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-9)
        assert theirs.diagnosis.keys() == ours.diagnosis.keys()
        for key, expected in ours.diagnosis.items():
            # equal values of several clients, and what rounding leaves of 0, count for either side
            tolerance = 0.05 if key in ("compromised_kept", "support") else 1e-6
            assert theirs.diagnosis[key] == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(
    "rule", EVERY if torch.cuda.is_available() else EVERY[::4], ids=lambda rule: type(rule).__name__
)
def test_elsewhere_a_stopped_run_ends_bit_for_bit_as_if_never_stopped(
    rule: Defense, other_device: str, tmp_path: Path
) -> None:
    assert_resumes(small.on(spec_of(rule), other_device), tmp_path)


@needs_gpu
def test_torchrun_on_a_gpu_gives_the_bits_of_blocks_through_nccl(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    small_spec = spec_of(sf.SparseFed(k=50, momentum=0.9), device="cuda")
    spec.write_text(to_toml(small_spec.to_dict()))
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "sparsefed"]
    for folder in ("a", "b"):
        done = subprocess.run(
            [sys.executable, *words, "run", str(spec), "--runs", str(tmp_path / folder)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    ends = [next((tmp_path / folder).glob("*/state.safetensors")) for folder in ("a", "b")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    fed = sf.Federation.of(small_spec)
    state = fed.initial_state
    for _ in range(small_spec.rounds):
        state, _ = sf.run_round(fed, state)
    saved = safetensors.torch.load_file(ends[0])
    torch.testing.assert_close(saved["server.params"], state.params.cpu(), rtol=1e-4, atol=1e-6)
