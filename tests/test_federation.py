"""The round and the loop around it, against the pseudo-code in NumPy."""

import math
from typing import Any

import numpy as np
import oracles
import pytest
import small
import torch

import sparsefed as sf
from sparsefed.attacks import Method, View
from sparsefed.data import IID, Digits
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import MLP
from sparsefed.protocol.updates import Updates

WIDTHS = (64, 16, 10)


def states(fed: Federation, rounds: int) -> list[sf.ServerState]:
    state, seen = fed.initial_state, []
    for _ in range(rounds):
        state, _ = run_round(fed, state)
        seen.append(state)
    return seen


def client_examples(fed: Federation, client: int, round: int) -> tuple[np.ndarray, np.ndarray]:
    data = fed.local_data(np.array([client]), round)
    return data.inputs.numpy(), data.labels.numpy()


def close(found: torch.Tensor, expected: np.ndarray) -> bool:
    return bool(np.allclose(found.numpy(), expected, rtol=1e-10, atol=1e-13))


def test_twenty_rounds_of_sparsefed_agree_with_the_pseudo_code_to_rounding():
    fed = Federation.of(small.experiment(precision="float64", clip=sf.FixedClip(norm=0.8)))
    theta = fed.initial_state.params.numpy().copy()
    R, W = np.zeros_like(theta), np.zeros_like(theta)
    for t, state in enumerate(states(fed, 20), start=1):
        updates = [
            oracles.mlp_gradient(theta, *client_examples(fed, client, t), WIDTHS) for client in fed.cohort(t)
        ]
        lam = fed.spec.schedule.lr(t, 20)
        theta, R, W = oracles.sparsefed_round(theta, R, W, updates, L=0.8, k=50, rho=0.9, lam=lam)
        assert close(state.params, theta), t
        assert close(state.memory.velocity, R), t
        assert close(state.memory.error, W), t


def test_twenty_rounds_of_clipped_averaging_agree_with_the_pseudo_code_to_rounding():
    spec = small.experiment(precision="float64", defense=sf.Mean(momentum=0.9))
    fed = Federation.of(spec)
    theta = fed.initial_state.params.numpy().copy()
    R = np.zeros_like(theta)
    for t, state in enumerate(states(fed, 20), start=1):
        updates = [
            oracles.mlp_gradient(theta, *client_examples(fed, client, t), WIDTHS) for client in fed.cohort(t)
        ]
        theta, R = oracles.fedavg_round(theta, R, updates, L=1.0, rho=0.9, lam=spec.schedule.lr(t, 20))
        assert close(state.params, theta), t


def test_local_training_on_whole_batches_agrees_with_the_pseudo_code():
    clients = sf.FedAvg(local_epochs=3)
    spec = small.experiment(precision="float64", clients=clients, clip=sf.AdaptiveClip(norm=2.0))
    fed = Federation.of(spec)
    before, after = states(fed, 2)
    theta, lam = before.params.numpy(), spec.schedule.lr(2, 20)
    updates = []
    for client in fed.cohort(2):
        x, y = client_examples(fed, client, 2)
        batches = [np.arange(len(y))] * 3
        updates.append(oracles.local_training(theta, x, y, WIDTHS, gamma=lam, batches=batches))
    expected, _, _ = oracles.sparsefed_round(
        theta,
        before.memory.velocity.numpy(),
        before.memory.error.numpy(),
        updates,
        L=2.0 * lam,
        k=50,
        rho=0.9,
        lam=1.0,
    )
    assert close(after.params, expected)


def test_an_epoch_is_a_partition_of_the_population_into_cohorts():
    fed = Federation.of(small.experiment())
    first = np.concatenate([fed.cohort(t) for t in range(1, 11)])
    second = np.concatenate([fed.cohort(t) for t in range(11, 21)])
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)


def test_clients_left_over_by_an_epoch_change_from_epoch_to_epoch():
    fed = Federation.of(small.experiment(partition=IID(clients=25)))
    absent = [
        set(range(25)) - set(np.concatenate([fed.cohort(2 * e + 1), fed.cohort(2 * e + 2)])) for e in range(8)
    ]
    assert all(len(who) == 5 for who in absent)
    assert len({frozenset(who) for who in absent}) > 1


def test_the_same_spec_gives_the_same_bits():
    first, second = (states(Federation.of(small.experiment(attack=small.attack())), 8)[-1] for _ in range(2))
    assert torch.equal(first.params, second.params)


def test_another_seed_gives_another_run():
    first, second = (states(Federation.of(small.experiment(seed=seed)), 2)[-1] for seed in (1, 2))
    assert not torch.equal(first.params, second.params)


def test_the_state_before_a_round_is_left_as_it_was():
    fed = Federation.of(small.experiment(attack=small.attack()))
    state = states(fed, 3)[-1]
    copy = [value.clone() for value in (state.params, *state.memory)]
    run_round(fed, state)
    assert all(torch.equal(a, b) for a, b in zip(copy, (state.params, *state.memory), strict=True))


def test_the_clip_bounds_what_every_client_can_do():
    spec = small.experiment(clip=sf.FixedClip(norm=1e-3), defense=sf.Mean(), attack=small.attack())
    fed = Federation.of(spec)
    state = fed.initial_state
    for _ in range(5):
        after, report = run_round(fed, state)
        assert float((after.params - state.params).norm()) <= report.lr * 1e-3 * (1 + 1e-5)
        state = after


def test_all_attackers_of_a_round_send_one_vector_of_exactly_the_clip_norm():
    fed = Federation.of(small.experiment(attack=small.attack(presence=sf.Pool(fraction=0.5))))
    seen = spied(fed)
    states(fed, 6)
    assert seen
    for view, poison in seen:
        assert len(poison) == view.uploads
        assert all(torch.equal(row, poison[0]) for row in poison)
        assert math.isclose(float(poison[0].norm()), 1.0, rel_tol=1e-6)


def spied(fed: Federation) -> list[tuple[View, torch.Tensor]]:
    seen = []
    method = fed.attack.method
    craft = type(method).craft

    class Spy(type(method)):
        def craft(self, view: View, generator: torch.Generator) -> torch.Tensor:
            poison = craft(self, view, generator)
            seen.append((view, poison))
            return poison

    object.__setattr__(fed.spec.attack, "method", Spy(**dict(method)))
    return seen


def test_the_attack_is_there_from_round_a_to_round_b_only():
    fed = Federation.of(
        small.experiment(attack=small.attack(presence=sf.Pool(fraction=0.5, first=3, last=5)))
    )
    seen = spied(fed)
    states(fed, 8)
    assert sorted({view.round for view, _ in seen}) == [3, 4, 5]


def test_a_view_holds_no_honest_update_and_no_memory_unless_granted():
    fed = Federation.of(small.experiment(attack=small.attack(presence=sf.Pool(fraction=0.5))))
    seen = spied(fed)
    states(fed, 3)
    assert all(view.honest is None and view.server is None for view, _ in seen)


class Hostile(Method):
    """Sends what no server should let in."""

    value: str
    length: int = 0

    def craft(self, view: View, generator: torch.Generator) -> Any:
        row = torch.full((len(view.params) + self.length,), float(self.value))
        return row.expand(view.uploads, -1)


@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
@pytest.mark.parametrize(
    "hostile", [Hostile(value="nan"), Hostile(value="inf"), Hostile(value="1", length=-1)]
)
def test_hostile_updates_are_rejected_and_counted_and_change_nothing_else(hostile: Hostile):
    presence = sf.Pool(fraction=0.3)
    fed = Federation.of(small.experiment(attack=small.attack(method=hostile, presence=presence)))
    state, rejected = fed.initial_state, 0
    for t in range(1, 6):
        bad = fed.compromised[fed.cohort(t)]
        data = fed.local_data(fed.cohort(t), t).of(~bad)
        work = sf.clients.Work(fed.network, state.params, data, 0.0, 3, t)
        honest = fed.spec.clients.updates(work).admitted(1.0)
        delta, _ = fed.spec.defense.step(honest, state.memory, fed.spec.schedule.lr(t, 20))
        after, report = run_round(fed, state)
        assert torch.equal(after.params, state.params - delta)
        assert report.rejected == bad.sum()
        state, rejected = after, rejected + report.rejected
    assert rejected > 0
    assert state.params.isfinite().all()


def test_a_round_without_a_single_sound_update_changes_nothing():
    fed = Federation.of(small.experiment())
    state = states(fed, 2)[-1]
    broken = state._replace(params=state.params * float("nan"))
    after, report = run_round(fed, broken)
    assert report.rejected == 10
    assert after.round == 3
    assert all(torch.equal(a, b) for a, b in zip(after.memory, state.memory, strict=True))


def test_with_all_coordinates_and_no_momentum_sparsefed_is_averaging():
    size = Federation.of(small.experiment()).network.size
    sparse = states(Federation.of(small.experiment(defense=sf.SparseFed(k=size))), 5)[-1]
    mean = states(Federation.of(small.experiment(defense=sf.Mean())), 5)[-1]
    assert torch.allclose(sparse.params, mean.params, atol=1e-6)


def test_a_cohort_larger_than_the_population_says_found_and_needed():
    with pytest.raises(sf.SpecError, match="`cohort`: expected at most the 100 clients that"):
        Federation.of(small.experiment(cohort=101))


class Stray(sf.Mean):
    """Steps by what no model can take."""

    kind: str

    def step(self, updates: Updates, state: Any, lr: float = 1.0) -> Any:
        delta, memory = super().step(updates, state, lr)
        wrong = {"short": delta[1:], "row": delta[None], "complex": delta + 0j}
        return delta if self.kind == "alone" else (wrong[self.kind], memory)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("short", r"of shape \[1210\], found float32 of shape \[1209\]"),
        ("row", r"of shape \[1210\], found float32 of shape \[1, 1210\]"),
        ("complex", r"of shape \[1210\], found complex64 of shape \[1210\]"),
        ("alone", r"\(delta, memory\), found a Tensor"),
    ],
)
def test_a_rule_whose_step_does_not_fit_the_model_is_named(kind: str, complaint: str):
    with pytest.raises(sf.SpecError, match=rf"Stray\(kind='{kind}'\): expected a step {complaint}$"):
        states(Federation.of(small.experiment(defense=Stray(kind=kind))), 1)


@pytest.mark.parametrize(
    "parts",
    [
        {"model": MLP(hidden=(99999999999,))},
        {"model": MLP(hidden=(10**30,))},
        {"partition": IID(clients=10**12, per_client=1, replace=True)},
        {"defense": sf.FetchSGD(k=10, columns=10**12)},
    ],
    ids=str,
)
def test_what_does_not_fit_in_memory_is_one_clear_line(parts: dict[str, Any]):
    with pytest.raises(sf.SpecError, match="expected a size that this machine holds, found ") as caught:
        _ = Federation.of(small.experiment(**parts)).initial_state
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(sf.SpecError, match="sees no GPU"):
        Federation.of(small.experiment(device="cuda"))


def test_a_twin_meets_the_same_cohorts_and_differs_only_by_the_attack():
    spec = small.experiment(attack=small.attack(presence=sf.Pool(fraction=0.2, first=6)), twin=True)
    result = sf.simulate(spec)
    assert result["distance_l1"] > 0
    assert result["twin_attack_accuracy"] is not None
    unharmed = sf.simulate(spec.but(attack=small.attack(presence=sf.attacks.Nobody())))
    assert unharmed["distance_l1"] == 0.0


def test_divergence_is_an_outcome_not_a_crash():
    result = sf.simulate(
        small.experiment(schedule=sf.Constant(value=1e20), clip=sf.Unclipped(), defense=sf.Mean(momentum=0.9))
    )
    assert result["outcome"] == "diverged"
    assert result["rounds"] < 20


def test_a_model_that_learns_nothing_is_no_better_than_guessing():
    result = sf.simulate(small.experiment(schedule=sf.Constant(value=1e-9)))
    assert result["outcome"] == "no better than guessing"


def test_training_on_real_digits_reaches_a_good_accuracy():
    spec = small.experiment(
        rounds=150, partition=IID(clients=100), clip=sf.FixedClip(norm=5.0), model=MLP(hidden=(32,))
    )
    result = sf.simulate(
        spec.but(data=Digits(), evaluate_every=50, defense=sf.SparseFed(k=200, momentum=0.9))
    )
    assert result["outcome"] == "trained"
    assert result["test_accuracy"] > 85
