"""A frontier as a page: what each defense holds at a given price, its points, and a picture."""

from typing import Any

from sparsefed.core.text import amount
from sparsefed.core.toml import to_toml
from sparsefed.frontier.finalists import LOSSES
from sparsefed.frontier.plan import Plan
from sparsefed.frontier.points import FALLEN, Measured, Point, grouped, pareto
from sparsefed.frontier.tune import Tuned
from sparsefed.report.markdown import code, grid, image, plain, with_spread

__all__ = ["accuracies", "answer", "as_toml", "markdown", "rows", "tried"]


_VERDICTS = {
    "holds": "it holds",
    "delays": "it only delays the attack",
    "broken": "the attack has won at the first horizon already",
}


def rows(points: list[Point]) -> list[dict[str, Any]]:
    """The points for machines, each marked if it was reported and no other point of its question beats it."""
    best: dict[int, bool] = {}
    for group in grouped(points).values():
        there = [(point, point.reported.values) for point in group if point.reported is not None]
        keeps = pareto([values for _, values in there])
        best |= {id(point): keep for (point, _), keep in zip(there, keeps, strict=True)}
    return [point.to_dict(best.get(id(point), False)) for point in points]


def markdown(plan: Plan, points: list[Point], command: str, picture: str = "") -> str:
    """What every defense holds at each allowed loss, then every point, as Markdown."""
    parts = [f"## {plain(plan.title or 'Frontier')}\n"]
    if picture:
        parts.append(image("Worst attack accuracy against test accuracy", picture) + "\n")
    if plan.note:
        parts.append(plan.note.strip() + "\n")
    if plan.only:
        parts.append(tried(plan) + "\n")
    for (goal, share), group in _asked(plan, points).items():
        alone = [point.reported.unattacked for point in group if point.reported is not None]
        best = max(alone, default=0.0)
        parts.append(f"### Goal: {goal}, {100 * share:g} % of the clients compromised\n")
        if alone:
            parts.append(f"Best unattacked test accuracy: {best:.1f} %.\n")
        if group:
            parts.append(_held(group, best) + "\n")
            parts.append(_points(group) + "\n")
        if missing := _missing(plan, group):
            parts.append(f"No setting was tried to its end of: {plain(', '.join(missing))}.\n")
        if left := [point for point in group if point.reported is None]:
            names = ", ".join(dict.fromkeys(plain(point.defense) for point in left))
            missing = f"{amount(len(left), 'point')} could not be reported ({names})"
            parts.append(f"The budget ended first: {missing}. The same command with a larger one resumes.\n")
    parts.append(
        "Percent. *At a loss of …*: the least success of the worst attack among the points whose test\n"
        "accuracy under attack stays within so many points of the best unattacked run; after the arrow with\n"
        "twice the rounds, ? where the budget did not reach. *Best balance*: the point with the most test\n"
        "accuracy left when the worst attack's success is taken off. A point *holds*; it *delays* if it\n"
        "falls when the rounds are doubled; it is *broken* where the attack has more than\n"
        f"{FALLEN:g} % before that. Mean ± standard deviation over the seeds.\n"
        "*Searched* is what the search saw on its own seed, targeted points and validation split.\n\n"
        f"By {code(command)}.\n"
    )
    return "\n".join(parts)


def tried(plan: Plan) -> str:
    """Which attacks a plan leaves out, in a sentence; empty where all are tried."""
    return f"Only these attacks were tried: {plain(', '.join(plan.only))}." if plan.only else ""


def answer(tuned: Tuned) -> str:
    """The chosen defense and its evidence, in sentences."""
    point = tuned.point
    found = point.reported
    assert found is not None
    settings = ", ".join(f"{key} = {value}" for key, value in point.settings.items())
    share = f"{100 * point.compromised:g} % of the clients compromised"
    lines = [
        f"{point.defense} with {settings}",
        f"  unattacked: {found.unattacked:.1f} % test accuracy",
        f"  under attack, {share}: {found.test_accuracy:.1f} % test accuracy, "
        f"{round(tuned.loss, 1) + 0.0:.1f} points below the best unattacked run of any defense;",
        f"  {found.worst_attack_accuracy:.1f} % success of the worst attack ({found.worst_attack}); "
        f"seeds: {len(found.seeds)}",
    ]
    if point.doubled is not None:
        verdict = _VERDICTS[point.verdict]
        lines.append(
            f"  twice the rounds: {point.doubled.test_accuracy:.1f} % / "
            f"{point.doubled.worst_attack_accuracy:.1f} %: {verdict}"
        )
    tried = ", ".join(f"{100 * share:g} %: {m.worst_attack_accuracy:.0f}" for share, m in tuned.sweep.items())
    if (broken := tuned.breaks_at) is None:
        most = max(tuned.sweep, default=point.compromised)
        verdict = f"holds with up to {100 * most:g} % of the clients compromised"
    else:
        verdict = f"breaks at {100 * broken:g} % compromised"
    lines.append(f"  {verdict} (worst attack's success at {tried})")
    for other in tuned.others:
        assert other.reported is not None
        lines.append(f"  {other.defense} at the same price: {_arrow(other)} %")
    return "\n".join(lines)


def as_toml(tuned: Tuned, command: str) -> str:
    """The chosen experiment as a file to run, with the evidence and an attack to test it as comments."""
    head = "".join(f"# {line}\n" for line in [f"Chosen by `{command}`.", *answer(tuned).splitlines()])
    attack = to_toml({"attack": tuned.attack.to_dict()})
    test = "".join(f"# {line}".rstrip() + "\n" for line in attack.splitlines())
    whole = to_toml(tuned.experiment.to_dict())
    return f"{head}\n{whole}\n# The worst attack found. Without these signs, the file tests itself:\n{test}"


def _asked(plan: Plan, points: list[Point]) -> dict[tuple[str, float], list[Point]]:
    """The points of every goal and share that the plan asks for, also where there are none."""
    found = grouped(points)
    asked = [(goal, share) for share in plan.shares() for goal in dict.fromkeys(plan.goals)]
    return {key: found.get(key, []) for key in [*asked, *(key for key in found if key not in asked)]}


def _missing(plan: Plan, points: list[Point]) -> list[str]:
    """The plan's defenses that have no point."""
    return [name for name in plan.defenses if name not in {point.defense for point in points}]


def _held(points: list[Point], best: float) -> str:
    losses = sorted(LOSSES)
    heads = ["defense", *(f"at a loss of {loss:g}" for loss in losses), "best balance: test / attack"]
    lines = []
    for defense in dict.fromkeys(point.defense for point in points):
        cells = [plain(defense)]
        own = [(p, p.reported) for p in points if p.defense == defense and p.reported is not None]
        for loss in losses:
            within = [each for each in own if each[1].test_accuracy >= best - loss]
            least = min(within, key=lambda each: each[1].worst_attack_accuracy, default=None)
            cells.append("–" if least is None else _arrow(least[0]))
        balanced = max(own, key=lambda each: each[1].balance, default=None)
        shown = "–" if balanced is None else f"{balanced[1].test_accuracy:.1f} / {_arrow(balanced[0])}"
        lines.append([*cells, shown])
    return grid(heads, lines, texts=1, last="---:")


def _arrow(point: Point) -> str:
    assert point.reported is not None
    after = "?" if point.doubled is None else f"{point.doubled.worst_attack_accuracy:.1f}"
    return f"{point.reported.worst_attack_accuracy:.1f} → {after}"


def _points(points: list[Point]) -> str:
    heads = [
        "defense",
        "settings",
        "unattacked",
        "test accuracy",
        "worst attack",
        "its success",
        "twice the rounds: test / attack",
        "searched: test / attack",
        "seeds",
        "",
    ]
    lines = []
    for point in points:
        shown = point.reported
        settings = ", ".join(f"{key} {value}" for key, value in point.settings.items())
        marks = [point.verdict, "" if point.doubled else "not run at twice the rounds"]
        lines.append(
            [
                plain(point.defense),
                plain(settings),
                *_numbers(shown),
                _pair(point.doubled),
                _pair(point.searched),
                str(0 if shown is None else len(shown.seeds)),
                ", ".join(filter(None, marks)),
            ]
        )
    return grid(heads, lines, texts=2)


def _numbers(found: Measured | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    alone, test, hit = accuracies(found)
    return [alone, test, found.worst_attack, hit]


def _pair(found: Measured | None) -> str:
    return "–" if found is None else " / ".join(accuracies(found)[1:])


def accuracies(found: Measured) -> list[str]:
    """Unattacked accuracy, test accuracy and the worst attack's success, with ± where there are seeds."""
    means = (found.unattacked, *found.values)
    return [with_spread(mean, sd) for mean, sd in zip(means, found.deviations, strict=True)]
