"""A certificate on the screen: facts, a short table, and its radius as a picture."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sparsefed.certify.case import Case, Radius
from sparsefed.certify.certificate import CERTIFIED, Certificate
from sparsefed.core.text import amount
from sparsefed.report.colors import GRAY, PALETTE, color_of
from sparsefed.report.figures import blank_figure, save
from sparsefed.report.terminal import facts as lines

__all__ = ["certificate_table", "facts", "plot_certificate"]


def facts(certificate: Certificate) -> dict[str, str]:
    """The numbers that went into a certificate, by name."""
    case, steps = certificate.case, certificate.case.steps
    threat, counts = case.threat, case.counts(case.lrs)
    longest, clip = max(step.longest for step in steps), case.clip_norms.max()
    shown = {
        "threat": f"{threat.compromised} of {amount(threat.population, 'client')}, at most {counts.max()} "
        f"in a cohort of {threat.cohort} ({type(case.counting).__name__})",
        "protocol": f"d = {case.params}, k = {case.k or 'd'}, momentum {case.momentum:g}, "
        f"{amount(len(steps), 'round')}, Λ = {case.lrs.sum():.4g}",
        "Lipschitz": f"c = {max(step.oracle.coordinate for step in steps):.3g}, all coordinates together "
        f"{max(step.oracle.total for step in steps):.3g}",
        "clip": f"L up to {clip:.3g}, longest honest update {longest:.3g}",
    }
    if case.k is not None:
        gamma = max(step.sparsity.gamma for step in steps)
        omega = max(step.sparsity.omega for step in steps)
        shown["sparsity"] = (
            f"measured ω ≤ {omega:.3g} and γ ≤ {gamma:.3g}; a priori ω ≤ {1 - case.k / case.params:.3g}"
        )
    if certificate.points is not None:
        shown["accuracy"] = f"{certificate.points.accuracy:.1f} % without attack"
    return shown


def certificate_table(certificate: Certificate) -> Group:
    """What `sparsefed certify` prints."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("bound", "R", "certified %", "verdict", "why"):
        table.add_column(heading, justify="right" if heading in {"R", "certified %"} else "left")
    for bound in certificate.bounds:
        certified = "–" if bound.certified is None else f"{bound.certified:.1f}"
        table.add_row(bound.name, power(bound.log_radius, bound.norm), certified, bound.verdict, bound.why)
    return Group(lines(facts(certificate).items()), table, Text(verdict(certificate)))


def verdict(certificate: Certificate) -> str:
    """What is certain, in one sentence."""
    threat = certificate.case.threat
    attackers = f"{threat.compromised:,} of {threat.population:,} clients"
    change, send = ("changes", "sends") if threat.compromised == 1 else ("change", "send")
    proven = [bound for bound in certificate.bounds if bound.verdict == CERTIFIED and bound.certified]
    if not proven:
        return f"Nothing is certified: no bound rules out that {attackers} {change} every prediction."
    best = max(proven, key=lambda bound: bound.certified or 0.0)
    share = f"{best.certified:.1f} % of the test points"
    return f"{share} are classified correctly whatever {attackers} {send} ({best.name})."


def power(log_radius: float | None, norm: str) -> str:
    """A radius by its natural logarithm, however large."""
    if log_radius is None:
        return "–"
    if log_radius == -math.inf:
        return f"0 {norm}"
    exponent, small = log_radius / math.log(10), abs(log_radius) < math.log(1e4)
    return f"{math.exp(log_radius):.3g} {norm}" if small else f"10^{exponent:.4g} {norm}"


HORIZONS, SPARSITIES = 24, 24
MEAN, PRIOR, ONCE = "mean", "SparseFed, γ a priori", "SparseFed, memory once"
SIZES, CONVEX, ANCHOR = "update sizes alone", "convex loss", "anchor, update sizes alone"
NORMS = {MEAN: "ℓ1", PRIOR: "ℓ1", ONCE: "ℓ1", SIZES: "ℓ1", CONVEX: "ℓ2", ANCHOR: "ℓ2"}
COLORS = {
    MEAN: color_of("Mean"),
    PRIOR: color_of("SparseFed"),
    ONCE: PALETTE[5],
    SIZES: GRAY,
    CONVEX: PALETTE[2],
    ANCHOR: PALETTE[3],
}


def plot_certificate(certificate: Certificate, path: Path) -> None:
    """Write a picture of every bound against k (all rounds) and against T (the experiment's k) to `path`.

    For a linear model each radius is divided by the largest that leaves a test point certified, so that
    bounds in both norms share an axis; for others it shows the radii themselves.
    """
    figure = blank_figure(10, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    case, scale = certificate.case, largest_useful(certificate)
    for panel, heading, xlabel, curves in (
        (left, f"after all {amount(len(case.steps), 'round')}", "k", against_k(case)),
        (right, f"k = {case.k}" if case.k else "plain averaging", "rounds T", against_rounds(case)),
    ):
        for name, (x, y) in curves.items():
            values = np.array(y) - (scale or {}).get(NORMS[name], 0.0)
            panel.plot(x, values, color=COLORS[name], label=f"{name} ({NORMS[name]})", lw=2)
        panel.set(title=heading, xlabel=xlabel, xscale="log")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.grid(alpha=0.3)
    if scale is not None:
        low = min(left.get_ylim()[0], -1.0)
        left.set_ylim(bottom=low)
        for panel in (left, right):
            panel.axhspan(low, 0, color=PALETTE[2], alpha=0.1, lw=0, label="certifies some points")
    largest = "log10 of R / largest R that certifies a point"
    left.set_ylabel("log10 of the radius R" if scale is None else largest)
    known = left.get_legend_handles_labels()
    figure.legend(*known, loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    save(figure, path)


def largest_useful(certificate: Certificate) -> dict[str, float] | None:
    """log10 of the radius at which the last test point is lost, by norm; None for models not linear."""
    points = certificate.points
    if points is None:
        return None
    ratios = {
        norm: float((points.gaps / reach).nan_to_num(0.0).max()) for norm, reach in points.reach.items()
    }
    return {norm: math.log10(ratio) for norm, ratio in ratios.items()} if min(ratios.values()) > 0 else None


Curves = dict[str, tuple[list[int], list[float]]]


def against_k(case: Case) -> Curves:
    """log10 R for k from 1 to d."""
    grid = np.unique(np.geomspace(1, case.params, SPARSITIES).round().astype(int)).tolist()
    return _curves(grid, [replace(case, k=k) for k in grid])


def against_rounds(case: Case) -> Curves:
    """log10 R if training stopped after T rounds of the same schedule."""
    grid = np.unique(np.geomspace(1, len(case.steps), HORIZONS).round().astype(int)).tolist()
    return _curves(grid, [case.upto(rounds) for rounds in grid])


def _curves(grid: list[int], cases: list[Case]) -> Curves:
    found = [_radii(case) for case in cases]
    names = dict.fromkeys(name for radii in found for name in radii)
    return {name: (grid, [radii.get(name, math.nan) for radii in found]) for name in names}


def _radii(case: Case) -> dict[str, float]:
    """log10 of every radius that applies."""
    radii: dict[str, Radius | str] = {MEAN: case.dense()}
    if case.k is not None:
        radii[PRIOR] = case.sparse()
        if case.counts_memory_once:
            radii[ONCE] = case.memory()
    radii[SIZES] = case.sizes_alone()
    if case.stiffness.any():
        radii[ANCHOR] = case.anchored()
    radii[CONVEX] = case.convex()
    return {name: _log10(radius.log) for name, radius in radii.items() if not isinstance(radius, str)}


def _log10(log: float) -> float:
    return log / math.log(10) if math.isfinite(log) else math.nan
