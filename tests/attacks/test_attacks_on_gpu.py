"""Every attack gives on a GPU what it gives on the CPU."""

import pytest
import torch
from scenes import METHODS, federation_of, name

import sparsefed as sf
from sparsefed.attacks import Method
from sparsefed.federation.round import run_round

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DRAWS = {"Gaussian", "PoisonedFL"}
"""Methods whose upload is noise, which a GPU draws otherwise than a CPU."""


@needs_gpu
@pytest.mark.parametrize("method", METHODS, ids=name)
def test_an_attack_gives_the_same_on_cpu_and_gpu(method: Method) -> None:
    ends = []
    for device in ("cpu", "cuda"):
        fed = federation_of(method, precision="float64", device=device, defense=sf.Mean())
        state = fed.initial_state
        for _ in range(3):
            state, report = run_round(fed, state)
        ends.append((state.params.cpu(), report))
    (here, ours), (there, theirs) = ends
    assert ours.compromised == theirs.compromised > 0
    if name(method) not in DRAWS:
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-9)
