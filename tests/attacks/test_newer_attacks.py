"""Attacks published after the paper: each against its listing, and what it needs to work."""

from typing import Any

import numpy as np
import oracles
import oracles_attacks
import oracles_newer_attacks as oracle
import pytest
import torch
from scenes import federation_of, lengths, view_of

import sparsefed as sf
from sparsefed.attacks import (
    ALIE,
    IPM,
    PGD,
    Best,
    Chameleon,
    ConstrainAndScale,
    CriticalLayers,
    DistributedTrigger,
    EdgeCase,
    Gaussian,
    Grant,
    Independent,
    InverseSign,
    InverseStd,
    InverseUnit,
    Method,
    Mimic,
    MinMax,
    MinSum,
    ModelReplacement,
    Neurotoxin,
    Once,
    OptimizedALIE,
    OptimizedIPM,
    Perturbation,
    PoisonedFL,
    SignFlip,
    Untargeted,
    View,
)
from sparsefed.attacks.methods.chameleon import features, head_mask, supervised_contrast
from sparsefed.attacks.methods.critical_layers import layer_masks
from sparsefed.attacks.methods.little_is_enough import supporters_z
from sparsefed.attacks.methods.poisoned_fl import follows
from sparsefed.data import Digits
from sparsefed.defenses import Krum
from sparsefed.federation.round import Federation, run_round
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense

WIDTHS = (64, 16, 10)
FREE = {"precision": "float64", "clip": sf.Unclipped(), "defense": sf.Mean()}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def crafted(method: Method, view: View) -> torch.Tensor:
    draw = generator()
    return method.craft(view._replace(memory=method.learn(view, draw)), draw)


def honest_rows(view: View) -> np.ndarray:
    assert view.honest is not None
    return view.honest.rows().numpy()


@pytest.mark.parametrize("z", [None, 1.5])
def test_a_little_is_enough_is_the_listing(z: float | None):
    view = view_of(federation_of(ALIE(z=z), **FREE))
    used = supporters_z(view.cohort, view.uploads) if z is None else z
    expected = oracle.little_is_enough(honest_rows(view), used)
    np.testing.assert_allclose(crafted(ALIE(z=z), view)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(50, 10), (100, 20), (20, 4)])
def test_z_max_leaves_a_majority_of_supporters(n: int, m: int):
    assert supporters_z(n, m) == pytest.approx(oracle.z_max(n, m), abs=1e-9)


def test_inner_product_manipulation_is_the_mean_reversed():
    view = view_of(federation_of(IPM(), **FREE))
    expected = -0.3 * honest_rows(view).mean(axis=0)
    np.testing.assert_allclose(crafted(IPM(epsilon=0.3), view)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("perturbation", [InverseUnit(), InverseSign(), InverseStd()], ids=repr)
def test_min_max_and_min_sum_go_as_far_as_bisection_does(perturbation: Perturbation):
    view = view_of(federation_of(MinMax(), **FREE))
    benign = honest_rows(view)
    assert view.honest is not None
    p = perturbation.of(view.honest).numpy()
    scale = np.linalg.norm(p) / np.linalg.norm(benign.mean(axis=0))
    for method, listing in ((MinMax, oracle.min_max), (MinSum, oracle.min_sum)):
        found = crafted(method(perturbation=perturbation), view)[0].numpy()
        np.testing.assert_allclose(found, listing(benign, p), atol=1e-7 * max(scale, 1))


def test_min_sum_is_the_shorter_and_both_are_as_far_as_an_honest_update():
    view = view_of(federation_of(MinMax(), **FREE))
    benign = honest_rows(view)
    widest = max(np.linalg.norm(a - b) for a in benign for b in benign)
    far, near = (crafted(method, view)[0].numpy() for method in (MinMax(), MinSum()))
    assert max(np.linalg.norm(far - u) for u in benign) == pytest.approx(widest)
    assert np.linalg.norm(near - benign.mean(axis=0)) < np.linalg.norm(far - benign.mean(axis=0))


@pytest.mark.parametrize("pair", [(ALIE(), OptimizedALIE()), (IPM(), OptimizedIPM())], ids=repr)
@pytest.mark.parametrize("rule", [sf.Mean(), Krum(f=4), sf.TrimmedMean(f=4)], ids=repr)
def test_a_size_made_for_the_rule_has_at_least_the_published_one_s_effect(pair: Any, rule: Any):
    view = view_of(federation_of(pair[1], **{**FREE, "defense": rule}))
    assert view.server is not None
    assert view.honest is not None
    alone, _ = view.server.step(Dense(view.honest.rows()), view.server_lr)
    effects = []
    for method in pair:
        together = Joined(Dense(view.honest.rows()), Dense(crafted(method, view)))
        effects.append(float((view.server.step(together, view.server_lr)[0] - alone).norm()))
    assert effects[1] >= effects[0] * (1 - 1e-9)


def test_an_attack_made_for_a_rule_stays_where_the_rule_still_falls_for_it():
    view = view_of(federation_of(OptimizedIPM(), **{**FREE, "defense": Krum(f=8)}))
    assert view.honest is not None
    upload = crafted(OptimizedIPM(), view)
    picked = int(Krum(f=8).selected(Joined(Dense(view.honest.rows()), Dense(upload)))[0])
    assert picked >= view.honest.count
    published = crafted(IPM(epsilon=50.0), view)
    refused = int(Krum(f=8).selected(Joined(Dense(view.honest.rows()), Dense(published)))[0])
    assert refused < view.honest.count


def test_mimic_copies_an_honest_update_that_lies_along_the_direction_of_most_variance():
    fed = federation_of(Mimic(), **FREE)
    state = fed.initial_state
    for _ in range(12):
        state, _ = run_round(fed, state)
    z = state.attacker.direction
    assert float(z.norm()) == pytest.approx(1)
    view = view_of(fed)
    rows = honest_rows(view)
    upload = crafted(Mimic(), view)[0].numpy()
    assert any(np.array_equal(upload, row) for row in rows)
    centered = rows - rows.mean(axis=0)
    top = np.linalg.svd(centered, full_matrices=False)[2][0]
    memory = view.memory
    for _ in range(30):  # the same round again and again: power iteration
        memory = Mimic().learn(view._replace(memory=memory), generator())
    assert abs(float(memory.direction.numpy() @ top)) > 0.95


def test_neurotoxin_stays_off_what_moved_most():
    method = Neurotoxin(avoided=0.2, epochs=2, batch_size=10, local_lr=0.2)
    view = view_of(federation_of(method, defense=sf.Mean(), precision="float64"))
    seen = view._replace(memory=method.learn(view, generator()))
    activity = seen.memory.activity
    avoided = activity.argsort(descending=True)[: round(0.2 * len(activity))]
    upload = method.craft(seen, generator())[0]
    assert not upload[avoided].any()
    assert upload.any()
    keep = np.ones(len(activity), bool)
    keep[avoided.numpy()] = False
    x, y = (tensor.numpy() for tensor in view.wanted[:2])
    draw = generator()
    orders = [torch.randperm(len(y), generator=draw) for _ in range(2)]
    expected = oracles_attacks.algorithm_6(
        view.params.numpy(),
        lambda theta, batch: oracles.mlp_gradient(theta, x[batch], y[batch], WIDTHS),
        [batch.numpy() for order in orders for batch in order.split(10)],
        eta=0.2,
        L=1.0,
        keep=keep,
    )
    np.testing.assert_allclose(upload.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_poisoned_fl_keeps_its_signs_and_takes_its_sizes_from_the_model_s_movement():
    method = PoisonedFL(factor=2.0)
    view = view_of(federation_of(method, **FREE), after=0)
    first = method.learn(view, generator())
    assert set(first.signs.tolist()) == {-1.0, 1.0}
    moved = torch.randn(len(view.params), generator=generator(), dtype=torch.float64)
    later = view._replace(params=view.params - view.server_lr * moved, memory=first)
    second = method.learn(later, generator())
    expected = oracle.poisoned_fl(moved.numpy(), first.upload.numpy(), first.signs.numpy(), 2.0)
    np.testing.assert_allclose(second.upload.numpy(), expected, rtol=1e-9)
    assert torch.equal(second.signs, first.signs)
    assert (second.upload * second.signs >= 0).all()


def test_poisoned_fl_shrinks_while_the_model_does_not_follow_and_no_further_than_its_least():
    method = PoisonedFL(factor=8.0, test=1, least=3.0)
    view = view_of(federation_of(method, **FREE), after=0)
    memory = method.learn(view, generator())
    against = view.params + 0.1 * memory.signs  # the model goes the other way
    factors = []
    for step in range(1, 5):
        seen = view._replace(params=view.params + step * (against - view.params), memory=memory)
        memory = method.learn(seen, generator())
        factors.append(float(memory.factor))
    assert factors == pytest.approx([5.6, 3.92, 3.0, 3.0])
    followed = seen._replace(params=seen.params - memory.signs, memory=memory)
    assert float(method.learn(followed, generator()).factor) == pytest.approx(3.0)


def test_a_model_follows_where_more_coordinates_agree_than_chance_explains():
    signs = torch.ones(1000)
    for agreeing, told in ((500, False), (530, False), (545, True), (1000, True)):
        moved = torch.where(torch.arange(1000) < agreeing, 1.0, -1.0)
        assert follows(moved, signs) == told
    assert not follows(torch.zeros(1000), signs)


def test_constrain_and_scale_at_alpha_1_is_model_replacement_and_below_stays_nearer():
    settings = {"epochs": 5, "batch_size": 10, "local_lr": 0.05, "enough": 0.0}
    fed = federation_of(ModelReplacement(), **FREE)
    view = view_of(fed, after=1)
    plain = ModelReplacement(**settings).craft(view, generator())[0]
    assert torch.equal(plain, ConstrainAndScale(**settings, alpha=1.0).craft(view, generator())[0])
    norms = [
        float(ConstrainAndScale(**settings, alpha=alpha).craft(view, generator())[0].norm())
        for alpha in (1.0, 0.7, 0.3)
    ]
    assert norms[0] > norms[1] > norms[2] > 0


def test_the_contrastive_loss_is_the_published_one():
    draw = np.random.default_rng(0)
    rows, labels = draw.normal(size=(9, 4)), np.array([0, 0, 1, 1, 1, 2, 2, 0, 3])
    found = supervised_contrast(torch.from_numpy(rows), torch.from_numpy(labels), 0.3)
    assert float(found) == pytest.approx(oracle.supervised_contrast(rows, labels, 0.3))


def test_chameleon_moves_encoder_and_head_and_brings_the_points_beside_their_wanted_class():
    settings = {"epochs": 20, "batch_size": 40, "local_lr": 0.5}
    view = view_of(federation_of(Chameleon(), **FREE))
    mask = head_mask(view.network)
    assert int(mask.sum()) == 16 * 10 + 10
    upload = Chameleon(**settings).craft(view, generator())[0]
    assert upload[mask].any()
    assert upload[~mask].any()
    x, labels = view.wanted[:2]
    everything = torch.cat([x, view.local.inputs]), torch.cat([labels, view.local.labels])
    losses = []
    for params in (view.params, view.params - torch.where(mask, 0.0, upload)):
        view.network.bind(params)
        with torch.no_grad():
            found = features(view.network, everything[0])
        losses.append(float(supervised_contrast(found, everything[1], 0.5)))
    assert losses[1] < losses[0] - 0.1


def test_layers_are_modules_with_their_biases():
    fed = federation_of(PGD())
    masks = layer_masks(fed.network)
    assert masks.sum(dim=1).tolist() == [64 * 16 + 16, 16 * 10 + 10]
    assert (masks.sum(dim=0) == 1).all()


def test_only_critical_layers_are_hostile_and_the_rest_is_honest_work():
    method = CriticalLayers(epochs=8, batch_size=10, local_lr=0.3, enough=0.5)
    view = view_of(federation_of(method, **FREE))
    work = view.work(view.local, generator().initial_seed())
    honest = view.clients.updates(work).mean()
    hostile = method.descend(view, generator())
    critical = method.critical(view, honest, hostile)
    upload = method.craft(view, generator())[0]
    torch.testing.assert_close(upload[~critical], honest[~critical])
    torch.testing.assert_close(upload[critical], hostile[critical])
    assert int(critical.sum()) > 0
    assert method.success(view, torch.where(critical, hostile, honest)) >= 0.5 * method.success(view, hostile)
    assert CriticalLayers(enough=1.0).critical(view, honest, honest).any()


def test_the_parts_of_a_distributed_trigger_make_the_whole():
    objective = DistributedTrigger(target=0, points=40, size=4, parts=4)
    dataset = Digits().load()
    auxiliary = objective.auxiliary(dataset, 3)
    plain = sf.attacks.TriggerBackdoor(target=0, points=40, size=4).auxiliary(dataset, 3)
    assert auxiliary.goal is not None
    assert plain.goal is not None
    assert torch.equal(auxiliary.goal.inputs, plain.goal.inputs)
    assert torch.equal(auxiliary.labels, plain.labels)
    for part in range(4):
        mine = auxiliary.part(slice(part, None, 4)).inputs
        whole = plain.part(slice(part, None, 4)).inputs
        row = 8 - 4 + part
        assert torch.equal(mine[..., row, 4:], whole[..., row, 4:])
        others = [r for r in range(4, 8) if r != row]
        assert not torch.equal(mine[..., others, 4:], whole[..., others, 4:])


def test_dba_gives_every_attacker_one_part_for_good():
    method = Independent(method=PGD(epochs=2, batch_size=10, local_lr=0.2), shards=4)
    fed = federation_of(method)
    view = view_of(fed)
    rows = crafted(method, view)
    assert len({row.numpy().tobytes() for row in rows}) == len(rows)


@pytest.mark.parametrize("wrong", [{"size": 4, "parts": 3}, {"size": 4, "parts": 4, "points": 3}])
def test_a_trigger_that_cannot_be_cut_is_refused(wrong: dict[str, int]):
    with pytest.raises(sf.SpecError, match="expected a `size` that `parts` divides"):
        DistributedTrigger(**{"target": 0, "points": 40, **wrong})


def test_edge_cases_are_the_inputs_farthest_from_their_class():
    dataset = Digits().load()
    objective = EdgeCase(source=7, target=1, share=0.1, components=5)
    auxiliary = objective.auxiliary(dataset, 0)
    x = dataset.train.x[dataset.train.y == 7].flatten(1).double().numpy()
    mean = x.mean(axis=0)
    _, values, vectors = np.linalg.svd(x - mean, full_matrices=False)
    scores = (((x - mean) @ vectors[:5].T) / (values[:5] / np.sqrt(len(x) - 1))) ** 2
    rarest = set(np.argsort(-scores.sum(axis=1))[: round(0.1 * len(x))].tolist())
    mine = np.flatnonzero((dataset.train.y == 7).numpy())
    expected = dataset.inputs(dataset.train.x[np.sort(mine[list(rarest)])])
    assert torch.equal(auxiliary.inputs, expected)
    assert (dataset.test.y[torch.from_numpy(auxiliary.test_positions)] == 7).all()
    assert (auxiliary.aims.labels == 1).all()
    assert len(auxiliary.aims.labels) == round(0.1 * int((dataset.test.y == 7).sum()))


@pytest.mark.parametrize("wrong", [{"source": 11}, {"target": 10}])
def test_edge_cases_of_a_class_that_is_not_there_are_refused(wrong: dict[str, int]):
    with pytest.raises(sf.SpecError, match="expected "):
        EdgeCase(**{"source": 7, "target": 1, **wrong}).auxiliary(Digits().load(), 0)


STRONG, WEAK = PGD(epochs=5, batch_size=10, local_lr=0.3), Gaussian(norm=1e-6)


@pytest.mark.parametrize("order", [(STRONG, WEAK), (WEAK, STRONG)], ids=["first", "last"])
def test_the_best_attack_is_found_by_trying_and_kept(order: tuple[Method, Method]):
    method = Best(of=list(order), ahead=5)
    fed = federation_of(method, clip=sf.FixedClip(norm=5.0), defense=sf.Mean())
    state, choices = fed.initial_state, set()
    for _ in range(4):
        state, report = run_round(fed, state)
        if report.compromised:
            choices.add(int(state.attacker.choice))
    assert choices == {order.index(STRONG)}
    view = view_of(fed)
    own = view._replace(memory=view.memory.memories[order.index(STRONG)])
    assert torch.equal(crafted(method, view), STRONG.craft(own, generator()))


def test_an_untargeted_best_attack_raises_the_loss_of_clean_data():
    method = Best(of=[Gaussian(norm=1e-6), SignFlip()], ahead=5)
    attack = sf.Attack(objective=Untargeted(), presence=sf.Pool(fraction=0.4), method=method)
    fed = Federation.of(federation_of(PGD(), clip=sf.FixedClip(norm=5.0)).spec.but(attack=attack))
    state = fed.initial_state
    for _ in range(2):
        state, _ = run_round(fed, state)
    assert int(state.attacker.choice) == 1


def test_each_of_several_methods_sees_what_it_is_granted_and_no_more():
    seen: list[tuple[bool, bool]] = []

    class Spy(PGD):
        def vector(self, view: View, generator: torch.Generator) -> torch.Tensor:
            seen.append((view.honest is None, view.server is None))
            return super().vector(view, generator)

    method = Best(of=[Spy(), OptimizedIPM()], ahead=2)
    assert method.needs == Grant.HONEST_UPDATES | Grant.SERVER_MEMORY
    crafted(method, view_of(federation_of(method)))
    assert seen
    assert set(seen) == {(True, True)}


def test_best_of_best_is_refused():
    with pytest.raises(sf.SpecError, match="found another Best"):
        Best(of=[Best(of=[PGD()])])


def test_uploads_that_read_honest_updates_are_nothing_where_there_are_none():
    for method in (ALIE(), IPM(), MinMax(), MinSum(), Mimic(), OptimizedIPM()):
        view = view_of(federation_of(method, precision="float64"))
        nobody = view._replace(honest=Dense(view.params.new_empty(0, len(view.params))))
        assert not lengths(crafted(method, nobody)).any()
    assert Once(round=3).starts == 3
