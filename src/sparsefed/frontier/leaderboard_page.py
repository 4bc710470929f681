"""A leaderboard as a page: the worst case of every defense, every attack's success, a heat map."""

from collections.abc import Sequence
from pathlib import Path

from sparsefed.frontier.leaderboard import Leaderboard, Standing
from sparsefed.frontier.page import accuracies, tried
from sparsefed.report.figures import blank_figure, panel_title, save
from sparsefed.report.markdown import code, grid, image, plain
from sparsefed.runs.record import Row

__all__ = ["heat_map", "leaderboard_page", "rows"]


def rows(standings: Sequence[Standing]) -> list[Row]:
    """The standings for machines."""
    return [
        {
            "defense": each.defense,
            "goal": each.goal,
            "compromised": each.share,
            **({} if each.found is None else each.found.to_dict()),
            "success": each.success,
            "failed": each.failed,
        }
        for each in standings
    ]


def leaderboard_page(
    board: Leaderboard, standings: Sequence[Standing], command: str, picture: str = ""
) -> str:
    """Per goal and share a ranking and every attack's success; then what publications report."""
    parts = [f"# {plain(board.title or 'Leaderboard')}"]
    if picture:
        parts.append(image("Success of every attack on every defense", picture))
    parts += [board.note.strip(), tried(board)]
    for (goal, share), group in _groups(standings).items():
        parts.append(f"## Goal: {plain(goal)}, {100 * share:g} % of the clients compromised")
        parts += [_ranking(group), _matrix(group), _failures(group)]
    parts += [_reported(board), FOOT + f"\n\nBy {code(command)}."]
    return "\n\n".join(part for part in parts if part) + "\n"


FOOT = """Percent, means over n seeds. *Unattacked* and *test* are test accuracies; *test* is the lowest
under any attack of the goal, without the points attacked. An attack's success is its attack accuracy, or for
an untargeted one the test accuracy that it destroyed. A defense is ranked by its worst attack; one that does
not learn when nobody attacks has lost. n is the number of seeds that have all runs."""


def _groups(standings: Sequence[Standing]) -> dict[tuple[str, float], list[Standing]]:
    groups: dict[tuple[str, float], list[Standing]] = {}
    for each in standings:
        groups.setdefault((each.goal, each.share), []).append(each)
    return groups


def _ranking(group: Sequence[Standing]) -> str:
    lines = []
    for each in group:
        found = each.found
        cells = ["–"] * 4 + ["0"]
        if found is not None:
            by = plain(found.worst_attack) if found.unattacked else "did not learn"
            cells = [*accuracies(found), by, str(len(found.seeds))]
        lines.append([plain(each.defense), *cells])
    return grid(["defense", "unattacked", "test", "worst success", "by", "n"], lines, texts=1)


def _matrix(group: Sequence[Standing]) -> str:
    attacks = list(group[0].success)
    heads = ["success of", *map(plain, attacks)]
    lines = [[plain(each.defense), *(_number(each.success[attack]) for attack in attacks)] for each in group]
    return grid(heads, lines, texts=1, last="---:")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _failures(group: Sequence[Standing]) -> str:
    told = [
        f"- {plain(each.defense)}, {plain(attack or 'unattacked')}: {plain(why)}"
        for each in group
        for attack, why in each.failed.items()
    ]
    return "\n".join(["Failed:", "", *told]) if told else ""


def _reported(board: Leaderboard) -> str:
    if not board.reported:
        return ""
    heads = ["defense", "attack", "setting", "reported", "where"]
    lines = [
        [plain(text) for text in (each.defense, each.attack, each.setting, each.says, each.source)]
        for each in board.reported
    ]
    return "## What publications report\n\n" + grid(heads, lines, texts=4)


def heat_map(standings: Sequence[Standing], path: Path) -> None:
    """A panel per goal and share: defenses down, attacks across, success by color and number."""
    groups = _groups(standings)
    deep = max(len(group) for group in groups.values())
    wide = [max(2, len(group[0].success)) for group in groups.values()]  # a title is as wide as two columns
    figure = blank_figure(2.2 * len(groups) + 0.55 * sum(wide), 2.2 + 0.34 * deep)
    panels = figure.subplots(1, len(groups), squeeze=False, width_ratios=wide)[0]
    for panel, ((goal, share), group) in zip(panels, groups.items(), strict=True):
        attacks = list(group[0].success)
        values = [[each.success[attack] for attack in attacks] for each in group]
        numbers = [[float("nan") if value is None else value for value in line] for line in values]
        panel.imshow(numbers, vmin=0, vmax=100, cmap="cividis_r", aspect="auto")
        for down, line in enumerate(values):
            for across, value in enumerate(line):
                dark = value is not None and value > 60
                panel.text(
                    across,
                    down,
                    "–" if value is None else f"{value:.0f}",
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize="small",
                )
        panel.set_xticks(range(len(attacks)), attacks, rotation=60, ha="right", parse_math=False)
        panel.set_yticks(range(len(group)), [each.defense for each in group], parse_math=False)
        panel_title(panel, f"{goal}, {100 * share:g} %")
    save(figure, path)
