"""The LSTM language model: tied weights, its published start, and no look into the future."""

import pytest
import torch

from sparsefed.core.errors import SpecError
from sparsefed.models import LSTM


def test_a_tied_weight_is_one_parameter_that_both_ends_follow():
    network = LSTM(embedding=5, hidden=5).network((6,), 9, seed=0)
    assert network.size == 9 * 5 + 9 + 2 * (4 * 5 * 10 + 8 * 5)
    network.bind(torch.zeros(network.size))
    assert network.module.decoder.weight is network.module.embedding.weight
    assert network.module.embedding.weight.count_nonzero() == 0


def test_the_language_model_starts_as_published_and_never_looks_ahead():
    module = LSTM(embedding=5, hidden=5).network((6,), 9, seed=0).module
    assert 0.05 < module.embedding.weight.abs().max() <= 0.1
    assert module.decoder.bias.count_nonzero() == 0
    tokens = torch.zeros(1, 6, dtype=torch.long)
    changed = tokens.clone()
    changed[0, 4] = 7
    same = (module(tokens) == module(changed)).all(dim=-1)[0]
    assert same.tolist() == [True] * 4 + [False] * 2


def test_dropout_acts_while_training_only():
    module = LSTM(embedding=8, hidden=8, dropout=0.5).network((6,), 9, seed=0).module
    tokens = torch.zeros(2, 6, dtype=torch.long)
    assert not torch.equal(module(tokens), module(tokens))
    module.eval()
    assert torch.equal(module(tokens), module(tokens))


def test_a_tied_decoder_needs_matching_sizes():
    with pytest.raises(SpecError, match="`embedding` equal to `hidden` for a tied decoder, found 3 and 4"):
        LSTM(embedding=3, hidden=4)
