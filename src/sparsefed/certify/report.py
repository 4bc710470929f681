"""A certificate on the screen: facts, a short table, and its radius as a picture."""

import math
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.table import Table

from sparsefed.certify.case import Case
from sparsefed.certify.certificate import Certificate
from sparsefed.core.files import readable_errors
from sparsefed.report.plots import blank_figure

__all__ = ["certificate_table", "facts", "plot_certificate"]


def facts(certificate: Certificate) -> dict[str, str]:
    """The numbers that went into a certificate, by name."""
    case, steps = certificate.case, certificate.case.steps
    threat, counts = case.threat, case.counts(case.lrs)
    longest, clip = max(step.longest for step in steps), case.clip_norms.max()
    shown = {
        "threat": f"{threat.compromised} of {threat.population} clients, at most {counts.max()} "
        f"in a cohort of {threat.cohort} ({type(case.counting).__name__})",
        "protocol": f"d = {case.params}, k = {case.k or 'd'}, momentum {case.momentum:g}, "
        f"{len(steps)} rounds, Λ = {case.lrs.sum():.4g}",
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
    head = Table(show_header=False, box=None, pad_edge=False)
    head.add_column(style="bold")
    for name, text in facts(certificate).items():
        head.add_row(name, text)
    table = Table()
    for heading in ("bound", "R", "certified %", "verdict", "why"):
        table.add_column(heading, justify="right" if heading in {"R", "certified %"} else "left")
    for bound in certificate.bounds:
        certified = "–" if bound.certified is None else f"{bound.certified:.1f}"
        table.add_row(bound.name, power(bound.log_radius, bound.norm), certified, bound.verdict, bound.why)
    return Group(head, table)


def power(log_radius: float | None, norm: str) -> str:
    """A radius by its natural logarithm, however large."""
    if log_radius is None:
        return "–"
    if log_radius == -math.inf:
        return f"0 {norm}"
    exponent, small = log_radius / math.log(10), abs(log_radius) < math.log(1e4)
    return f"{math.exp(log_radius):.3g} {norm}" if small else f"10^{exponent:.4g} {norm}"


HORIZONS, SPARSITIES = 24, 24
MEAN, PRIOR, ONCE, SIZES = "mean", "SparseFed, γ a priori", "SparseFed, memory once", "update sizes alone"
COLORS = {MEAN: "C0", PRIOR: "C1", ONCE: "C2", SIZES: "C7"}


def plot_certificate(certificate: Certificate, path: Path) -> None:
    """Write a picture of R against k (all rounds) and against T (the experiment's k) to `path`."""
    figure = blank_figure(10, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    case, useful = certificate.case, largest_useful(certificate)
    for panel, heading, xlabel, curves in (
        (left, f"after all {len(case.steps)} rounds", "k", against_k(case)),
        (right, f"k = {case.k}" if case.k else "plain averaging", "rounds T", against_rounds(case)),
    ):
        for name, (x, y) in curves.items():
            panel.plot(x, y, COLORS[name], label=name, lw=2)
        if useful is not None:
            panel.axhline(useful, color="black", ls=":", lw=1, label="above: no point certified")
        panel.set(title=heading, xlabel=xlabel, xscale="log")
        panel.grid(alpha=0.3)
    left.set_ylabel("log10 of the ℓ1 radius R")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    with readable_errors(path):
        figure.savefig(path, dpi=130)


def largest_useful(certificate: Certificate) -> float | None:
    """log10 of the ℓ1 radius at which the last test point is lost; None for models that are not linear."""
    if certificate.points is None:
        return None
    ratio = float((certificate.points.gaps / certificate.points.reach["ℓ1"]).nan_to_num(0.0).max())
    return math.log10(ratio) if ratio > 0 else None


Curves = dict[str, tuple[list[int], list[float]]]


def against_k(case: Case) -> Curves:
    """log10 R for k from 1 to d."""
    grid = np.unique(np.geomspace(1, case.params, SPARSITIES).round().astype(int)).tolist()
    curves = {
        MEAN: (grid, [_log10(case.dense().log)] * len(grid)),
        PRIOR: (grid, [_log10(case.sparse(k).log) for k in grid]),
    }
    if case.counts_memory_once:
        curves[ONCE] = (grid, [_log10(case.memory(k).log) for k in grid])
    curves[SIZES] = (grid, [_log10(case.sizes_alone().log)] * len(grid))
    return curves


def against_rounds(case: Case) -> Curves:
    """log10 R if training stopped after T rounds of the same schedule."""
    grid = np.unique(np.geomspace(1, len(case.steps), HORIZONS).round().astype(int)).tolist()
    shorter = [case.upto(rounds) for rounds in grid]
    curves = {MEAN: (grid, [_log10(short.dense().log) for short in shorter])}
    if case.k is not None:
        curves[PRIOR] = (grid, [_log10(short.sparse().log) for short in shorter])
        if case.counts_memory_once:
            curves[ONCE] = (grid, [_log10(short.memory().log) for short in shorter])
    curves[SIZES] = (grid, [_log10(short.sizes_alone().log) for short in shorter])
    return curves


def _log10(log: float) -> float:
    return log / math.log(10) if math.isfinite(log) else math.nan
