"""What every method promises about its uploads, whatever it wants."""

from typing import Any, NoReturn

import numpy as np
import pytest
import small
import torch
from scenes import COLLUDING, METHODS, federation_of, lengths, name, view_of

import sparsefed as sf
from sparsefed.attacks import (
    PGD,
    Boosting,
    FangKrum,
    Gaussian,
    Grant,
    Independent,
    LabelFlip,
    Method,
    SignFlip,
)
from sparsefed.attacks.methods.deviation import Deviation
from sparsefed.core.memories import leaves
from sparsefed.defenses import Krum
from sparsefed.federation.round import run_round


def crafted(method: Method, view: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return method.craft(view._replace(memory=method.learn(view, generator)), generator)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_every_attacker_of_a_round_uploads_one_finite_row(method: Method):
    view = view_of(federation_of(method))
    rows = crafted(method, view)
    assert view.uploads > 1
    assert rows.shape == (view.uploads, len(view.params))
    assert rows.isfinite().all()


@pytest.mark.parametrize("method", [m for m in METHODS if not isinstance(m, Boosting | LabelFlip)], ids=name)
@pytest.mark.parametrize("bound", [1e-5, 0.7, 30.0])
def test_no_upload_exceeds_the_bound_by_more_than_rounding(method: Method, bound: float):
    view = view_of(federation_of(method, clip=sf.FixedClip(norm=bound)))
    assert lengths(crafted(method, view)).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("method", COLLUDING, ids=name)
def test_uploads_of_colluders_are_equal_bit_for_bit(method: Method):
    rows = crafted(method, view_of(federation_of(method)))
    assert rows.abs().max() > 0
    assert all(torch.equal(row, rows[0]) for row in rows)


def test_colluders_use_all_of_the_bound():
    for method in (PGD(), Gaussian()):
        view = view_of(federation_of(method, clip=sf.FixedClip(norm=0.7)))
        assert np.allclose(lengths(crafted(method, view)), 0.7, rtol=1e-6)


@pytest.mark.parametrize(
    "inner", [m for m in METHODS if not isinstance(m, Independent) and not m.collusive_memory], ids=name
)
@pytest.mark.parametrize("shards", [1, 3])
def test_independent_attackers_send_different_vectors(inner: Method, shards: int):
    method = Independent(method=inner, shards=shards)
    rows = crafted(method, view_of(federation_of(method)))
    alike = isinstance(inner, SignFlip | FangKrum | Deviation)
    kinds = 1 if alike else shards if isinstance(inner, Boosting) else len(rows)
    assert len({row.numpy().tobytes() for row in rows}) == kinds


def test_more_shards_than_points_are_refused_where_only_the_data_tell():
    method = Independent(method=PGD(), shards=1000)
    with pytest.raises(
        sf.SpecError,
        match=r"expected at most as many shards as the \d\d points .*, found 1000",
    ):
        crafted(method, view_of(federation_of(method), after=0))


def test_an_independent_attacker_sees_its_own_data_and_its_own_part_of_the_auxiliary_set():
    seen = []

    class Spy(PGD):
        def craft(self, view: Any, generator: torch.Generator) -> torch.Tensor:
            seen.append(view)
            return super().craft(view, generator)

    method = Independent(method=Spy(), shards=4)
    whole = view_of(federation_of(method, partition=sf.data.IID(clients=50)), after=0)
    seen.clear()
    crafted(method, whole)
    assert [view.local.clients.tolist() for view in seen] == [[client] for client in whole.local.clients]
    for view in seen:
        part = slice(int(view.local.clients[0]) % 4, None, 4)
        assert torch.equal(view.auxiliary.inputs, whole.auxiliary.inputs[part])
        assert len(view.local.labels) == view.local.sizes.sum()


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_the_same_view_and_random_numbers_give_the_same_bits(method: Method):
    view = view_of(federation_of(method))
    assert torch.equal(crafted(method, view), crafted(method, view))


@pytest.mark.filterwarnings("ignore::sparsefed.clients.trust.SlowModel")
def test_an_attack_on_a_model_with_dropout_is_reproducible():
    results = [
        sf.simulate(
            small.experiment(
                model=sf.models.Custom(function="scenes:dropping_out"),
                attack=small.attack(presence=sf.Pool(fraction=0.4)),
                cohort=20,
            )
        )
        for _ in range(2)
    ]
    assert results[0]["loss"] == results[1]["loss"]


class Crafting(Method):
    """What a user's own method may return."""

    rows: int
    gradients: bool = False

    def craft(self, view: Any, generator: torch.Generator) -> torch.Tensor:
        rows = view.uploads if self.rows == 0 else self.rows
        made = torch.ones(rows, len(view.params), dtype=torch.float64)
        return made.requires_grad_(self.gradients)


@pytest.mark.parametrize("rows", [1, 40])
def test_a_method_must_send_one_upload_for_each_of_its_clients(rows: int):
    method = Crafting(rows=rows)
    with pytest.raises(sf.SpecError, match=rf"expected one upload for each .* found {rows}"):
        view_of(federation_of(method))


@pytest.mark.parametrize("gradients", [False, True])
def test_uploads_of_another_type_or_with_a_history_do_the_model_no_harm(gradients: bool):
    fed = federation_of(Crafting(rows=0, gradients=gradients))
    state, report = sf.run_round(fed, fed.initial_state)
    assert report.compromised > 1
    assert report.rejected == 0
    assert state.params.dtype == torch.float32
    assert not state.params.requires_grad


class Forbidden:
    """Whatever is done with it fails."""

    def __getattr__(self, _: str) -> NoReturn:
        raise AssertionError("the attacker looked at what it was not granted")

    __bool__ = __len__ = __iter__ = __getitem__ = __array__ = __getattr__  # pyright: ignore


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_an_attacker_never_reads_what_it_is_not_granted(method: Method):
    view = view_of(federation_of(method))
    expected = crafted(method, view)
    ungranted = {}
    if Grant.HONEST_UPDATES not in method.needs:
        ungranted["honest"] = Forbidden()
    if Grant.SERVER_MEMORY not in method.needs:
        ungranted["server"] = Forbidden()
    assert torch.equal(crafted(method, view._replace(**ungranted)), expected)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_a_view_grants_what_the_method_needs_and_no_more(method: Method):
    view = view_of(federation_of(method))
    assert (view.honest is not None) == (Grant.HONEST_UPDATES in method.needs)
    assert (view.server is not None) == (Grant.SERVER_MEMORY in method.needs)
    assert view.auxiliary is None or view.auxiliary.goal is None


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_crafting_leaves_the_model_and_the_memories_as_they_were(method: Method):
    view = view_of(federation_of(method))
    memories = [view.memory, view.server.memory if view.server else ()]
    kept = [tensor for memory in memories for _, tensor in leaves(memory) if isinstance(tensor, torch.Tensor)]
    tensors = [view.params, *kept]
    before = [tensor.clone() for tensor in tensors]
    crafted(method, view)
    assert all(torch.equal(old, new) for old, new in zip(before, tensors, strict=True))


def test_zero_epochs_are_an_error_and_so_is_a_clip_of_nothing():
    with pytest.raises(sf.SpecError, match="`epochs`: expected a whole number of at least 1, found 0"):
        PGD(epochs=0)
    with pytest.raises(sf.SpecError, match="`norm`: expected a number above 0, found 0"):
        PGD(norm=0)


def test_a_method_that_needs_points_says_so_where_the_objective_has_none():
    fed = federation_of(PGD())
    view = view_of(fed)._replace(auxiliary=None, objective=sf.attacks.Untargeted())
    with pytest.raises(
        sf.SpecError, match=r"expected an objective with an auxiliary set.*found Untargeted\(\)"
    ):
        crafted(PGD(), view)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_a_cohort_of_attackers_alone_does_not_stop_the_run(method: Method):
    presence = sf.Pool(clients=99)
    attack = sf.Attack(
        objective=sf.attacks.SemanticBackdoor(source=7, target=1), presence=presence, method=method
    )
    fed = federation_of(method, attack=attack, cohort=10)
    state = fed.initial_state
    for _ in range(2):
        state, report = sf.run_round(fed, state)
        assert report.rejected == 0
    assert state.params.isfinite().all()


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_every_method_also_works_against_local_training_and_rules_with_rows(method: Method):
    fed = federation_of(method, clients=sf.FedAvg(local_epochs=2, batch_size=4), defense=Krum(f=4))
    rows = crafted(method, view_of(fed, after=1))
    assert rows.isfinite().all()


@pytest.mark.parametrize("method", METHODS, ids=name)
@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
def test_an_attack_on_a_model_that_blows_up_stops_nothing(method: Method):
    """Imagined rounds may leave the range of numbers long before the real ones do."""
    wild = {"clip": sf.Unclipped(), "schedule": sf.Constant(value=1e30)}
    fed = federation_of(method, **wild)
    state = fed.initial_state
    for _ in range(3):
        state, _ = run_round(fed, state)
    assert int(state.round) == 3
