"""Each method against its pseudo-code or its own definition."""

from typing import Any

import numpy as np
import oracles
import oracles_attacks
import pytest
import small
import torch
from scenes import DESCENT, federation_of, view_of

import sparsefed as sf
from sparsefed.attacks import (
    PGD,
    Adaptive,
    AlternatingMinimization,
    Blended,
    Boosting,
    CoordinateAware,
    EasiestFirst,
    Equilibrium,
    FangKrum,
    FangTrimmedMean,
    FarPGD,
    Independent,
    LabelFlip,
    Method,
    ModelReplacement,
    SemanticBackdoor,
    SignFlip,
    SlowDrip,
    Untargeted,
    View,
)
from sparsefed.attacks.methods.deviation import spread_of
from sparsefed.defenses import Krum, SparseFed
from sparsefed.federation.round import Federation, run_round
from sparsefed.protocol.dense import dense
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense

WIDTHS = (64, 16, 10)
PRECISE = {"precision": "float64"}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def gradient_of(view: View) -> Any:
    x, y = (tensor.numpy() for tensor in view.wanted[:2])
    return lambda theta, batch: oracles.mlp_gradient(theta, x[batch], y[batch], WIDTHS)


def batches_of(view: View, method: PGD) -> list[np.ndarray]:
    draw = generator()
    orders = [torch.randperm(len(view.wanted.labels), generator=draw) for _ in range(method.epochs)]
    return [batch.numpy() for order in orders for batch in order.split(method.batch_size)]


@pytest.mark.parametrize("boost", [1.0, 20.0])
def test_pgd_is_algorithm_6(boost: float):
    method = PGD(epochs=3, batch_size=8, local_lr=0.3, boost=boost)
    view = view_of(federation_of(method, **PRECISE))
    expected = oracles_attacks.algorithm_6(
        view.params.numpy(), gradient_of(view), batches_of(view, method), eta=0.3 * boost, L=1.0
    )
    assert np.allclose(method.craft(view, generator())[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_pgd_takes_the_round_s_learning_rate_where_none_is_given():
    view = view_of(federation_of(PGD(), **PRECISE))
    implied, said = PGD(epochs=2), PGD(epochs=2, local_lr=view.lr)
    assert torch.equal(implied.craft(view, generator()), said.craft(view, generator()))


def test_the_adaptive_attack_uses_the_coordinates_that_would_move_without_it():
    method = Adaptive(epochs=2, batch_size=8, local_lr=0.3)
    view = view_of(federation_of(method, defense=SparseFed(k=50, momentum=0.9), **PRECISE))
    assert view.server is not None
    assert view.honest is not None
    R, W = (tensor.numpy() for tensor in view.server.memory)
    mean = view.honest.rows().numpy().mean(axis=0)
    keep = np.zeros(len(W), bool)
    keep[np.argsort(-np.abs(W + 0.9 * R + mean), kind="stable")[:50]] = True
    expected = oracles_attacks.algorithm_6(
        view.params.numpy(), gradient_of(view), batches_of(view, method), eta=0.3, L=1.0, keep=keep
    )
    upload = method.craft(view, generator())[0].numpy()
    assert np.allclose(upload, expected, rtol=1e-9, atol=1e-12)
    assert not upload[~keep].any()


def test_the_adaptive_attack_on_a_rule_that_moves_everything_is_pgd():
    settings = {"epochs": 2, "batch_size": 8, "local_lr": 0.3}
    view = view_of(federation_of(Adaptive(**settings), defense=sf.Mean(momentum=0.9)))
    view = view._replace(honest=Dense(torch.ones(3, len(view.params))))
    assert torch.equal(
        Adaptive(**settings).craft(view, generator()), PGD(**settings).craft(view, generator())
    )


def test_boosting_is_the_gradient_on_the_auxiliary_set_times_gamma():
    view = view_of(federation_of(Boosting(), **PRECISE))
    everything = np.arange(len(view.wanted.labels))
    expected = 30 * gradient_of(view)(view.params.numpy(), everything)
    assert np.allclose(Boosting(factor=30).craft(view, generator())[0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("norm", [None, 0.5])
def test_far_pgd_is_pgd_in_a_larger_ball_brought_back_to_what_it_may_send(norm: float | None):
    view = view_of(federation_of(PGD(**DESCENT)))
    far = FarPGD(**(DESCENT | {"local_lr": 5.0}), reach=3, norm=norm).craft(
        view, torch.Generator().manual_seed(5)
    )[0]
    wide = view._replace(clip_norm=3 * view.clip_norm)
    settings = {**DESCENT, "local_lr": 5.0, "norm": None if norm is None else 3 * norm}
    whole = PGD(**settings).craft(wide, torch.Generator().manual_seed(5))[0]
    torch.testing.assert_close(far, whole / 3)
    near = PGD(**(settings | {"norm": norm})).craft(view, torch.Generator().manual_seed(5))[0]
    assert not torch.allclose(far, near, rtol=1e-3)


@pytest.mark.parametrize("share", [0.3, 2.0])
def test_blended_is_each_device_s_honest_update_and_poison_as_long_as_its_share(share: float):
    fed = federation_of(PGD(**DESCENT))
    view = view_of(fed)
    generator = torch.Generator().manual_seed(5)
    rows = Blended(method=PGD(**DESCENT), share=share).craft(view, generator).double().numpy()
    honest = view.clients.updates(view.work(view.local, 5)).rows().double().numpy()
    poison = PGD(**DESCENT).craft(view, torch.Generator().manual_seed(5))[0].double().numpy()
    unit = poison / np.linalg.norm(poison)
    expected = honest + share * np.linalg.norm(honest, axis=1, keepdims=True) * unit
    expected *= np.minimum(1, view.clip_norm / np.linalg.norm(expected, axis=1, keepdims=True))
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)
    assert len(np.unique(rows.round(6), axis=0)) == view.uploads > 1


def test_label_flipping_is_honest_work_on_flipped_labels():
    view = view_of(federation_of(LabelFlip(), **PRECISE))._replace(objective=Untargeted())
    rows = LabelFlip().craft(view, generator())
    start = 0
    for row, size in zip(rows, view.local.sizes, strict=True):
        x, y = (part[start : start + size].numpy() for part in (view.local.inputs, view.local.labels))
        expected = oracles.mlp_gradient(view.params.numpy(), x, 9 - y, WIDTHS)
        assert np.allclose(row.numpy(), expected, rtol=1e-9, atol=1e-12)
        start += size


def test_label_flipping_for_a_backdoor_changes_one_class_only():
    labels = torch.tensor([7, 1, 3, 7])
    assert SemanticBackdoor(source=7, target=1).relabelled(labels, "0123456789").tolist() == [1, 1, 3, 1]


def test_an_objective_that_cannot_relabel_says_so():
    view = view_of(federation_of(LabelFlip()))._replace(objective=sf.Targeted(points=5))
    with pytest.raises(sf.SpecError, match=r"Targeted\(points=5\): expected an objective that relabels"):
        LabelFlip().craft(view, generator())


@pytest.mark.parametrize(
    ("method", "objective", "complaint"),
    [
        (
            LabelFlip(),
            sf.Targeted(points=5),
            r"LabelFlip\(\): expected an objective that relabels.*found Targeted",
        ),
        (PGD(), Untargeted(), r"PGD\(\): expected an objective with points.*found Untargeted"),
        (Boosting(), Untargeted(), "expected an objective with points"),
        (Independent(method=PGD()), Untargeted(), r"PGD\(\): expected an objective with points"),
        (
            Independent(method=PGD(), shards=6),
            sf.Targeted(points=5),
            "as many points as the 6 shards, found 5",
        ),
    ],
)
def test_an_attack_that_cannot_be_is_refused_before_anything_runs(
    method: Method, objective: sf.attacks.Objective, complaint: str
):
    with pytest.raises(sf.SpecError, match=complaint):
        sf.Attack(objective=objective, presence=sf.Pool(clients=1), method=method)


def test_what_colluders_remember_cannot_be_independent():
    with pytest.raises(sf.SpecError, match=r"attackers can use alone, found SlowDrip\(\), which colludes"):
        Independent(method=SlowDrip())


def test_a_replaced_model_is_the_attacker_s_up_to_the_honest_updates():
    method = ModelReplacement(epochs=3, batch_size=10, local_lr=0.1)
    fed = federation_of(method, clip=sf.Unclipped(), defense=sf.Mean(), **PRECISE)
    view = view_of(fed, after=1)
    poison = method.craft(view, generator())
    wanted = view.params - method.descend(view, generator())
    moved = view.params - view.server_lr * poison.sum(0) / view.cohort
    assert torch.allclose(moved, wanted, rtol=1e-9, atol=1e-12)


def test_model_replacement_stops_once_the_loss_is_low_enough():
    class Counting(ModelReplacement):
        def gradient(self, view: View, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            steps.append(1)
            return super().gradient(view, inputs, labels)

    steps: list[int] = []
    settings = {"epochs": 20, "batch_size": 1000, "local_lr": 0.1}
    view = view_of(federation_of(ModelReplacement(), clip=sf.Unclipped()))
    Counting(**settings, enough=1e6).craft(view, generator())
    assert len(steps) == 1
    Counting(**settings, enough=0).craft(view, generator())
    assert len(steps) == 21


def test_alternating_minimization_is_the_listing():
    method = AlternatingMinimization(epochs=2, batch_size=8, local_lr=0.2, boost=3.0, distance_weight=0.2)
    view = view_of(federation_of(method, clip=sf.FixedClip(norm=0.5), **PRECISE))
    x, y = view.local.inputs.numpy(), view.local.labels.numpy()
    expected = oracles_attacks.alternating(
        view.params.numpy(),
        gradient_of(view),
        lambda theta: oracles.mlp_gradient(theta, x, y, WIDTHS),
        view.clients.updates(view.work(view.local, generator().initial_seed())).mean().numpy(),
        batches_of(view, method),
        eta=0.2,
        boost=3.0,
        weight=0.2,
        L=0.5,
    )
    np.testing.assert_allclose(method.craft(view, generator())[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_heavier_distance_in_the_stealth_loss_keeps_the_upload_nearer_to_honest_work():
    view = view_of(federation_of(AlternatingMinimization(), clip=sf.Unclipped()))
    honest = view.clients.updates(view.work(view.local, 7)).mean()
    distances = [
        float(
            (
                AlternatingMinimization(epochs=3, distance_weight=weight, local_lr=0.1).craft(
                    view, generator()
                )[0]
                - honest
            ).norm()
        )
        for weight in (0.0, 0.5, 2.0)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_sign_flip_is_minus_the_honest_mean_on_the_sphere():
    view = view_of(federation_of(SignFlip()))
    assert view.honest is not None
    upload, mean = SignFlip().craft(view, generator())[0], view.honest.mean()
    assert torch.allclose(upload, -mean / mean.norm(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_fang_s_uploads_lie_just_outside_the_honest_values(factor: float):
    method = FangTrimmedMean(factor=factor)
    view = view_of(federation_of(method, clip=sf.Unclipped(), **PRECISE))
    assert view.honest is not None
    low, high = oracles_attacks.fang_interval(view.honest.rows().numpy(), factor)
    rows = method.craft(view, generator()).numpy()
    assert (rows >= low - 1e-15).all()
    assert (rows <= high + 1e-15).all()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_krum_selects_fang_s_upload_and_would_not_select_one_of_twice_the_length():
    method = FangKrum(f=8)
    view = view_of(federation_of(method, clip=sf.Unclipped(), defense=Krum(f=8), **PRECISE))
    assert view.honest is not None
    rows, uploads = view.honest.rows(), method.craft(view, generator())
    fallen_for, refused = (
        oracles_attacks.krum_choice(torch.cat([rows, scale * uploads]).numpy(), 8) for scale in (1, 2)
    )
    assert fallen_for >= len(rows)
    assert refused < len(rows)
    chosen = Krum(f=8).aggregate(Joined(view.honest, Dense(uploads)))
    assert torch.equal(chosen, uploads[0])
    assert (uploads[0] * rows.mean(0) <= 0).all()


def test_a_coordinate_aware_attacker_finds_the_coordinates_that_moved():
    method = CoordinateAware(coordinates=30, batch_size=10, local_lr=0.2, decay=0.5)
    fed = federation_of(method, defense=SparseFed(k=30, momentum=0.9))
    states, state = [fed.initial_state], fed.initial_state
    for _ in range(3):
        state, _ = run_round(fed, state)
        states.append(state)
    seen = [state.params.numpy() for state in states]
    activity = 0.5 * np.abs(seen[1] - seen[0]) + np.abs(seen[2] - seen[1])
    assert np.allclose(states[3].attacker.activity.numpy(), activity, atol=1e-7)
    view = view_of(fed, after=3)
    memory = method.learn(view, generator())
    upload = method.craft(view._replace(memory=memory), generator())[0].numpy()
    best = set(np.argsort(-memory.activity.numpy(), kind="stable")[:30])
    assert 0 < np.count_nonzero(upload) <= 30
    assert set(np.flatnonzero(upload)) <= best


def test_a_dripping_attacker_keeps_its_direction():
    def turns(method: Any) -> float:
        fed = federation_of(method)
        uploads = [method.craft(view_of(fed, after), generator())[0] for after in (6, 7)]
        return float(torch.cosine_similarity(*uploads, dim=0))

    settings = {"epochs": 1, "batch_size": 10, "local_lr": 0.2}
    assert turns(SlowDrip(**settings, inertia=0.95)) > 0.95
    assert turns(SlowDrip(**settings, inertia=0.0)) < turns(SlowDrip(**settings, inertia=0.5))


def test_a_flat_drip_moves_all_coordinates_by_the_same_amount():
    method = SlowDrip(flatness=1, batch_size=10, local_lr=0.2)
    view = view_of(federation_of(method))
    upload = method.craft(view, generator())[0]
    moving = upload[view.memory.direction != 0].abs()
    assert torch.allclose(moving, moving[0].expand_as(moving))


def test_the_budget_goes_to_the_points_nearest_to_their_wanted_label():
    method = EasiestFirst(at_once=4, safe=0.5, batch_size=10, local_lr=0.2)
    view = view_of(federation_of(method))
    x, y = view.wanted[:2]
    view.network.bind(view.params)
    logits = view.network.module(x).detach().numpy()
    rows = np.arange(len(y))
    own = logits[rows, y.numpy()].copy()
    logits[rows, y.numpy()] = -np.inf
    lead = own - logits.max(1)
    expected = [i for i in np.argsort(-lead) if lead[i] < 0.5][:4]
    assert method.chosen(view).tolist() == expected
    won = method.but(safe=0.0).chosen(view._replace(params=torch.zeros_like(view.params)))
    assert len(won) == len(y)  # all logits are equal: there is nothing to choose from


def test_an_equilibrium_is_a_fixed_point_of_the_rounds_played_ahead():
    method = Equilibrium(steps=400, ambition=1.0, momentum=0.5)
    changes = {"anchor": sf.InitialModel(stiffness=2.0), "schedule": sf.Constant(value=0.1), **PRECISE}
    view = view_of(federation_of(method, **changes))
    target = method.learn(view, generator()).params
    x, y = (tensor.numpy() for tensor in (view.local.inputs, view.local.labels))
    starts = np.cumsum(view.local.sizes)[:-1]
    honest = [
        oracles.mlp_gradient(target.numpy(), a, b, WIDTHS)
        for a, b in zip(np.split(x, starts), np.split(y, starts), strict=True)
    ]
    clipped = np.mean([g * min(1, 1 / np.linalg.norm(g)) for g in honest], axis=0)
    push = gradient_of(view)(target.numpy(), np.arange(len(view.wanted.labels)))
    share = view.uploads / view.cohort
    forces = (1 - share) * clipped + share * push / np.linalg.norm(push)
    pull = 2.0 * (target - view.initial).numpy()
    assert np.linalg.norm(forces / (1 - 0.5) + pull) < 0.05 * np.linalg.norm(pull)
    upload = method.craft(view._replace(memory=method.learn(view, generator())), generator())[0]
    assert float(upload @ (view.params - target)) > 0.99 * float((view.params - target).norm())


def test_an_attacker_s_memory_survives_a_stop(tmp_path: Any):
    method = CoordinateAware(coordinates=30, batch_size=10, local_lr=0.2)
    attack = small.attack(presence=sf.Pool(fraction=0.3), method=method)
    spec = small.experiment(rounds=10, attack=attack)
    rows = sf.play(spec, tmp_path)
    for _ in range(4):
        next(rows)
    rows.close()
    resumed, whole = sf.simulate(spec, tmp_path), sf.simulate(spec)
    assert resumed["loss"] == whole["loss"]


def test_an_attacker_s_memory_is_the_simulation_s_and_never_the_method_s():
    method = CoordinateAware(coordinates=30, batch_size=10, local_lr=0.2)
    fed = federation_of(method)
    first = run_round(fed, fed.initial_state)[0]
    again = run_round(fed, fed.initial_state)[0]
    assert torch.equal(first.params, again.params)
    assert int(first.attacker.rounds) == int(again.attacker.rounds) == 1


def test_more_coordinates_than_parameters_are_refused_before_the_first_round():
    with pytest.raises(sf.SpecError, match=r"coordinates`: expected at most the model's 1210"):
        _ = Federation.of(
            small.experiment(attack=small.attack(method=CoordinateAware(coordinates=10**6)))
        ).initial_state


@pytest.mark.parametrize("scale", [1e-24, 1.0, 1e20, 1e30])
def test_the_spread_of_updates_is_their_standard_deviation_at_any_size(scale: float) -> None:
    rows = scale * torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    literal = rows.double().numpy().std(axis=0)
    assert spread_of(dense(rows)).double().numpy() == pytest.approx(literal, rel=1e-5)
