"""What a partition promises, on generated training sets and on MNIST."""

import time
import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from sparsefed.core.errors import DataError, SpecError
from sparsefed.data import IID, MNIST, QMNIST, Dirichlet, Natural, OneClass, Partition, Population, Split
from sparsefed.data.partitions.population import SizedPartition

CLASSES = 4
SEVEN = [IID(clients=7), OneClass(clients=7), Dirichlet(clients=7, alpha=0.5)]
KINDS = [partial(IID), partial(OneClass), partial(Dirichlet, alpha=0.3)]
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


@pytest.mark.parametrize("partition", SEVEN, ids=repr)
def test_the_seed_decides_the_partition(partition: Partition):
    train = training_set([0, 1, 2, 3] * 20)
    first, again, other = (partition.split(train, CLASSES, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.offsets, again.offsets)
    assert not np.array_equal(first.indices, other.indices)


@pytest.mark.parametrize("partition", SEVEN, ids=repr)
def test_more_clients_than_examples_are_refused(partition: Partition):
    with pytest.raises(
        DataError, match=r"expected at most as many clients as examples, or `per_client` .*, found 5"
    ):
        partition.split(training_set([0, 1, 2, 3, 3]), CLASSES, 1)


@pytest.mark.parametrize("kind", KINDS, ids=["IID", "OneClass", "Dirichlet"])
def test_more_examples_than_there_are_can_only_be_drawn_with_replacement(kind: partial[SizedPartition]):
    train = training_set([0, 1, 2, 3, 3])
    with pytest.raises(DataError, match=r"expected 14 examples or `replace = true`, found 5"):
        kind(clients=7, per_client=2).split(train, CLASSES, 1)
    parts = owned(kind(clients=7, per_client=2, replace=True).split(train, CLASSES, 1))
    assert [len(part) for part in parts] == [2] * 7
    if kind.func is OneClass:
        assert all(len(set(train.y[part].tolist())) == 1 for part in parts)


def test_one_class_of_next_tokens_is_refused():
    text = Split(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(DataError, match="expected one class per example, found 4 tokens each"):
        OneClass(clients=2).split(text, 5, 1)


def test_a_population_of_none_is_refused():
    with pytest.raises(SpecError, match="clients"):
        IID(clients=0)


@pytest.mark.parametrize("kind", KINDS, ids=["IID", "OneClass", "Dirichlet"])
def test_a_million_clients_cost_megabytes_and_milliseconds(kind: partial[SizedPartition]):
    train = training_set([label % CLASSES for label in range(60_000)])
    partition = kind(clients=1_000_000, per_client=6, replace=True)
    begin = time.perf_counter()
    population = partition.split(train, CLASSES, 1)
    assert time.perf_counter() - begin < 2  # measured 0.05 s, Dirichlet 0.3 s, on an idle core
    assert population.indices.nbytes + population.offsets.nbytes == 16_000_004
    tracemalloc.start()
    partition.split(train, CLASSES, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_mnist_in_ten_thousand_one_class_clients(shared_data):
    train = MNIST(folder=shared_data / "mnist").load().train
    population = OneClass(clients=10_000, per_client=6).split(train, 10, 1)
    parts = owned(population)
    assert len(parts) == 10_000
    assert {len(part) for part in parts} == {5, 6}
    assert sum(len(part) == 6 for part in parts) > 9_990
    assert all(len(set(train.y[part].tolist())) == 1 for part in parts[::50])


@given(
    y=labels,
    clients=st.integers(1, 60),
    alpha=st.sampled_from([1e-300, 0.01, 0.5, 10, 1e300]),
    seed=st.integers(0, 9),
)
def test_dirichlet_clients_are_equal_and_share_no_example(
    y: list[int], clients: int, alpha: float, seed: int
):
    clients = min(clients, len(y))
    parts = owned(Dirichlet(clients=clients, alpha=alpha).split(training_set(y), CLASSES, seed))
    assert [len(part) for part in parts] == [len(y) // clients] * clients
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_dirichlet_mixes_have_the_distribution_s_variance(alpha: float, replace: bool):
    """A class's share among m examples of a Dir(α, …, α) mix has variance v (m + C α) / (m (C α + 1))."""
    train = training_set([label % CLASSES for label in range(40_000)])
    m, clients = 8, 4000  # fewer examples than there are, so that no class runs out
    partition = Dirichlet(clients=clients, per_client=m, alpha=alpha, replace=replace)
    examples = partition.split(train, CLASSES, 5).indices.reshape(clients, m)
    share = (train.y.numpy()[examples] == 1).mean(axis=1)
    single, total = 1 / CLASSES * (1 - 1 / CLASSES), CLASSES * alpha
    expected = single * (m + total) / (m * (total + 1))
    assert share.mean() == pytest.approx(1 / CLASSES, abs=0.02)
    assert share.var() == pytest.approx(expected, rel=0.08)


def test_dirichlet_follows_unequal_classes():
    train = training_set([0] * 900 + [1] * 100)
    examples = (
        Dirichlet(clients=100_000, per_client=1, alpha=1, replace=True).split(train, CLASSES, 1).indices
    )
    assert train.y.numpy()[examples].mean() == pytest.approx(0.1, abs=0.01)
    assert len(np.unique(examples)) == 1000


@given(
    users=st.lists(st.integers(0, 5).map(lambda u: 3 * u), min_size=1, max_size=60),
    per_user=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_natural_clients_hold_one_user_each_and_all_examples(users: list[int], per_user: int, seed: int):
    parts = owned(Natural(per_user=per_user).split(training_set([0] * len(users), users), CLASSES, seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(users)))
    owners = [{users[i] for i in part} for part in parts]
    assert all(len(owner) == 1 for owner in owners)
    names = [owner.pop() for owner in owners]
    assert names == sorted(names)
    for user in set(users):
        sizes = [len(part) for part, name in zip(parts, names, strict=True) if name == user]
        assert len(sizes) == min(per_user, users.count(user))
        assert max(sizes) - min(sizes) <= 1


def test_natural_needs_users():
    with pytest.raises(DataError, match=r"Natural\(\): expected the user of each example, found none"):
        Natural().split(training_set([0, 1]), CLASSES, 1)


def test_writers_are_clients(shared_data):
    data = QMNIST(folder=shared_data / "qmnist", images=MNIST(folder=shared_data / "mnist")).load()
    assert len(Natural().split(data.train, 10, 1)) == 539
    devices = Natural(per_user=10).split(data.train, 10, 1)
    assert len(devices) == 5390
    assert devices.indices.dtype == np.uint16
    assert int(devices.sizes(everyone(devices)).sum()) == 60_000


def test_partitions_are_chosen_by_name():
    chosen = Partition.model_validate({"type": "Dirichlet", "clients": 3, "alpha": 0.5})
    assert chosen == Dirichlet(clients=3, alpha=0.5)
    with pytest.raises(ValueError, match="expected one of Dirichlet, IID, Natural, OneClass"):
        Partition.model_validate({"type": "SizedPartition", "clients": 3})


@pytest.mark.parametrize("clients", [2**41, 10**18, 10**25])
def test_more_clients_than_any_machine_holds_are_refused(clients: int):
    with pytest.raises(
        DataError, match=f"expected at most {2**40:,} examples in all, found {clients:,} clients of 1"
    ):
        OneClass(clients=clients, per_client=1, replace=True).split(training_set([0, 1, 2]), CLASSES, seed=0)
