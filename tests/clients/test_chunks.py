"""How clients are cut into chunks, and what a chunk holds."""

import numpy as np
import torch
from hypothesis import given, strategies as st

from sparsefed.clients import LocalData
from sparsefed.clients.chunks import WASTE, chunk_of, cuts
from sparsefed.models.network import IGNORED

cohorts = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(np.array)


def data_of(sizes: np.ndarray) -> LocalData:
    examples = torch.arange(int(sizes.sum()))
    return LocalData(np.arange(len(sizes)), examples[:, None].float(), examples, sizes)


@given(cohorts, st.integers(1, 100), st.booleans())
def test_every_client_is_in_exactly_one_chunk_within_the_bounds(sizes, examples, by_size):
    order = np.argsort(sizes, kind="stable") if by_size else np.arange(len(sizes))
    chunks = list(cuts(sizes, order, examples))
    assert np.array_equal(np.concatenate(chunks), order)
    for clients in chunks:
        padded = len(clients) * sizes[clients].max()
        assert len(clients) == 1 or padded <= examples
        assert padded <= WASTE * sizes[clients].sum()


@given(cohorts, st.randoms(use_true_random=False))
def test_a_chunk_holds_each_clients_examples_once_and_repeats_without_label(sizes, random):
    clients = np.array(random.sample(range(len(sizes)), random.randint(1, len(sizes))))
    data = data_of(sizes)
    chunk = chunk_of(data, clients)
    starts = np.cumsum(sizes) - sizes
    rows = zip(chunk.inputs[:, 0].view(len(clients), -1), chunk.labels.view(len(clients), -1), strict=True)
    for client, (inputs, labels) in zip(clients, rows, strict=True):
        own = np.arange(starts[client], starts[client] + sizes[client])
        assert np.array_equal(labels[labels != IGNORED], own)
        assert np.array_equal(inputs[labels != IGNORED], own)
        assert set(inputs.tolist()) <= set(own.tolist())
    assert data.labels.min() == 0  # the cohort's own labels are untouched


def test_equal_neighbours_are_not_copied():
    data = data_of(np.full(6, 4))
    chunk = chunk_of(data, np.arange(2, 5))
    assert chunk.inputs.data_ptr() == data.inputs[8].data_ptr()
