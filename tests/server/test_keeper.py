"""A server for real federations: its state is the simulation's, and neither a stop nor a node breaks it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.clients import Work
from sparsefed.core.members import family_members, is_own
from sparsefed.defenses import Defense
from sparsefed.protocol.updates import Dense
from sparsefed.server import Keeper, Layout, Round, Rules, Upload

SHAPES = {"weight": (7, 5), "bias": (7,), "scale": ()}
RULES: list[Defense] = [
    sf.Mean(momentum=0.9),
    sf.SparseFed(k=9, momentum=0.9),
    sf.AutoSparseFed(momentum=0.5),
    sf.FetchSGD(k=5, columns=30, momentum=0.9),
    sf.PaperFetchSGD(k=5, columns=30),
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
    sf.LASA(),
    sf.FLAME(),
    sf.MeanAroundMedian(f=2),
    sf.RLR(threshold=2, momentum=0.9),
    sf.SignMajority(),
    sf.DnC(f=2, momentum=0.9),
    sf.MDA(f=2),
    sf.CRFL(norm=30.0),
    sf.Bucketing(rule=sf.Krum(f=1), size=2),
    sf.NNM(rule=sf.TrimmedMean(f=2), f=2),
    sf.ARC(rule=sf.SparseFed(k=9, momentum=0.9), f=2),
]
NEED_MORE = {sf.FLTrust, sf.MoNNA, sf.FoolsGold}  # examples of the server's own, or numbered clients
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


def model(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def honest(keeper: Keeper, nodes: int = 9) -> list[Upload]:
    """What nodes that trained a little would send: a function of the model and the round."""
    draw = np.random.default_rng(keeper.round)
    sent = []
    for node in range(nodes):
        arrays = keeper.arrays().items()
        sent.append(
            Upload(node, {k: (v - 0.1 * draw.normal(size=v.shape)).astype(np.float32) for k, v in arrays})
        )
    return sent


def test_every_rule_of_the_package_is_tried_here_but_those_that_need_more() -> None:
    members = {rule for rule in family_members(Defense) if not is_own(rule)}
    assert {type(rule) for rule in RULES} | NEED_MORE == members


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@every_rule
def test_a_server_that_is_stopped_goes_on_to_the_same_bits(rule: Defense, tmp_path: Path) -> None:
    rules = Rules(defense=rule, clip=sf.QuantileClip(), anchor=sf.InitialModel(stiffness=0.01), seed=5)
    whole = Keeper(rules, model())
    for _ in range(5):
        whole.step(honest(whole))
    for _ in range(5):
        with Keeper(rules, model(), tmp_path / "server.safetensors") as part:
            part.step(honest(part))
    assert part.round == whole.round == 5
    assert torch.equal(part.state.params, whole.state.params)
    assert torch.equal(part.state.clip, whole.state.clip)
    assert same(part.state.memory, whole.state.memory)
    assert not list(tmp_path.glob("*.part"))


class LocalModels(sf.Clients):
    """Clients whose models are a function of θ, the round and the client; one of them sends NaN."""

    def models(self, params: torch.Tensor, clients: np.ndarray, round: int) -> torch.Tensor:
        rows = []
        for client in clients.tolist():
            noise = torch.from_numpy(np.random.default_rng((client, round)).normal(size=len(params)))
            row = params - 0.1 * noise.float() * (100.0 if client % 7 == 0 else 1.0)
            rows.append(torch.full_like(row, torch.nan) if client % 11 == 0 else row)
        return torch.stack(rows)

    def updates(self, work: Work) -> Dense:
        return Dense(work.params - self.models(work.params, work.data.clients, work.round))

    def server_lr(self, lr: float) -> float:
        return lr


@every_rule
def test_the_state_is_the_simulations_after_the_same_updates(rule: Defense) -> None:
    from small import experiment

    clip, anchor = sf.QuantileClip(start=1.0), sf.InitialModel(stiffness=0.01)
    spec = experiment(rounds=6, cohort=20, defense=rule, clip=clip, anchor=anchor, clients=LocalModels())
    fed = sf.Federation.of(spec)
    state = fed.initial_state
    layers = list(fed.network.sizes)

    def arrays(vector: torch.Tensor) -> dict[str, np.ndarray]:
        return {f"layer {place}": part.numpy() for place, part in enumerate(vector.split(layers))}

    keeper = Keeper(Rules.of(spec), arrays(state.params))
    for round in range(1, 7):
        cohort = fed.cohort(round)
        rows = LocalModels().models(state.params, cohort, round)
        state, expected = sf.run_round(fed, state)
        sent = [Upload(node, arrays(row)) for node, row in zip(cohort.tolist(), rows, strict=True)]
        report = keeper.step(sent)
        assert (report.skipped or None) == expected.skipped
        assert report.clip_norm == expected.clip_norm
        shared = {name: expected.diagnosis[name] for name in report.diagnosis}
        assert report.diagnosis == pytest.approx(shared, nan_ok=True)
    assert torch.equal(keeper.state.params, state.params)
    assert torch.equal(keeper.state.clip, state.clip)
    assert same(keeper.state.memory, state.memory)


def test_every_node_is_told_what_became_of_its_update() -> None:
    keeper = Keeper(Rules(defense=sf.SparseFed(k=9), clip=sf.FixedClip(norm=1.0)), model())
    ann, bob, *_ = honest(keeper)
    far = {name: array + 1e30 for name, array in keeper.arrays().items()}
    empty, wide = {}, {**keeper.arrays(), "bias": np.zeros((7, 1), np.float32)}
    whole = {name: np.zeros(shape, np.int64) for name, shape in SHAPES.items()}
    nan = {name: np.full(shape, np.nan) for name, shape in SHAPES.items()}
    sent = [
        ("far", far),
        ("empty", empty),
        ("wide", wide),
        ("whole", whole),
        ("nan", nan),
        ("err", "no reply"),
    ]
    report = keeper.step([*(ann, bob), *(Upload(*each) for each in sent)])
    lines = {str(node.client): str(node) for node in report.nodes}
    assert lines["far"].startswith("far: clipped to ")
    assert lines["empty"].startswith("empty: left out: expected the arrays ")
    assert lines["wide"] == "wide: left out: `bias`: expected shape (7,), found (7, 1)"
    assert lines["whole"] == "whole: left out: `weight`: expected floats, found int64"
    assert lines["nan"] == "nan: left out: expected finite numbers, found NaN or infinity"
    assert lines["err"] == "err: left out: no reply"
    assert not report.skipped


def test_too_few_usable_updates_leave_the_model_as_it_is_and_count_as_a_round() -> None:
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped(), least=3), model())
    before = keeper.state
    report = keeper.step(honest(keeper, nodes=2))
    assert report == Round(1, float("inf"), "expected at least 3 usable updates, found 2", report.nodes, {})
    assert keeper.state == before._replace(round=1)


def test_a_skipped_round_is_said_of_every_node_that_was_let_in() -> None:
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.FixedClip(norm=0.1), least=3), model())
    ann, bob = honest(keeper, nodes=2)
    report = keeper.step([ann, Upload("eve", "no reply"), bob])
    assert [str(node).partition(", ")[2] for node in report.nodes] == [
        "not used: the round was skipped",
        "",
        "not used: the round was skipped",
    ]


def test_a_rule_that_needs_more_updates_than_the_least_is_refused_before_the_first_round() -> None:
    for rule in (sf.Krum(f=3), sf.Bulyan(f=1), sf.TrimmedMean(f=3), sf.NNM(rule=sf.Krum(f=3), f=2)):
        with pytest.raises(
            sf.SpecError, match=r"`least`: expected at least the [79] updates that .* found 2"
        ):
            Rules(defense=rule, clip=sf.Unclipped(), least=2)
        assert Rules(defense=rule, clip=sf.Unclipped()).least == 1  # whatever the rule needs


def test_a_server_that_gets_a_defense_in_place_of_rules_says_so() -> None:
    with pytest.raises(sf.SpecError, match=r"rules: expected `Rules\(defense=…, clip=…\)`, found a Mean"):
        Keeper(sf.Mean(), {"w": np.zeros(3)})  # pyright: ignore


def test_a_closed_server_plays_no_more_rounds(tmp_path: Path) -> None:
    with Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), {"w": np.zeros(3)}, tmp_path / "a") as server:
        pass
    with pytest.raises(sf.RunError, match="expected an open `Keeper`, found a closed one"):
        server.step([])


def test_a_server_without_a_clip_says_so() -> None:
    with pytest.raises(sf.SpecError, match=r"`clip`: missing key; expected .*Unclipped"):
        Rules(defense=sf.Mean())  # pyright: ignore


def test_tensors_and_arrays_make_the_same_server() -> None:
    module = torch.nn.BatchNorm1d(3)
    rules = Rules(defense=sf.Mean(), clip=sf.Unclipped())
    tensors, numbers = module.state_dict(), {k: v.numpy() for k, v in module.state_dict().items()}
    first, second = Keeper(rules, tensors), Keeper(rules, numbers)
    for keeper, arrays in ((first, numbers), (second, tensors)):
        half = {
            name: (v.bfloat16() if torch.is_tensor(v) and v.is_floating_point() else v)
            for name, v in arrays.items()
        }
        assert not keeper.step(
            [Upload("ann", dict(module.named_parameters()) | arrays), Upload("bob", half)]
        ).skipped
    assert torch.equal(first.state.params, second.state.params)
    assert all(map(np.array_equal, first.arrays().values(), second.arrays().values()))


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        (None, "expected arrays by their names, found nothing"),
        ({"a": [1.0]}, "`a`: expected an array or a dense tensor, found a list"),
        ({"a": torch.zeros(3).to_sparse()}, "`a`: expected an array or a dense tensor, found a Tensor"),
        ({"a": torch.zeros(3).half()}, "expected a model of float32 arrays .* found float16 in `a`"),
        ({"a": torch.zeros(3).bfloat16()}, "expected a model of float32 arrays .* found bfloat16 in `a`"),
    ],
)
def test_a_model_that_is_none_is_refused_in_one_line(arrays: Any, found: str) -> None:
    with pytest.raises(sf.SpecError, match=found):
        Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), arrays)


def test_two_servers_that_differ_are_told_in_the_key_that_differs(tmp_path: Path) -> None:
    path, rules = tmp_path / "server.safetensors", Rules(defense=sf.SparseFed(k=3), clip=sf.Unclipped())
    with Keeper(rules, model(), path) as keeper:
        keeper.step(honest(keeper))
    with pytest.raises(sf.RunError, match=r"server: expected defense.k = 4, found 3; move"):
        Keeper(rules.but(defense=sf.SparseFed(k=4)), model(), path)
    with pytest.raises(sf.RunError, match=r"server: expected defense = Mean, found SparseFed; move"):
        Keeper(rules.but(defense=sf.Mean()), model(), path)
    with pytest.raises(sf.RunError, match=r"expected a folder that exists, found no `.*nowhere`$"):
        Keeper(rules, model(), tmp_path / "nowhere" / "server.safetensors")


def test_a_rule_of_your_own_that_fails_on_hostile_numbers_costs_the_round_only() -> None:
    class Fragile(sf.Mean):
        """The mean, unless it is large."""

        def aggregate(self, updates: sf.Updates) -> torch.Tensor:
            return (
                updates.mean() if float(updates.norms().max()) < 1e3 else torch.linalg.inv(torch.zeros(2, 2))
            )

    keeper = Keeper(Rules(defense=Fragile(), clip=sf.Unclipped()), model())
    hostile = {name: array + 1e9 for name, array in keeper.arrays().items()}
    before = keeper.state
    assert keeper.step([*honest(keeper), Upload("eve", hostile)]).skipped.startswith("_LinAlgError: ")
    assert keeper.state == before._replace(round=1)
    assert not keeper.step(honest(keeper)).skipped


def test_a_checkpoint_of_another_server_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path, rules = tmp_path / "server.safetensors", Rules(defense=sf.Mean(), clip=sf.Unclipped(), seed=1)
    first = Keeper(rules, model(), path)
    first.step(honest(first))
    with pytest.raises(sf.RunError, match="already in use by another Keeper"):
        Keeper(rules, model(), path)
    first.close()
    Keeper(rules.but(rounds=9, least=2), model(), path).close()
    with pytest.raises(sf.RunError, match="another server: expected seed = 2, found 1; move the file away"):
        Keeper(rules.but(seed=2), model(), path)
    with pytest.raises(sf.RunError, match="another server: expected arrays"):
        Keeper(rules, {"weight": np.zeros((5, 7), np.float32)}, path)
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(sf.RunError, match="damaged: expected a whole checkpoint; move the file away"):
        Keeper(rules, model(), path)


def test_a_disk_that_is_full_stops_the_server_with_the_state_of_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rules = tmp_path / "server.safetensors", Rules(defense=sf.Mean(), clip=sf.Unclipped())
    keeper = Keeper(rules, model(), path)
    keeper.step(honest(keeper))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(sf.RunError, match="cannot be written"):
            keeper.step(honest(keeper))
    assert keeper.round == 1
    keeper.close()
    with Keeper(rules, model(), path) as again:
        assert again.round == 1


@given(
    st.lists(st.tuples(st.text(min_size=1), st.lists(st.integers(0, 3), max_size=3)), min_size=1, max_size=4)
)
def test_a_model_is_one_vector_and_its_arrays_are_views_of_it(parts: list[tuple[str, list[int]]]) -> None:
    arrays = {name: np.random.default_rng(0).normal(size=shape) for name, shape in parts}
    layout = Layout.of(arrays)
    vector = layout.vector(arrays)
    assert len(vector) == layout.size
    for name, array in layout.arrays(vector).items():
        assert np.array_equal(array, arrays[name])
        assert array.shape == arrays[name].shape
    vector += 1
    assert all(
        np.array_equal(array, layout.arrays(vector)[name]) for name, array in layout.arrays(vector).items()
    )


def test_a_rule_that_needs_examples_of_the_servers_own_is_refused_before_the_first_round() -> None:
    with pytest.raises(sf.SpecError, match="needs no examples of the server's own, found FLTrust"):
        Rules(defense=sf.FLTrust(examples=50), clip=sf.Unclipped())


def test_counters_of_integers_are_sent_as_they_are_and_never_read() -> None:
    arrays = {**model(), "batches": np.array(7)}
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), arrays)
    sent = honest(keeper, nodes=3)
    keeper.step([Upload(each.node, {**each.arrays, "batches": np.array(10**9)}) for each in sent])  # pyright: ignore
    assert keeper.arrays()["batches"] == 7
    with pytest.raises(sf.SpecError, match="expected a model of float32 arrays or of float64 arrays"):
        Layout.of({"half": np.zeros(3, np.float16)})
