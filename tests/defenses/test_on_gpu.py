"""Every defense gives on a GPU what it gives on the CPU."""

import pytest
import torch

import sparsefed as sf
from sparsefed.defenses import Defense

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

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
def test_a_defense_gives_the_same_on_cpu_and_gpu(rule: Defense) -> None:
    draw = torch.Generator().manual_seed(0)
    params = torch.zeros(5000, dtype=torch.float64)
    here, there = rule.init(params), rule.init(params.cuda())
    for lr in (0.1, 0.5, 0.3):
        matrix = torch.randn(15, 5000, generator=draw, dtype=torch.float64)
        ours, theirs = sf.dense(matrix).admitted(70.0), sf.dense(matrix.cuda()).admitted(70.0)
        delta, here = rule.step(ours, here, lr)
        remote, there = rule.step(theirs, there, lr)
        assert remote.is_cuda
        assert torch.allclose(delta, remote.cpu(), rtol=1e-9, atol=1e-12)
        found = rule.diagnose(theirs, there, remote, lr, 13)
        assert found == pytest.approx(rule.diagnose(ours, here, delta, lr, 13))


def test_noise_on_a_gpu_follows_from_seed_and_round() -> None:
    rule = sf.GaussianNoise(sigma=1.0)
    state = rule.init(torch.zeros(1000, device="cuda"), seed=3)
    updates = sf.dense(torch.zeros(4, 1000, device="cuda"))
    assert torch.equal(rule.step(updates, state)[0], rule.step(updates, state)[0])
