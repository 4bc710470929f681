"""The radius against k and against the number of rounds, as a picture."""

import math
from pathlib import Path

import numpy as np

from sparsefed.certify.case import Case
from sparsefed.certify.certificate import Certificate
from sparsefed.files import readable_errors

__all__ = ["plot_certificate"]

HORIZONS, SPARSITIES = 24, 24
MEAN, PRIOR, ONCE, SIZES = "mean", "SparseFed, γ a priori", "SparseFed, memory once", "update sizes alone"
COLORS = {MEAN: "C0", PRIOR: "C1", ONCE: "C2", SIZES: "C7"}


def plot_certificate(certificate: Certificate, path: Path) -> None:
    """Write a picture of R against k (all rounds) and against T (the experiment's k) to `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
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
    if case.momentum == 0:
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
        if case.momentum == 0:
            curves[ONCE] = (grid, [_log10(short.memory().log) for short in shorter])
    curves[SIZES] = (grid, [_log10(short.sizes_alone().log) for short in shorter])
    return curves


def _log10(log: float) -> float:
    return log / math.log(10) if math.isfinite(log) else math.nan
