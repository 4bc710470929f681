"""A certificate on the screen: a few facts and a short table."""

import math

from rich.console import Group
from rich.table import Table

from sparsefed.certify.certificate import Certificate

__all__ = ["certificate_table", "facts"]


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
