"""A rule in a server of its owner's: precision, NumPy, weights, and a state that is saved and loaded."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import sparsefed as sf
from sparsefed.core.members import family_members
from sparsefed.core.spec import Spec
from sparsefed.defenses import Defense
from sparsefed.defenses.mean import Mean

D = 63
RULES: list[Defense] = [
    sf.Mean(momentum=0.9),
    sf.SparseFed(k=20, momentum=0.9),
    sf.AutoSparseFed(momentum=0.5),
    sf.FetchSGD(k=5, columns=50, momentum=0.9),
    sf.PaperFetchSGD(k=5, columns=50),
    sf.GaussianNoise(sigma=0.1, momentum=0.9),
    sf.LiteralNoise(sigma=0.1),
    sf.TrimmedMean(f=2),
    sf.Median(momentum=0.9),
    sf.Krum(f=1),
    sf.PaperKrum(f=1),
    sf.MultiKrum(f=1, m=4),
    sf.Bulyan(f=1),
    sf.PaperBulyan(f=1),
    sf.RFA(momentum=0.9),
    sf.CenteredClipping(radius=0.3),
    sf.MeanAroundMedian(f=1),
    sf.RLR(threshold=2),
    sf.SignMajority(),
    sf.DnC(f=1),
    sf.MDA(f=1),
    sf.LASA(length_limit=3.0, sign_limit=3.0),
    sf.FLAME(momentum=0.9),
    sf.CRFL(norm=3.0),
    sf.Bucketing(rule=sf.TrimmedMean(f=1)),
    sf.NNM(f=1),
    sf.ARC(f=1, rule=sf.Mean()),
]
WEIGHTED = [*RULES[:5], sf.CRFL(norm=3.0)]
UNLIKE_A_MEAN = [sf.RFA(momentum=0.9), sf.RLR(threshold=2)]
"""They know weights, but not as the weights of a mean."""
BOUNDED = (sf.CenteredClipping, sf.SignMajority)
"""No update makes their step too long."""
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def received(seed: int = 0, n: int = 11) -> torch.Tensor:
    return 0.1 * torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_rule
@pytest.mark.parametrize("server", TYPES, ids=str)
def test_the_servers_precision_is_the_servers(rule: Defense, server: torch.dtype) -> None:
    for sent in TYPES:
        state = rule.init(torch.zeros(D, dtype=server))
        for seed in range(2):
            updates = sf.dense(received(seed).to(sent)).admitted(0.5)
            delta, state = rule.step(updates, state, 0.5)
            assert delta.dtype == server
            assert all(part.dtype == server for part in state if part.is_floating_point())
            assert all(np.isfinite(list(rule.diagnose(updates, state, delta, 0.5).values())))


@every_rule
@pytest.mark.parametrize("sent", [torch.float32, torch.float64], ids=str)
def test_the_largest_updates_are_shortened_and_no_rule_loses_its_state(
    rule: Defense, sent: torch.dtype
) -> None:
    matrix = received().to(sent)
    matrix[-1] = torch.finfo(sent).max
    matrix[-2] = -torch.finfo(sent).max
    state = rule.init(torch.zeros(D))
    delta, state = rule.step(sf.dense(matrix).admitted(1.0), state)
    assert delta.isfinite().all()
    with suppress(sf.UpdateError):  # without a clip a step may overflow, and is then refused
        delta, _ = rule.step(sf.dense(matrix), state)
        assert delta.isfinite().all()


@every_rule
def test_numpy_in_is_numpy_out_with_the_same_numbers(rule: Defense) -> None:
    arrays, tensors = rule.init(np.zeros(D), seed=3), rule.init(torch.zeros(D, dtype=torch.float64), seed=3)
    for seed in range(3):
        updates = sf.dense(received(seed).numpy()).admitted(0.5)
        delta, arrays = rule.step(updates, arrays, lr=0.5)
        expected, tensors = rule.step(updates, tensors, lr=0.5)
        assert isinstance(delta, np.ndarray)
        assert all(isinstance(part, np.ndarray) for part in arrays)
        assert np.array_equal(delta, expected.numpy())
        found, needed = (
            rule.diagnose(updates, *pair, lr=0.5) for pair in ((arrays, delta), (tensors, expected))
        )
        assert found == needed
    (np.zeros(D) - delta)[0]


def test_a_rule_of_ones_own_takes_arrays_without_knowing_it() -> None:
    class Half(Mean):
        """Half of the mean."""

        def step(self, updates: Any, state: Any, lr: float = 1.0) -> Any:
            delta, state = super().step(updates, state, lr)
            return delta / 2, state

    delta, _ = Half().step(sf.dense(np.ones((2, 3))), state=Half().init(np.zeros(3)))
    assert delta.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("lr", [np.nan, np.inf, "0.1", None, np.ones(2)], ids=str)
def test_a_learning_rate_that_is_none_is_at_fault_itself(lr: Any) -> None:
    rule = sf.SparseFed(k=2)
    updates, state = sf.dense(torch.ones(3, 4)), rule.init(torch.zeros(4))
    with pytest.raises(sf.UpdateError, match=r"SparseFed\(k=2\): expected a finite number as `lr`, found "):
        rule.step(updates, state, lr)
    with pytest.raises(sf.UpdateError, match="expected a finite number as `lr`, found "):
        rule.step(updates, state, lr=lr)


@every_rule
def test_a_step_that_the_servers_precision_cannot_hold_is_refused(rule: Defense) -> None:
    matrix = torch.full((11, D), 1e300, dtype=torch.float64)
    state = rule.init(torch.zeros(D))
    if isinstance(rule, BOUNDED):
        assert rule.step(sf.dense(matrix), state)[0].isfinite().all()
        return
    with pytest.raises(sf.UpdateError, match="float32 can hold, found one that overflows"):
        rule.step(sf.dense(matrix), state)
    assert not any(part.any() for name, part in state._asdict().items() if name in {"velocity", "error"})


@pytest.mark.parametrize("rule", WEIGHTED, ids=repr)
def test_rules_that_average_respect_weights(rule: Defense) -> None:
    matrix, counts = received().numpy(), np.arange(1, 12)
    mean = np.average(matrix, axis=0, weights=counts)
    state = rule.init(np.zeros(D), seed=1)
    delta, _ = rule.step(sf.dense(matrix, weights=counts), state)
    expected, _ = rule.step(sf.dense(mean[None]), state)
    np.testing.assert_allclose(delta, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rule", [r for r in RULES if r not in WEIGHTED + UNLIKE_A_MEAN], ids=repr)
def test_rules_that_count_heads_or_promise_privacy_refuse_weights(rule: Defense) -> None:
    with pytest.raises(sf.UpdateError, match="counts every client once: expected updates without weights"):
        rule.step(sf.dense(received(), weights=np.ones(11)), rule.init(torch.zeros(D)))


def test_weights_follow_the_clients_that_are_let_in() -> None:
    matrix = np.array([[1.0], [np.nan], [3.0]])
    updates = sf.dense(matrix, weights=[1, 100, 3]).admitted()
    assert float(updates.mean()) == pytest.approx(2.5)


Saving = Callable[[Any, Path], Any]


def by_torch(state: Any, path: Path) -> Any:
    torch.save(state._asdict(), path)
    return torch.load(path)


def by_safetensors(state: Any, path: Path) -> Any:
    safetensors.torch.save_file(state._asdict(), path)
    return safetensors.torch.load_file(path)


def by_numpy(state: Any, path: Path) -> Any:
    with path.open("wb") as file:
        np.savez(file, **state._asdict())
    return np.load(path)


@every_rule
@pytest.mark.parametrize("saving", [by_torch, by_safetensors, by_numpy])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(
    rule: Defense, saving: Saving, tmp_path: Path
) -> None:
    params = torch.zeros(D)
    _, state = rule.step(sf.dense(received()).admitted(0.5), rule.init(params, seed=5))
    again = rule.load_state(saving(state, tmp_path / "state"), params)
    assert type(again) is type(state)
    assert all(map(torch.equal, again, state))
    for left, right in zip(*(rule.step(sf.dense(received(1)), each) for each in (state, again)), strict=True):
        assert all(map(torch.equal, left, right)) if isinstance(left, tuple) else torch.equal(left, right)


def test_arrays_are_saved_and_loaded_without_pytorch(tmp_path: Path) -> None:
    rule, params = sf.SparseFed(k=3), np.zeros(D)
    _, state = rule.step(sf.dense(received().numpy()), rule.init(params))
    safetensors.numpy.save_file(state._asdict(), tmp_path / "state")
    again = rule.load_state(safetensors.numpy.load_file(tmp_path / "state"), params)
    assert isinstance(again.error, np.ndarray)
    assert np.array_equal(again.error, state.error)


def test_a_state_that_is_another_rules_or_damaged_is_refused_with_what_was_expected() -> None:
    rule, params = sf.SparseFed(k=3), torch.zeros(4)
    good = {"velocity": torch.zeros(4), "error": torch.zeros(4)}
    for change, problem in [
        ({"error": torch.zeros(5)}, r"`error`: expected shape \(4,\), found \(5,\)"),
        ({"error": torch.zeros(4, dtype=torch.int64)}, "`error`: expected float32, found int64"),
        ({"error": torch.tensor([0, 0, 0, np.nan])}, "`error`: expected finite numbers"),
        (
            {"error": torch.full((4,), 0.1, dtype=torch.float64)},
            "numbers that float32 can hold, found float64",
        ),
        ({"error": "lost"}, "`error`: expected numbers, found a str"),
        ({"k": 3}, "expected a state of velocity, error, found velocity, error, k"),
    ]:
        with pytest.raises(sf.UpdateError, match=problem):
            rule.load_state(good | change, params)
    for nothing in (None, [], {}, "state"):
        with pytest.raises(sf.UpdateError, match="expected a state of velocity, error, found"):
            rule.load_state(nothing, params)  # pyright: ignore[reportArgumentType]
    assert (
        rule.load_state({name: part.double() for name, part in good.items()}, params).error.dtype
        == torch.float32
    )


@every_rule
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 3)),
        torch.zeros(2, 3),
        np.zeros(3, int),
        [0.0, 0.0],
        None,
        "params",
        torch.zeros(3).to_sparse(),
    ],
)
def test_parameters_are_a_vector_of_floats(rule: Defense, wrong: Any) -> None:
    with pytest.raises(sf.UpdateError, match=r"^expected a vector of floating-point parameters, found "):
        rule.init(wrong)


@every_rule
def test_a_rule_prints_as_the_call_that_makes_it(rule: Defense) -> None:
    names = {member.__name__: member for member in family_members(Spec)}
    for written in (str(rule), repr(rule)):
        assert eval(written, names) == rule
