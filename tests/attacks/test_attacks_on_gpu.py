"""Every attack gives on another device what it gives on the CPU."""

import pytest
import small
import torch
from scenes import METHODS, name, scene

import sparsefed as sf
from sparsefed.attacks import Method

DRAWS = {"Gaussian", "PoisonedFL"}
"""Methods whose upload is noise, which a GPU draws otherwise than a CPU."""


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_an_attack_gives_the_same_on_the_cpu_and_elsewhere(method: Method, other_device: str) -> None:
    ends = []
    for device in ("cpu", other_device):
        spec = scene(method, precision="float64", defense=sf.Mean())
        fed = sf.Federation.of(small.on(spec, device))
        state = fed.initial_state
        for _ in range(3):
            state, report = sf.run_round(fed, state)
        ends.append((state.params.cpu(), report))
    (here, ours), (there, theirs) = ends
    assert ours.compromised == theirs.compromised > 0
    if other_device != "cuda" or name(method) not in DRAWS:
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-9)
