"""Certificates on the screen, for machines and as a picture."""

import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sparsefed.certify.votes.plan import Finding, Plan
from sparsefed.core.text import amount, plural
from sparsefed.report.colors import PALETTE
from sparsefed.report.figures import blank_figure, legend, save, title

__all__ = ["by_name", "curve", "per_point", "plain", "plot_findings", "shown"]


def by_name(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings of all seeds, by certificate."""
    ordered = sorted(findings, key=lambda finding: [other.name for other in findings].index(finding.name))
    return {name: list(same) for name, same in groupby(ordered, key=lambda finding: finding.name)}


def curve(seeds: Sequence[Finding], compromised: Sequence[int]) -> list[float]:
    """Certified accuracy in percent against each number of compromised clients, mean over the seeds."""
    return [
        statistics.fmean(seed.certified.percent(seed.labels, count) for seed in seeds)
        for count in compromised
    ]


def accuracy(seeds: Sequence[Finding]) -> float:
    """Percent correct without attack, mean over the seeds."""
    return statistics.fmean(seed.certified.accuracy(seed.labels) for seed in seeds)


def alone(seeds: Sequence[Finding]) -> float | None:
    """Percent that a single model of all clients classifies correctly; None where none was trained."""
    found = [
        100 * float((seed.certified.alone == seed.labels).mean())
        for seed in seeds
        if seed.certified.alone is not None
    ]
    return statistics.fmean(found) if found else None


def plain(plan: Plan, findings: Sequence[Finding]) -> dict[str, Any]:
    """What `--json` prints; percentages are means over the seeds."""
    named = by_name(findings)
    certified = {}
    for name, seeds in named.items():
        grid = _grid(plan, seeds)
        certified[name] = {str(count): value for count, value in zip(grid, curve(seeds, grid), strict=True)}
    return {
        "title": plan.title,
        "clients": findings[0].clients,
        "test_points": len(findings[0].labels),
        "seeds": plan.seeds,
        "test_accuracy": max(map(accuracy, named.values())),
        "certified": certified,
        "certificates": {
            name: {
                "test_accuracy": accuracy(seeds),
                "one_model_accuracy": alone(seeds),
                "models": seeds[0].certified.models,
                "rests_on": seeds[0].certified.rests_on,
                "survived_by_median_point": float(np.median(seeds[0].certified.survived)),
            }
            for name, seeds in named.items()
        },
    }


def per_point(findings: Sequence[Finding]) -> str:
    """CSV: what each test point is, what is predicted, and how many compromised clients that survives."""
    lines = ["certificate,seed,point,label,prediction,survived"]
    for finding in findings:
        name = '"' + finding.name.replace('"', '""') + '"'
        certified = finding.certified
        rows = zip(finding.labels, certified.predictions, certified.survived, strict=True)
        lines += [f"{name},{finding.seed},{point},{y},{z},{m}" for point, (y, z, m) in enumerate(rows)]
    return "\n".join(lines) + "\n"


def shown(plan: Plan, findings: Sequence[Finding]) -> Group:
    """What `sparsefed certify` prints."""
    named = by_name(findings)
    clients = findings[0].clients
    counts = _asked(plan, findings)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("certificate", "models", "test %", *(f"m = {count}" for count in counts)):
        table.add_column(heading, justify="left" if heading == "certificate" else "right")
    for name, seeds in named.items():
        cells = [f"{value:.1f}" for value in (accuracy(seeds), *curve(seeds, counts))]
        table.add_row(name, f"{seeds[0].certified.models:,}", *cells)
    return Group(table, Text("\n".join(_sentences(named, clients))))


def _sentences(named: dict[str, list[Finding]], clients: int) -> list[str]:
    best = max(named, key=lambda name: float(np.mean(_right(named[name][0]))))
    first = named[best][0]
    half = withstood_by_half(_right(first))
    points = f"percent of {len(first.labels):,} test points"
    lines = [f"Certified: {points} that are right whatever any m of {clients:,} clients send."]
    if half > 0:
        attackers = amount(half, "compromised client")
        lines.append(f"At least half of the test points survive {attackers} ({best}).")
    else:
        lines.append("No certificate protects half of the test points from a single compromised client.")
    for name, seeds in named.items():
        one = alone(seeds)
        lines.append(
            f"{name}: {_models(seeds[0])}{_price(one, accuracy(seeds))}; {seeds[0].certified.rests_on}."
        )
    return lines


def withstood_by_half(survived: np.ndarray) -> int:
    """The largest number of compromised clients that at least half of the points survive."""
    return int(np.sort(survived)[len(survived) // 2])


def _models(finding: Finding) -> str:
    count = finding.certified.models
    return f"{count:,} {plural(count, 'model')}"


def _price(one: float | None, vote: float) -> str:
    """What voting costs in accuracy."""
    if one is None:
        return ""
    change = f"costs {one - vote:.1f} points" if one >= vote else f"gains {vote - one:.1f} points"
    return f"; a single model of all clients has {one:.1f} %, so voting {change}"


def _right(finding: Finding) -> np.ndarray:
    """What each point survives; −1 where it is misclassified."""
    right = finding.certified.predictions == finding.labels
    return np.where(right, finding.certified.survived, -1)


def _asked(plan: Plan, findings: Sequence[Finding]) -> list[int]:
    """The plan's shares as numbers of clients, at least 1 each; round numbers where it has none."""
    if plan.compromised:
        return sorted({max(1, round(share * findings[0].clients)) for share in plan.compromised})
    last = max(int(_right(finding).max()) for finding in findings)
    round_numbers = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    return [count for count in round_numbers if count <= max(last, 1)][-6:]


def _grid(plan: Plan, seeds: Sequence[Finding]) -> list[int]:
    """Numbers of compromised clients worth telling: those asked for, and up to 40 steps of the curve."""
    last = max(int(_right(seed).max()) for seed in seeds) + 1
    steps = np.unique(np.linspace(0, max(last, 1), 41).round().astype(int)).tolist()
    return sorted({*steps, *_asked(plan, seeds)})


def plot_findings(plan: Plan, findings: Sequence[Finding], path: Path) -> None:
    """Draw certified accuracy against the number of compromised clients to `path`."""
    figure = blank_figure(7.5, 4.6)
    panel = figure.subplots()
    named = by_name(findings)
    for place, seeds in enumerate(named.values()):
        last = max(int(_right(seed).max()) for seed in seeds) + 1
        grid = np.unique(np.linspace(0, last, 400).round().astype(int)).tolist()
        dashes = ("-", "--", ":", "-.")[place // len(PALETTE) % 4]
        panel.step(
            grid, curve(seeds, grid), where="post", color=PALETTE[place % len(PALETTE)], ls=dashes, lw=1.8
        )
    panel.set(xlabel="compromised clients", ylabel="certified accuracy, %", ylim=(0, 101))
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3)
    legend(figure, panel.get_lines(), list(named))
    title(figure, plan.title or f"{findings[0].clients:,} clients")
    save(figure, path)
