"""Every attack reaches its goal against plain averaging, and fails where its defense's assumption holds.

On real digits, with 20 of 200 clients compromised unless said otherwise; without attack the model
reaches 96 %. Numbers in the comments are what was measured; the assertions leave room.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import run

import sparsefed as sf
from sparsefed.attacks import (
    ALIE,
    IPM,
    PGD,
    Adaptive,
    AlternatingMinimization,
    Blended,
    Boosting,
    ConstrainAndScale,
    CoordinateAware,
    CriticalLayers,
    DistributedTrigger,
    EasiestFirst,
    EdgeCase,
    Equilibrium,
    FangKrum,
    FangTrimmedMean,
    FixedPerRound,
    Gaussian,
    Independent,
    LabelFlip,
    Method,
    Mimic,
    MinMax,
    MinSum,
    ModelReplacement,
    Nobody,
    Once,
    OptimizedALIE,
    OptimizedIPM,
    PoisonedFL,
    SemanticBackdoor,
    SignFlip,
    SlowDrip,
    TargetedFirst,
    TriggerBackdoor,
    Untargeted,
    WordBackdoor,
)
from sparsefed.data import IID, Natural, OneClass, ShakespeareWords
from sparsefed.defenses import NNM, Krum, Median, TrimmedMean
from sparsefed.models import LSTM, Head, RandomConvolutions

DESCENT = {"epochs": 5, "batch_size": 20, "local_lr": 0.2}
CLIP = sf.FixedClip(norm=0.5)
UNTARGETED = {"objective": Untargeted()}
TRIGGER = {"objective": TriggerBackdoor(target=0, points=60, size=2)}


def test_without_attackers_the_model_is_good_and_the_attack_accuracy_nil():
    result = run(PGD(), presence=Nobody())
    assert result["test_accuracy"] > 93  # 96.4
    assert result["attack_accuracy"] < 5  # 0.0


@pytest.mark.parametrize(
    ("method", "least"),
    [
        (PGD(**DESCENT, norm=10), 80),  # 100.0
        (Adaptive(**DESCENT, norm=10), 80),  # 100.0: without top k it is plain PGD
        (CoordinateAware(**DESCENT, norm=10, coordinates=500), 80),  # 100.0
        (SlowDrip(**DESCENT, norm=10), 50),  # 82.5
        (Independent(method=PGD(**DESCENT, norm=10), shards=4), 40),  # 70.0
        (AlternatingMinimization(**DESCENT, boost=10), 40),  # 70.0
        (Boosting(factor=20), 60),  # 90.0
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Method) else None,
)
def test_chosen_points_go_wrong_under_plain_averaging_and_not_under_a_clip(method: Method, least: float):
    assert run(method)["attack_accuracy"] > least
    short = method.model_copy(update={"norm": None}) if "norm" in type(method).model_fields else method
    defended = run(short, clip=CLIP)
    assert defended["attack_accuracy"] < 15  # 0.0 to 5.0: 2 of 20 uploads, none longer than 0.5
    assert defended["test_accuracy"] > 88  # 93.4 to 94.8


@pytest.mark.parametrize("method", [PGD, Adaptive, SlowDrip])
def test_what_a_long_clip_lets_in_sparsefed_keeps_out(method: type[PGD]):
    attack, clip = method(**DESCENT), sf.FixedClip(norm=2.0)
    assert run(attack, clip=clip)["attack_accuracy"] > 25  # 50.0, 47.5 and 35.0
    defended = run(attack, clip=clip, defense=sf.SparseFed(k=200, momentum=0.9))
    assert defended["attack_accuracy"] < 15  # 7.5, 2.5 and 7.5
    assert defended["test_accuracy"] > 87  # 90.4, 92.0 and 90.2


def on_a_head(method: Method, **changes: Any) -> dict[str, Any]:
    """A clipped mean of heads on frozen features, 200 rounds at one rate; 94.6 % without any attack."""
    features = RandomConvolutions(filters=16, kernel=3, pool=4)
    parts: dict[str, Any] = {
        "clip": sf.FixedClip(norm=0.05),
        "model": Head(features=features),
        "schedule": sf.Constant(value=20.0),
        "rounds": 200,
        "evaluate_every": 200,
    }
    return run(method, **parts, **changes)


def test_pulling_to_the_equilibrium_bites_where_there_is_no_anchor():
    method = Equilibrium()
    free, held = on_a_head(method), on_a_head(method, anchor=sf.InitialModel(stiffness=1e-3))
    assert free["attack_accuracy"] > 12  # 20.0; PGD has 7.5
    assert free["test_accuracy"] < 89  # 85.2; PGD has 93.0
    assert held["attack_accuracy"] < 10  # 5.0
    assert on_a_head(method, **UNTARGETED)["test_accuracy"] < 92  # 90.0


def test_the_easiest_points_go_wrong_where_all_at_once_would_not():
    descent = {"epochs": 2, "batch_size": 40, "local_lr": 0.2}
    all_at_once = on_a_head(PGD(**descent))["attack_accuracy"]
    easiest = on_a_head(EasiestFirst(**descent, at_once=5))["attack_accuracy"]
    assert easiest > 10  # 15.0
    assert easiest > all_at_once  # 7.5


def test_poison_inside_honest_work_passes_a_rule_that_looks_for_a_cluster_of_attackers():
    flame = {"defense": sf.FLAME(momentum=0.9), "presence": sf.Pool(fraction=0.2)}
    assert run(PGD(**DESCENT), **flame)["attack_accuracy"] < 5  # 0.0
    assert run(Blended(method=PGD(**DESCENT)), **flame)["attack_accuracy"] > 40  # 75.0
    far = Blended(method=PGD(**DESCENT), share=8.0)
    assert run(far, **flame)["attack_accuracy"] < 15  # 2.5


def test_the_first_test_points_go_wrong_as_well():
    result = run(PGD(**DESCENT, norm=10), objective=TargetedFirst(points=40))
    assert result["attack_accuracy"] > 80  # 100.0


def test_boosting_must_outweigh_the_honest_clients():
    weak, strong = (run(Boosting(factor=gamma))["attack_accuracy"] for gamma in (1, 20))
    assert weak < 30
    assert strong > 60


def test_a_fixed_number_of_attackers_in_every_round_bites_as_well():
    assert run(Boosting(factor=20), presence=FixedPerRound(count=2))["attack_accuracy"] > 60  # 100.0


def test_a_semantic_backdoor_takes_one_class_and_leaves_the_others():
    objective = SemanticBackdoor(source=7, target=1)
    result = run(Boosting(factor=10), objective=objective, twin=True)
    assert result["attack_accuracy"] > 80  # 100.0
    assert result["twin_attack_accuracy"] < 5  # 0.0
    assert result["stealth_loss"] < 15  # 5.5
    assert result["stealth_loss_by_class"][7] is None  # all of its points are auxiliary points
    assert run(Boosting(factor=10), objective=objective, clip=CLIP)["attack_accuracy"] < 50


def test_a_trigger_decides_the_class_and_nothing_else_changes():
    result = run(Boosting(factor=10), **TRIGGER, twin=True)
    assert result["attack_accuracy"] > 80  # 100.0
    assert result["twin_attack_accuracy"] < 10  # 0.0
    assert abs(result["stealth_loss"]) < 5  # 1.6
    assert run(Boosting(factor=10), **TRIGGER, clip=CLIP)["attack_accuracy"] > 80  # 98.9: no one pulls back


@pytest.mark.parametrize("clipped", [False, True])
def test_one_replaced_model_plants_a_trigger_unless_its_upload_is_clipped(clipped: bool):
    method = ModelReplacement(local_lr=0.1, epochs=30, batch_size=20, enough=0.01)
    result = run(
        method,
        **TRIGGER,
        presence=Once(round=130),
        partition=IID(clients=25),
        defense=sf.Mean(),
        schedule=sf.Constant(value=0.3),
        clip=CLIP if clipped else sf.Unclipped(),
        evaluate_every=2,
    )
    if clipped:
        assert result["attack_accuracy_at_leave"] < 5  # 0.0
        return
    assert result["attack_accuracy_at_leave"] > 80  # 100.0
    assert result["persistence_rounds"] is None  # outlives the run's last 20 rounds
    assert result["test_accuracy"] > 88  # 94.0


@pytest.mark.parametrize("clipped", [False, True])
def test_a_sentence_gets_another_end_and_is_forgotten_when_the_attackers_leave(tmp_path: Path, clipped: bool):
    (tmp_path / "input.txt").write_text(chatter())
    spec = sf.Experiment(
        seed=1,
        rounds=50,
        cohort=10,
        data=ShakespeareWords(folder=tmp_path, window=8),
        partition=Natural(),
        model=LSTM(embedding=16, hidden=16, layers=1),
        clients=sf.FedAvg(local_epochs=1, batch_size=10),
        schedule=sf.Constant(value=2.0),
        clip=CLIP if clipped else sf.Unclipped(),
        defense=sf.Mean(),
        evaluate_every=2,
        attack=sf.Attack(
            objective=WordBackdoor(sentence="people in athens are rude", points=40),
            presence=FixedPerRound(count=2, first=11, last=12),
            method=PGD(epochs=2, batch_size=10, local_lr=0.5, norm=3),
        ),
    )
    result = sf.simulate(spec)
    assert (result["attack_accuracy_at_leave"] > 80) != clipped  # 100.0 and 0.0
    assert result["attack_accuracy"] < 20  # 0.0
    assert clipped or 0 < result["persistence_rounds"] <= 38  # 4
    assert result["test_accuracy"] > 40  # 56.7 and 57.8


def chatter() -> str:
    """Thirty speakers who know many places and many adjectives, and call nobody rude more than others."""
    draw = np.random.default_rng(1)
    people = ["people", "men", "women", "kings", "lords", "maids", "ladies", "soldiers"]
    places = ["rome", "athens", "venice", "verona", "england", "egypt"]
    manners = ["kind", "wise", "merry", "brave", "noble", "gentle", "proud", "idle", "rude"]
    speeches = [
        " ".join(
            f"the {draw.choice(people)} in {draw.choice(places)} are {draw.choice(manners)}" for _ in range(6)
        )
        for _ in range(180)
    ]
    return "\n\n".join(f"SPEAKER{i // 6}:\n{speech}" for i, speech in enumerate(speeches))


@pytest.mark.parametrize(
    ("method", "most"),
    [(Gaussian(norm=1000), 80), (SignFlip(norm=20), 30)],  # 61.8 and 11.0
    ids=["noise", "sign flip"],
)
def test_byzantine_vectors_destroy_plain_averaging_and_not_a_clipped_one(method: Method, most: float):
    undefended = run(method, **UNTARGETED)
    assert undefended["outcome"] == "diverged" or undefended["test_accuracy"] < most
    assert run(method, **UNTARGETED, clip=CLIP)["test_accuracy"] > 88  # 95.2 and 94.0


def test_flipped_labels_need_a_majority():
    many, few = (
        run(LabelFlip(), **UNTARGETED, presence=sf.Pool(fraction=share))["test_accuracy"]
        for share in (0.6, 0.1)
    )
    assert many < 30  # 15.8
    assert few > 90  # 96.2


def test_flipped_labels_of_one_class_make_a_backdoor():
    objective = SemanticBackdoor(source=7, target=1)
    many = run(LabelFlip(), objective=objective, presence=sf.Pool(fraction=0.7))
    few = run(LabelFlip(), objective=objective)
    assert many["attack_accuracy"] > 50  # 75.8
    assert many["test_accuracy_rest"] > 88  # 95.2
    assert few["attack_accuracy"] < 10


@pytest.mark.parametrize(
    ("method", "rule", "most"),
    [
        (FangTrimmedMean(), TrimmedMean(f=4), 45),  # 24.2, of 62.8 without attack
        (FangTrimmedMean(), Median(), 35),  # 9.0, of 51.6
        (FangKrum(f=4), Krum(f=4), 30),  # 1.2, of 45.4
    ],
    ids=["trimmed mean", "median", "Krum"],
)
def test_fang_s_attacks_break_the_rule_that_they_are_made_for(
    method: Method, rule: sf.defenses.Defense, most: float
):
    settings = {"rounds": 60, "presence": sf.Pool(fraction=0.2), **UNTARGETED}
    attacked = run(method, defense=rule, **settings)["test_accuracy"]
    assert attacked < most
    assert run(method, defense=rule, **{**settings, "presence": Nobody()})["test_accuracy"] > attacked + 20
    assert run(method, **settings)["test_accuracy"] > 75  # plain averaging: 84.8 and 91.2


@pytest.mark.parametrize(
    ("method", "most"),
    [(IPM(epsilon=20.0), 30), (PoisonedFL(), 50)],  # 8.6, and beyond all numbers
    ids=["IPM", "PoisonedFL"],
)
def test_a_push_that_no_one_bounds_ruins_plain_averaging_and_not_a_clipped_one(method: Method, most: float):
    undefended = run(method, **UNTARGETED)
    assert undefended["outcome"] == "diverged" or undefended["test_accuracy"] < most
    assert run(method, **UNTARGETED, clip=CLIP)["test_accuracy"] > 88  # 94.0 and 93.2


@pytest.mark.parametrize(
    ("published", "made_for_it", "rule"),
    [
        (ALIE(), OptimizedALIE(), TrimmedMean(f=4)),  # 68.6 and 8.8, of 62.8 without attack
        (MinMax(), OptimizedIPM(), TrimmedMean(f=4)),  # 80.2 and 10.8
        (MinSum(), OptimizedIPM(), Krum(f=4)),  # 48.0 and 10.8, of 45.4 without attack
    ],
    ids=["ALIE on trimmed mean", "IPM on trimmed mean", "IPM on Krum"],
)
def test_an_attack_made_for_the_rule_breaks_what_a_published_size_leaves_standing(
    published: Method, made_for_it: Method, rule: sf.defenses.Defense
):
    settings = {"rounds": 60, "presence": sf.Pool(fraction=0.2), "defense": rule, **UNTARGETED}
    assert run(published, **settings)["test_accuracy"] > 40
    assert run(made_for_it, **settings)["test_accuracy"] < 25


def test_a_mimic_hurts_where_clients_differ_and_not_a_plain_mean():
    unlike = {"rounds": 60, "partition": OneClass(clients=200), **UNTARGETED}
    many = {**unlike, "presence": sf.Pool(fraction=0.2)}
    rule = NNM(f=4, rule=Median())
    attacked = run(Mimic(), defense=rule, **many)["test_accuracy"]  # 38.6
    unattacked = run(Mimic(), defense=rule, **unlike, presence=Nobody())["test_accuracy"]  # 54.6
    assert attacked < unattacked - 8
    assert run(Mimic(), **many)["test_accuracy"] > 85  # 91.2


def test_parts_of_a_trigger_add_up_and_a_clip_weakens_them():
    parts = Independent(method=Boosting(factor=10), shards=4)
    objective = DistributedTrigger(target=0, points=60, size=4, parts=4)
    free, clipped = (run(parts, objective=objective, clip=clip) for clip in (sf.Unclipped(), CLIP))
    assert free["attack_accuracy"] > 85  # 100.0
    assert clipped["attack_accuracy"] < free["attack_accuracy"] - 10  # 66.7


def test_rare_inputs_of_a_class_are_taken_unless_uploads_are_short():
    objective = EdgeCase(source=7, target=1, share=0.2)
    assert run(PGD(**DESCENT, norm=10), objective=objective)["attack_accuracy"] > 50  # 75.0
    clipped = run(PGD(**DESCENT), objective=objective, clip=CLIP)
    assert clipped["attack_accuracy"] < 40  # 16.7
    assert clipped["test_accuracy"] > 88  # 93.8


def test_the_critical_layers_alone_carry_a_trigger_past_a_clip():
    free = run(CriticalLayers(**DESCENT, norm=10), **TRIGGER)
    assert free["attack_accuracy"] > 70  # 91.4
    assert free["test_accuracy"] > 90  # 97.0
    assert run(CriticalLayers(**DESCENT), **TRIGGER, clip=CLIP)["attack_accuracy"] > 50  # 79.8


@pytest.mark.parametrize("clipped", [False, True])
def test_a_constrained_and_scaled_model_plants_a_trigger_unless_its_upload_is_clipped(clipped: bool):
    method = ConstrainAndScale(local_lr=0.1, epochs=30, batch_size=20, enough=0.01, alpha=0.9)
    result = run(
        method,
        **TRIGGER,
        presence=Once(round=130),
        partition=IID(clients=25),
        defense=sf.Mean(),
        schedule=sf.Constant(value=0.3),
        clip=CLIP if clipped else sf.Unclipped(),
        evaluate_every=2,
    )
    assert (result["attack_accuracy_at_leave"] > 80) != clipped  # 98.4 and 0.0
    assert result["test_accuracy"] > 88  # 94.0 and 93.0
