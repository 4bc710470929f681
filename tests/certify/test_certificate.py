"""The certificate of an experiment: its own attacks stay within, and what is not covered says so."""

import math
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

import sparsefed
from sparsefed.attacks import (
    PGD,
    Attack,
    FixedPerRound,
    Method,
    Once,
    Pool,
    SemanticBackdoor,
    Targeted,
    TriggerBackdoor,
)
from sparsefed.certify import OncePerEpoch, SampledPool, Study, WorstCase, certificate
from sparsefed.certify.report import certificate_table, plot_certificate, power
from sparsefed.clients import FedAvg
from sparsefed.core.errors import SpecError
from sparsefed.core.members import family_members
from sparsefed.data import IID, Digits
from sparsefed.defenses import Mean, Median, SparseFed, SubtractMasking
from sparsefed.federation.experiment import Experiment
from sparsefed.models import MLP, Linear
from sparsefed.protocol.anchors import InitialModel
from sparsefed.protocol.clips import AdaptiveClip, FixedClip, QuantileClip, Unclipped
from sparsefed.protocol.schedules import Constant, Triangular

EXPERIMENT = Experiment(
    rounds=6,
    cohort=20,
    data=Digits(),
    partition=IID(clients=40),
    model=Linear(bias=False, zeros=True),
    schedule=Constant(value=0.01),
    clip=FixedClip(norm=3.0),
    defense=Mean(),
    precision="float64",
    twin=True,
)
ARGUMENTS = {
    "Best": {"of": [PGD()]},
    "Blended": {"method": PGD()},
    "CoordinateAware": {"coordinates": 50},
    "Independent": {"method": PGD()},
}
METHODS = {
    kind.__name__: kind(**ARGUMENTS.get(kind.__name__, {}))
    for kind in sorted(family_members(Method), key=lambda kind: kind.__name__)
    if kind.__module__.startswith("sparsefed.")
}
SERVERS = {
    "mean": {},
    "mean with momentum and bias": {"defense": Mean(momentum=0.9), "model": Linear(bias=True)},
    "small clip": {"clip": FixedClip(norm=0.5), "schedule": Triangular(peak=0.05)},
    "SparseFed": {"defense": SparseFed(k=320)},
    "SparseFed with momentum": {"defense": SparseFed(k=64, momentum=0.9)},
    "SparseFed with the rate in the error": {
        "defense": SparseFed(k=64, lr_in_error=True),
        "schedule": Triangular(peak=0.05),
    },
    "anchored mean": {"anchor": InitialModel(stiffness=10.0), "defense": Mean(momentum=0.9)},
    "anchored SparseFed": {"anchor": InitialModel(stiffness=10.0), "defense": SparseFed(k=320)},
    "anchored FedAvg": {
        "clients": FedAvg(),
        "clip": AdaptiveClip(norm=3.0),
        "schedule": Triangular(peak=0.05),
        "anchor": InitialModel(stiffness=10.0),
    },
    "FedAvg": {"clients": FedAvg(), "clip": AdaptiveClip(norm=3.0), "schedule": Triangular(peak=0.05)},
}


def attack(name: str, presence=None) -> Attack:
    needed = {
        "LabelFlip": SemanticBackdoor(source=7, target=1),
        "A3FL": TriggerBackdoor(target=1, points=20),
    }
    objective = needed.get(name, Targeted(points=20))
    return Attack(objective=objective, presence=presence or Pool(clients=4), method=METHODS[name])


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS.keys())
def study(request) -> Study:
    return Study.of(EXPERIMENT.but(**request.param))


@pytest.mark.parametrize("name", METHODS)
def test_every_attack_of_the_project_stays_within_every_proven_radius(study, name):
    result = sparsefed.simulate(study.fed.spec.but(attack=attack(name)))
    distances = {"ℓ1": result["distance_l1"], "ℓ2": result["distance_l2"]}
    checked = 0
    for bound in study.against(4).bounds:
        if bound.log_radius is not None and bound.verdict in {"certified", "vacuous"}:
            assert distances[bound.norm] <= math.exp(bound.log_radius), bound.name
            checked += 1
    assert checked >= 2


def test_points_that_are_certified_are_right_in_every_attacked_run():
    spec = EXPERIMENT.but(rounds=3, cohort=40, partition=IID(clients=1000, replace=True, per_client=40))
    spec = spec.but(cohort=1000, clip=FixedClip(norm=2.0))
    made = certificate(spec, compromised=1)
    assert 0 < made.certified < made.points.accuracy
    for name in ("SignFlip", "PGD"):
        result = sparsefed.simulate(spec.but(attack=attack(name, Pool(clients=1))))
        assert result["test_accuracy"] >= made.certified


def test_an_anchored_convex_radius_is_what_is_left_of_the_poison_of_all_rounds():
    spec = EXPERIMENT.but(cohort=40, clip=FixedClip(norm=9.0), anchor=InitialModel(stiffness=20.0))
    made = certificate(spec, compromised=1, counting=WorstCase())
    (bound,) = [bound for bound in made.bounds if bound.name == "convex loss, anchored"]
    most = 2 * 9.0 / 40 / 20.0  # s (m/n) L / η
    assert math.exp(bound.log_radius) == pytest.approx(most * (1 - (1 - 0.01 * 20.0) ** 6))


def test_more_attackers_certify_less_and_worse_counting_too():
    study = Study.of(EXPERIMENT.but(cohort=4))
    radii = [study.against(m).bounds[0].log_radius for m in (0, 1, 4, 40)]
    assert radii[0] == -math.inf
    assert radii == sorted(radii)
    ways = [
        study.against(2, counting).bounds[0].log_radius
        for counting in (OncePerEpoch(), SampledPool(), WorstCase())
    ]
    assert ways[0] < ways[1] <= ways[2]


def test_the_attacks_own_presence_is_what_is_certified():
    found = {}
    for name, presence in {
        "pool": Pool(clients=4),
        "late": Pool(clients=4, first=5),
        "fixed": FixedPerRound(count=2),
        "once": Once(round=6, count=2),
    }.items():
        made = certificate(EXPERIMENT.but(attack=attack("SignFlip", presence)))
        found[name] = made.case.counts(made.case.lrs).tolist()
        assert made.bounds[0].log_radius > -math.inf
    assert found["fixed"] == [2] * 6
    assert found["once"] == [0] * 5 + [2]
    assert sum(found["pool"]) == 12  # 4 in each of 3 epochs
    assert found["late"][:4] == [0] * 4
    assert sum(found["late"]) == 4


def test_before_its_first_round_an_attack_adds_nothing():
    spec = EXPERIMENT.but(defense=SparseFed(k=64))
    whole = Study.of(spec).against(4).case.sparse()
    last = certificate(spec.but(attack=attack("SignFlip", Pool(clients=4, first=6)))).case.sparse()
    assert last.log < whole.log
    assert last.log == pytest.approx(math.log(0.01 * (last.poison + last.residue)))  # λ(ρ + 2γ), once


@pytest.mark.parametrize("k", [1, 64, 320])
def test_a_priori_the_sparse_recursion_proves_nothing_where_its_a_is_smaller(k):
    """For k ≤ d/2, 2γ is at least 4 times the size of an update; two runs are at most 2 times it apart."""
    case = Study.of(EXPERIMENT.but(defense=SparseFed(k=k), rounds=2)).against(1).case
    assert case.sparse().log >= case.sizes_alone().log


def test_a_claimed_constant_stands_in_for_an_unknown_one():
    spec = EXPERIMENT.but(model=MLP(hidden=(4,)), rounds=2)
    made = certificate(spec, lipschitz=1e9, compromised=1)
    assert made.points is None
    assert made.certified is None
    assert made.bounds[0].verdict == "vacuous"


@pytest.mark.parametrize(("model", "lipschitz"), [(MLP(hidden=(4,)), 1.0), (Linear(), 0.0), (Linear(), 1e-3)])
def test_a_claimed_constant_that_a_client_disproves_is_refused(model: Any, lipschitz: float):
    with pytest.raises(
        SpecError,
        match=rf"that holds for every client, found {lipschitz:g}, but client \d+ shows",
    ):
        certificate(EXPERIMENT.but(model=model, rounds=2), lipschitz=lipschitz, compromised=1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": MLP(hidden=(4,))}, r"expected `lipschitz`, or softmax regression \(Linear\)"),
        ({"clip": Unclipped()}, "a single unclipped upload moves the model anywhere.*Unclipped"),
        ({"clip": QuantileClip()}, "a clip that does not depend on the updates"),
        ({"defense": Median()}, "expected the plain mean or SparseFed, found Median"),
        ({"clients": FedAvg(local_epochs=2)}, "clients of one local step, found FedAvg"),
        (
            {"defense": SparseFed(k=9, momentum=0.5, masking=SubtractMasking())},
            "a masking that only shrinks the velocity, found SubtractMasking",
        ),
    ],
)
def test_what_the_theory_does_not_cover_is_one_clear_line(changes, complaint):
    with pytest.raises(SpecError, match=complaint) as caught:
        certificate(EXPERIMENT.but(**changes), compromised=1)
    assert "\n" not in str(caught.value)


def test_a_threat_is_needed_and_must_be_possible():
    study = Study.of(EXPERIMENT.but(rounds=1))
    with pytest.raises(SpecError, match="expected an `attack` or `--compromised`, found neither"):
        study.against()
    with pytest.raises(SpecError, match="compromised: expected a whole number of between 0 and 40, found 41"):
        study.against(41)


def test_the_report_says_certified_and_vacuous_in_words(tmp_path):
    made = certificate(EXPERIMENT.but(defense=SparseFed(k=64)), compromised=4)
    console = Console(width=140, record=True, file=StringIO())
    console.print(certificate_table(made))
    text = console.export_text()
    for line in ("4 of 40 clients", "d = 640, k = 64", "memory once", "vacuous", "not valid"):
        assert line in text
    plot_certificate(made, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    first = made.to_dict()["bounds"][0]
    assert first["log10_radius"] == pytest.approx(made.bounds[0].log_radius / math.log(10))


def test_a_radius_of_any_size_can_be_written():
    assert power(math.log(0.25), "ℓ1") == "0.25 ℓ1"
    assert power(-math.inf, "ℓ2") == "0 ℓ2"
    assert power(1e6, "ℓ1") == "10^4.343e+05 ℓ1"
    assert power(None, "ℓ1") == "–"
