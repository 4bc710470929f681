"""What a partition promises, on generated training sets and on MNIST."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsefed.data import IID, MNIST, OneClass, Partition, Population, Split
from sparsefed.errors import DataError, SpecError

CLASSES = 4
labels = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=60)


def training_set(y: list[int], users: list[int] | None = None) -> Split:
    owners = None if users is None else np.array(users, np.int32)
    return Split(torch.zeros(len(y), 2), torch.tensor(y), owners)


def everyone(population: Population) -> np.ndarray:
    return np.arange(len(population))


def owned(population: Population) -> list[np.ndarray]:
    indices, sizes = population.gather(everyone(population))
    return np.split(indices, np.cumsum(sizes)[:-1])


def test_gather_answers_like_slicing_client_by_client():
    population = Population.of_sizes(np.array([7, 3, 5, 1, 0], np.uint8), np.array([2, 0, 3]))
    indices, sizes = population.gather(np.array([2, 1, 0, 2]))
    assert indices.tolist() == [5, 1, 0, 7, 3, 5, 1, 0]
    assert sizes.tolist() == [3, 0, 2, 3]
    assert indices.dtype == sizes.dtype == np.int64


@given(y=labels, clients=st.integers(1, 60), seed=st.integers(0, 9))
def test_iid_clients_are_equal_and_share_no_example(y: list[int], clients: int, seed: int):
    clients = min(clients, len(y))
    parts = owned(IID(clients=clients).split(training_set(y), CLASSES, seed))
    assert [len(part) for part in parts] == [len(y) // clients] * clients
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)


@given(y=labels, clients=st.integers(1, 60), seed=st.integers(0, 9))
def test_one_class_clients_hold_one_class_and_share_no_example(y: list[int], clients: int, seed: int):
    clients = min(clients, len(y))
    parts = owned(OneClass(clients=clients).split(training_set(y), CLASSES, seed))
    assert len(parts) == clients
    assert all(len({y[i] for i in part}) == 1 for part in parts)
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert max(map(len, parts)) <= len(y) // clients


@given(y=labels, per_client=st.integers(1, 5), data=st.data())
def test_one_class_clients_are_full_whenever_that_is_possible(
    y: list[int], per_client: int, data: st.DataObject
):
    possible = sum(y.count(label) // per_client for label in range(CLASSES))
    clients = data.draw(st.integers(0, possible))
    if clients:
        partition = OneClass(clients=clients, per_client=per_client)
        assert {len(part) for part in owned(partition.split(training_set(y), CLASSES, 1))} == {per_client}


@pytest.mark.parametrize("partition", [IID(clients=7), OneClass(clients=7)], ids=repr)
def test_the_seed_decides_the_partition(partition: Partition):
    train = training_set([0, 1, 2, 3] * 20)
    first, again, other = (partition.split(train, CLASSES, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.offsets, again.offsets)
    assert not np.array_equal(first.indices, other.indices)


@pytest.mark.parametrize("partition", [IID(clients=7), OneClass(clients=7)], ids=repr)
def test_more_clients_than_examples_are_refused(partition: Partition):
    with pytest.raises(DataError, match=r"7 clients, 5 examples; need `per_client` and `replace = true`"):
        partition.split(training_set([0, 1, 2, 3, 3]), CLASSES, 1)


@pytest.mark.parametrize("kind", [IID, OneClass])
def test_more_examples_than_there_are_can_only_be_drawn_with_replacement(kind: type[IID] | type[OneClass]):
    train = training_set([0, 1, 2, 3, 3])
    with pytest.raises(DataError, match=r"7 clients of 2 need 14 examples or `replace = true`, found 5"):
        kind(clients=7, per_client=2).split(train, CLASSES, 1)
    parts = owned(kind(clients=7, per_client=2, replace=True).split(train, CLASSES, 1))
    assert [len(part) for part in parts] == [2] * 7
    if kind is OneClass:
        assert all(len(set(train.y[part].tolist())) == 1 for part in parts)


def test_one_class_of_next_tokens_is_refused():
    text = Split(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(DataError, match="needs one class per example, found 4 tokens each"):
        OneClass(clients=2).split(text, 5, 1)


def test_a_population_of_none_is_refused():
    with pytest.raises(SpecError, match="clients"):
        IID(clients=0)


@pytest.mark.parametrize("kind", [IID, OneClass])
def test_a_million_clients_cost_megabytes_and_milliseconds(kind: type[IID] | type[OneClass]):
    train = training_set([label % CLASSES for label in range(60_000)])
    partition = kind(clients=1_000_000, per_client=6, replace=True)
    begin = time.perf_counter()
    population = partition.split(train, CLASSES, 1)
    assert time.perf_counter() - begin < 1  # measured 0.05 s
    assert population.indices.nbytes + population.offsets.nbytes == 16_000_004
    tracemalloc.start()
    partition.split(train, CLASSES, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_mnist_in_ten_thousand_one_class_clients(shared_data):
    train = MNIST(folder=shared_data / "mnist").load().train
    population = OneClass(clients=10_000, per_client=6).split(train, 10, 1)
    parts = owned(population)
    assert len(parts) == 10_000
    assert {len(part) for part in parts} == {5, 6}
    assert sum(len(part) == 6 for part in parts) > 9_990
    assert all(len(set(train.y[part].tolist())) == 1 for part in parts[::50])
