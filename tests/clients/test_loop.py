"""The literal loop: the reference that every engine is held against."""

import math

import torch
from cohorts import RAGGED, layer_work

from sparsefed.clients.loop import Loop


def test_the_loop_gives_every_client_its_own_examples_in_order():
    work = layer_work("linear")
    seen = []

    def client(work, position, examples):
        seen.append((position, examples.start, examples.stop))
        return torch.full((work.network.size,), float(position), dtype=torch.float64)

    rows = Loop(work, client).rows()
    assert [stop - start for _, start, stop in seen] == list(RAGGED)
    assert [position for position, _, _ in seen] == list(range(len(RAGGED)))
    assert rows[:, 0].tolist() == list(range(len(RAGGED)))


def test_the_sum_is_of_clipped_updates_and_leaves_out_what_is_not_finite():
    work = layer_work("linear")
    direction = torch.zeros(work.network.size, dtype=torch.float64)
    direction[2] = 1.0
    lengths = [0.5, 3.0, math.nan, 2.0, math.inf, 0.0, 1.0]
    norms, total = Loop(work, lambda work, position, examples: lengths[position] * direction).reduce(2.0)
    assert norms[[0, 1, 3, 5, 6]].tolist() == [0.5, 3.0, 2.0, 0.0, 1.0]
    assert not norms[[2, 4]].isfinite().any()
    assert total[2] == 0.5 + 2.0 + 2.0 + 0.0 + 1.0
    assert total.count_nonzero() == 1
