"""Every kind of model, data, objective and clip gives on another device what it gives on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import second_device
import small
import torch
import torch.distributed as dist

import sparsefed as sf
from sparsefed.attacks import DistributedTrigger, EdgeCase, SemanticBackdoor, TriggerBackdoor, WordBackdoor
from sparsefed.core.ranks import Ranks
from sparsefed.data import CIFAR10, MNIST, QMNIST, Natural, OneClass, ShakespeareWords
from sparsefed.federation.checks import use_device
from sparsefed.models import CNN, LSTM, ResNet9
from sparsefed.protocol.columns import Columns

OFTEN = sf.Pool(fraction=0.4)
WORDS = {
    "data": ShakespeareWords(vocabulary=500),
    "partition": Natural(),
    "model": LSTM(embedding=8, hidden=8, layers=1, dropout=0.0),
}
PARTS: dict[str, dict[str, Any]] = {
    "a quantile clip": {"clip": sf.QuantileClip()},
    "a clip that follows the learning rate": {"clip": sf.AdaptiveClip(norm=1.0)},
    "no clip": {"clip": sf.Unclipped()},
    "an anchor": {"anchor": sf.InitialModel(stiffness=0.01)},
    "a network of convolutions": {"model": CNN()},
    "local training of convolutions": {"model": CNN(), "clients": sf.FedAvg(batch_size=4, local_epochs=2)},
    "one local step": {"clients": sf.FedAvg()},
    "a trigger": {"attack": small.attack(presence=OFTEN, objective=TriggerBackdoor(target=0, points=20))},
    "single precision": {"precision": "float32"},
}
ON_REAL_DATA: dict[str, dict[str, Any]] = {
    "gray images": {"data": MNIST(), "partition": OneClass(clients=5000), "model": ResNet9(width=4)},
    "color images": {"data": CIFAR10(), "partition": OneClass(clients=10_000), "model": ResNet9(width=4)},
    "words": WORDS
    | {
        "attack": small.attack(presence=OFTEN, objective=WordBackdoor(sentence="the king is dead", points=20))
    },
    "writers": {
        "data": QMNIST(),
        "partition": Natural(per_user=10),
        "attack": small.attack(presence=OFTEN, objective=DistributedTrigger(target=0, points=20)),
    },
    "an edge case": {
        "data": MNIST(),
        "partition": OneClass(clients=5000),
        "attack": small.attack(presence=OFTEN, objective=EdgeCase(source=7, target=1)),
    },
    "a semantic backdoor": {
        "data": MNIST(),
        "partition": OneClass(clients=5000),
        "attack": small.attack(presence=OFTEN, objective=SemanticBackdoor(source=7, target=1)),
    },
}


def same_way(device: str, rounds: int = 4, **parts: Any) -> None:
    attack = small.attack(presence=OFTEN)
    spec = small.experiment(**{"attack": attack, "precision": "float64", **parts})
    ends = []
    for place in ("cpu", device):
        fed = sf.Federation.of(small.on(spec, place))
        state = fed.initial_state
        for _ in range(rounds):
            state, _ = sf.run_round(fed, state)
        ends.append(state.params.cpu())
    tolerance = 1e-9 if spec.precision == "float64" else 1e-3
    torch.testing.assert_close(ends[1], ends[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", PARTS)
def test_an_experiment_goes_the_same_way_on_the_cpu_and_elsewhere(name: str, other_device: str) -> None:
    same_way(other_device, **PARTS[name])


@pytest.mark.parametrize("name", ON_REAL_DATA)
def test_an_experiment_on_real_data_goes_the_same_way(
    name: str, other_device: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEFED_DATA", str(shared_data))
    if name == "words" and other_device == second_device.DEVICE:
        pytest.skip("the device has no LSTM: PyTorch wants one kernel for the whole cell")
    same_way(other_device, rounds=2, **ON_REAL_DATA[name])


def test_a_run_with_its_twin_is_recorded_and_resumed_elsewhere(other_device: str, tmp_path: Path) -> None:
    spec = small.on(small.experiment(attack=small.attack(presence=OFTEN), twin=True, rounds=6), other_device)
    whole = list(sf.play(spec, tmp_path / "whole"))
    stopped = sf.play(spec, tmp_path / "stopped")
    rows = [next(stopped) for _ in range(3)]
    stopped.close()
    rows += sf.play(spec, tmp_path / "stopped")
    assert len(rows) == 6
    for found, expected in zip(rows, whole, strict=True):
        for key in ("test_accuracy", "attack_accuracy", "twin_test_accuracy", "honest_norm"):
            assert found.get(key) == expected.get(key)


def test_on_a_gpu_float32_rounds_only_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic
    try:
        for precision, rounds in (("tf32", True), ("float32", False), ("float64", False)):
            use_device("cuda", precision)
            assert (cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic) == (rounds, rounds, True)
    finally:
        cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic = before


def test_on_a_cpu_tf32_is_float32() -> None:
    ends = []
    for precision in ("float32", "tf32"):
        fed = sf.Federation.of(small.experiment(precision=precision))
        state, _ = sf.run_round(fed, fed.initial_state)
        ends.append(state.params)
    assert ends[0].dtype == torch.float32
    assert torch.equal(*ends)


class Alone(Ranks):
    """One process that has nobody to talk to."""

    def gathered(self, parts: Sequence[torch.Tensor], places: Sequence[slice]) -> torch.Tensor:
        return torch.cat(list(parts))


def test_columns_of_clients_are_summed_where_they_lie(other_device: str) -> None:
    matrix = torch.randn(9, 40, dtype=torch.float64)
    blocks = [part.to(other_device) for part in matrix.split(5, dim=1)]
    norms = matrix.norm(dim=1).to(other_device)
    columns = Columns(Alone(0, 1, dist.HashStore()), blocks, 40, norms)
    for clip in (torch.inf, 5.0):
        short, truth = columns.admitted(clip), sf.dense(matrix).admitted(clip)
        weights = torch.rand(9, dtype=torch.float64)
        torch.testing.assert_close(short.sum().cpu(), truth.sum())
        torch.testing.assert_close(short.weighted_sum(weights).cpu(), truth.weighted_sum(weights))


def test_tensors_of_two_devices_do_not_mix(other_device: str) -> None:
    there, here = torch.ones(3, device=other_device), torch.ones(3)
    with pytest.raises(RuntimeError, match="device"):
        there + here
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, generator=torch.Generator(device=other_device))
    with pytest.raises(RuntimeError, match="device"):
        there.index_select(0, torch.tensor([0]))
    assert (there + 1).cpu().tolist() == [2.0, 2.0, 2.0]
