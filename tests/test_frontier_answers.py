"""What a frontier, a tuning, a leaderboard and an audit say of what was measured."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from small import finished
from test_frontier import BASE, CLIP, plan
from test_leaderboard import CONTENT

import sparsefed as sf
from sparsefed.attacks import PGD, Attack, Pool, SignFlip, Targeted, Untargeted
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.goals import Goal
from sparsefed.frontier.leaderboard import Leaderboard, standings, tuned
from sparsefed.frontier.leaderboard_page import leaderboard_page
from sparsefed.frontier.page import answer, markdown, rows
from sparsefed.frontier.picture import plot_frontier
from sparsefed.frontier.points import Measured, Point, averaged, measured
from sparsefed.frontier.printed import read_points
from sparsefed.frontier.search import frontier
from sparsefed.frontier.tune import Tuned, _rank
from sparsefed.frontier.verdict import _certified

POOL = Pool(fraction=0.1)
CHOSEN = Goal(
    "chosen points", {"PGD": Attack(objective=Targeted(points=9), presence=POOL, method=PGD(local_lr=0.1))}
)
ANY = Goal("untargeted", {"flip": Attack(objective=Untargeted(), presence=POOL, method=SignFlip())})
LEARNED = {"outcome": "trained", "test_accuracy": 90.0, "test_accuracy_rest": 90.0}
DIVERGED = {"outcome": "diverged", "test_accuracy": None, "test_accuracy_rest": None, "attack_accuracy": None}


def point(defense: str, before: float, after: float | None, test: float = 95.0) -> Point:
    good = Measured(98.0, test, "PGD", before, (0,))
    later = None if after is None else Measured(98.0, test, "PGD", after, (0,))
    return Point("chosen points", 0.1, defense, {"clip.norm": 1.0}, good, good, later)


def test_what_holds_comes_before_what_delays_and_both_before_what_is_broken() -> None:
    lost, clip = point("quantile clip", 100, 100), point("clip", 80, 97)
    late, stands = point("SparseFed", 2, 33), point("anchored", 9, 12)
    assert [each.verdict for each in (lost, clip, late, stands)] == ["broken", "broken", "delays", "holds"]
    assert min([lost, clip, late], key=_rank) is late
    assert min([lost, clip, late, stands], key=_rank) is stands
    said = answer(Tuned(None, None, lost, 1.0, {}, []))  # type: ignore[arg-type]
    assert "the attack has won at the first horizon already" in said
    page = markdown(plan(goals=["chosen points"], compromised=[0.1]), [lost, late], "sparsefed frontier x")
    assert page.count("| broken |") == 1
    assert page.count("| delays |") == 1


@pytest.mark.parametrize(("goal", "success"), [(CHOSEN, 100.0), (ANY, 90.0)], ids=lambda each: str(each)[:12])
def test_a_run_that_diverges_under_attack_is_the_attackers(goal: Goal, success: float) -> None:
    found = measured(goal, {"": LEARNED, next(iter(goal.attacks)): DIVERGED}, (0,))
    assert (found.test_accuracy, found.worst_attack_accuracy) == (0.0, success)


def test_a_server_that_learns_nothing_has_lost_and_ranks_last() -> None:
    useless = LEARNED | {
        "outcome": "no better than guessing",
        "test_accuracy": 10.0,
        "test_accuracy_rest": 10.0,
    }
    for goal in (CHOSEN, ANY):
        found = measured(
            goal, {"": useless, next(iter(goal.attacks)): useless | {"attack_accuracy": 0.0}}, (0,)
        )
        assert found.values == (0.0, 100.0)
    board = Leaderboard(**CONTENT)

    def done(defense: str, row: dict) -> list:
        entries = []
        for attack in ("", "flip"):
            cell = SimpleNamespace(experiment=SimpleNamespace(seed=0))
            entries.append(
                (SimpleNamespace(defense=defense, goal=ANY, share=0.2, attack=attack, cell=cell), row)
            )
        return entries

    ranked = standings(board, done("useless", useless) + done("good", LEARNED | {"test_accuracy_rest": 85.0}))
    assert [each.defense for each in ranked] == ["good", "useless"]
    assert "did not learn" in leaderboard_page(board, ranked, "sparsefed leaderboard x")


def test_numbers_of_the_search_are_not_printed_as_reported(tmp_path: Path) -> None:
    searched = point("SparseFed", 3, None)._replace(
        reported=None, searched=Measured(99.5, 99.0, "PGD", 3.0, (7,))
    )
    points = [point("clip", 4, 5, test=97.6), searched]
    page = markdown(plan(goals=["chosen points"], compromised=[0.1]), points, "sparsefed frontier x")
    assert "Best unattacked test accuracy: 98.0 %." in page
    assert "| clip | 4.0 → 5.0 |" in page
    (tmp_path / "p.json").write_text(json.dumps(rows(points)))
    assert rows(points)[1]["test_accuracy"] is None
    assert rows(points)[1]["searched"]["test_accuracy"] == 99.0
    assert [each["defense"] for each in read_points(tmp_path / "p.json")] == ["clip"]


def test_a_defense_without_a_setting_is_named_on_page_and_picture(tmp_path: Path) -> None:
    asked = plan(goals=["chosen points"], compromised=[0.1, 0.2])
    points = [
        point("clip", 1, 2),
        point("SparseFed", 1, 2),
        point("SparseFed", 3, 4)._replace(compromised=0.2),
    ]
    page = markdown(asked, points, "sparsefed frontier x")
    assert page.count("No setting was tried to its end of: clip.") == 1
    assert (
        "20 % of the clients compromised\n\nNo setting was tried to its end of: clip, SparseFed."
        in markdown(asked, points[:2], "sparsefed frontier x")
    )
    plot_frontier(asked, points, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_text().count("not reported: clip") >= 1


def test_a_leaderboard_of_usual_defenses_needs_settings_and_takes_a_point_for_every_goal() -> None:
    usual = Leaderboard(
        **{key: value for key, value in CONTENT.items() if key not in {"defenses", "attacks"}}
    )
    kept = usual.settled([])
    assert "SparseFed" not in kept.defenses
    assert "clip" in kept.defenses
    assert "SparseFed" in kept.note
    known = [
        {"defense": "SparseFed", "settings": {"defense.k": 300}, "goal": "chosen points", "compromised": 0.2}
        | {"test_accuracy": 90.0, "worst_attack_accuracy": 1.0}
    ]
    assert "SparseFed" in usual.settled(known).defenses
    for goal in ("chosen points", "untargeted"):
        assert tuned(known, "SparseFed", goal, 0.2) == {"defense.k": 300}
    bulyan = usual.but(defenses={"Bulyan": usual.defenses["Bulyan"]})
    with pytest.raises(
        sf.SpecError, match=r"expected `\[defenses\]`, or `--points` of a frontier.*Bulyan has no"
    ):
        bulyan.settled([])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"seeds": [0, 0]}, r"expected each seed once, found \[0, 0\]"),
        ({"vary": {"clip.nrm": [1, 2]}}, "clip.nrm"),
        ({"defenses": {"clip": CLIP | {"fixed": ["clip.nrm"]}}}, r"a list of knobs.*found \['clip.nrm'\]"),
        ({"defenses": {"clip": CLIP | {"fixed": "clip.norm"}}}, "expected a list of knobs"),
    ],
)  # fmt: skip
def test_names_that_nothing_has_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(sf.SpecError, match=complaint):
        plan(**changes).check()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"attacks": {"vandalism": {"x": {"method": {"type": "SignFlip"}}}}},
            "expected chosen points, backdoor, untargeted, found vandalism",
        ),
        ({"only": ["Fang"]}, "expected `only` or"),
    ],
)
def test_attacks_that_would_be_ignored_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(sf.SpecError, match=complaint):
        Leaderboard(**CONTENT | changes).check()


def test_a_certificate_for_next_to_nothing_is_not_announced() -> None:
    def said(accuracy: dict[int, float]) -> str:
        found = SimpleNamespace(certified=SimpleNamespace(accuracy=accuracy, reason=""))
        return _certified(found, "x.toml")  # type: ignore[arg-type]

    assert "whatever 20 compromised clients may do, 40 %" in said({1: 90.0, 20: 40.0, 50: 0.3})
    assert "Nothing is certified: fewer than 1 %" in said({1: 0.3})


def test_why_no_setting_could_be_run_is_said(tmp_path: Path) -> None:
    bulyan = CLIP | {"defense": {"type": "Bulyan", "f": 3}}
    few = plan(base=BASE | {"cohort": 4}, defenses={"Bulyan": bulyan}, vary={"defense.f": [3, 4]})
    with pytest.raises(
        sf.SpecError, match=r"a setting that can be run, found none; Bulyan: .*expected at least 19 updates"
    ):
        finished(frontier(few, tmp_path, Budget.of("20 runs")))


def test_a_point_of_several_seeds_shows_their_mean_and_spread() -> None:
    ends = [Measured(90.0, 88.0, "PGD", 4.0, (0,)), Measured(94.0, 90.0, "slow drip", 10.0, (1,))]
    mean = averaged(ends)
    assert mean is not None
    assert mean.values == (89.0, 7.0)
    assert mean.deviations == pytest.approx((2 * 2**0.5, 2**0.5, 3 * 2**0.5))
    seen = point("clip", 7, 7)._replace(reported=mean, doubled=averaged(ends[:1]))
    page = markdown(plan(goals=["chosen points"], compromised=[0.1]), [seen], "sparsefed frontier x")
    assert "| 92.0 ± 2.8 | 89.0 ± 1.4 | slow drip | 7.0 ± 4.2 | 88.0 / 4.0 |" in page
    (row,) = rows([seen])
    assert row["seeds"] == [0, 1]
    assert row["deviations"]["test_accuracy"] == pytest.approx(2**0.5)
    assert row["doubled"]["deviations"] == dict.fromkeys(row["deviations"])
