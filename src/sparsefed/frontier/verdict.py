"""An audit in words that a manager can read, as text and as one page that opens from disk."""

import math

from sparsefed.core.text import plural
from sparsefed.frontier.findings import Audit, Siege
from sparsefed.report.pages import page

__all__ = ["as_page", "as_text"]

_WORDS = {
    "chosen points": "make the model misclassify chosen examples",
    "backdoor": "plant a backdoor trigger",
    "untargeted": "damage the model for everyone",
}


def as_text(audit: Audit) -> str:
    """The verdict, then the numbers behind it."""
    lines = [*verdict(audit), ""]
    for server in audit.servers:
        lines.append(f"{server.name}: {server.test_accuracy:.1f} % test accuracy without an attack")
        for siege in _of(audit, server.name):
            tried = ", ".join(f"{m}: {success:.0f} %" for m, success in siege.tried.items())
            lines.append(f"  {siege.attack} ({siege.goal}): {_needs(audit, siege)} (success with {tried})")
    return "\n".join(lines)


def as_page(audit: Audit, subject: str, command: str) -> str:
    """The audit as a self-contained HTML page."""
    attacks = list(dict.fromkeys((siege.goal, siege.attack) for siege in audit.sieges))
    found = {(siege.server, siege.attack): siege for siege in audit.sieges}
    sieges = {attack: [found[server.name, attack] for server in audit.servers] for _, attack in attacks}
    rows = [
        {
            "goal": goal,
            "attack": attack,
            "cells": [{"text": _brief(audit, s), "shade": _shade(audit, s)} for s in sieges[attack]],
        }
        for goal, attack in attacks
    ]
    return page(
        "audit.html",
        title=f"Audit of {subject}",
        verdict=verdict(audit),
        audit=audit,
        rows=rows,
        command=command,
        specs={server.name: server.experiment.to_dict() for server in audit.servers},
    )


def verdict(audit: Audit) -> list[str]:
    """A sentence for each goal, one for the classes, and one for what is certified."""
    lines = []
    bare, *defended = audit.servers
    for goal in dict.fromkeys(siege.goal for siege in audit.sieges):
        best = max(defended, key=lambda server: audit.fewest(server.name, goal).needed or math.inf)
        alone, held = (_needs(audit, audit.fewest(server.name, goal)) for server in (bare, best))
        wish = _WORDS.get(goal, goal)
        lines.append(f"To {wish}, an attacker {alone} without a defense, and {held} against {best.name}.")
    cost = ", ".join(f"{bare.test_accuracy - s.test_accuracy:.1f} with {s.name}" for s in defended)
    lines.append(f"Points of test accuracy that a defense costs when nobody attacks: {cost}.")
    classes = {} if audit.taken is None else audit.taken.classes
    easiest = [f"{name} ({share:.0f} %)" for name, share in classes.items() if share > 0][:3]
    if audit.taken is not None and easiest:
        clients = plural(audit.taken.compromised, "client")
        lines.append(
            f"With {audit.taken.compromised} compromised {clients} against the clip, "
            f"the classes easiest to take are {', '.join(easiest)}."
        )
    lines.append(_certified(audit))
    return lines


def _certified(audit: Audit) -> str:
    held = {m: share for m, share in audit.certified.accuracy.items() if share > 0}
    if held:
        m, share = max(held.items())
        return f"Certified: whatever {m} compromised clients do, {share:.0f} % of the test points stay right."
    reason = audit.certified.reason or "no test point is certified against a single compromised client"
    return f"Nothing is certified: {reason}."


def _of(audit: Audit, server: str) -> list[Siege]:
    return [siege for siege in audit.sieges if siege.server == server]


def _needs(audit: Audit, siege: Siege) -> str:
    if siege.needed is None:
        return f"fails with {max(siege.tried):,} of {audit.clients:,} {plural(audit.clients, 'client')}"
    share = 100 * siege.needed / audit.clients
    return f"needs {siege.needed:,} of {audit.clients:,} {plural(audit.clients, 'client')} ({share:.2g} %)"


def _brief(audit: Audit, siege: Siege) -> str:
    if siege.needed is None:
        return f"not with {max(siege.tried):,}"
    return f"{siege.needed:,}\u00a0({100 * siege.needed / audit.clients:.2g}\u00a0%)"


def _shade(audit: Audit, siege: Siege) -> str:
    """How alarming a cell is: succeeding with 1 %, with 10 %, with more, or not at all."""
    if siege.needed is None:
        return "held"
    share = siege.needed / audit.clients
    return "bad" if share <= 0.01 else "poor" if share <= 0.1 else "fair"
