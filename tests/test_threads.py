"""Threads of one process share PyTorch's generator, and every result is as if there were one thread."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import small
import torch

import sparsefed as sf
from sparsefed.core.seeds import Stream, kept, seeded
from sparsefed.models import MLP

pytestmark = pytest.mark.filterwarnings("ignore::sparsefed.clients.trust.SlowModel")


def in_threads(function, arguments):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, arguments))


def test_initial_models_built_in_threads_are_those_of_their_seeds():
    def start(seed):
        return MLP(hidden=(50,)).network((64,), 10, seed).vector()

    seeds = [*range(8)] * 5
    for alone, together in zip(map(start, seeds), in_threads(start, seeds), strict=True):
        assert torch.equal(alone, together)


@pytest.mark.parametrize("model", [{"type": "drawing:build", "kind": "AddsNoise"}, {"type": "MLP"}])
def test_attacked_simulations_in_threads_give_what_they_give_alone(model):
    def loss(seed):
        attack = small.attack(presence=sf.Pool(fraction=0.4))
        return sf.simulate(small.experiment(seed=seed, rounds=3, model=model, attack=attack))["loss"]

    assert in_threads(loss, range(4)) == [loss(seed) for seed in range(4)]


def test_a_child_forked_beside_a_running_round_does_not_wait_for_it():
    with ThreadPoolExecutor(1) as pool, kept():
        child = pool.submit(_fork_and_seed).result(timeout=30)
    assert child == 0


def _fork_and_seed() -> int:
    """The exit code of a child that uses a seeded section; another thread is in one meanwhile."""
    child = os.fork()
    if child == 0:
        with seeded(0, Stream.MODEL):
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
