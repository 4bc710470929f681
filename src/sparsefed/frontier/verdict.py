"""An audit in words that a manager can read, as text and as one page that opens from disk."""

import math

from sparsefed.core.text import amount, plural
from sparsefed.core.toml import to_toml
from sparsefed.frontier.findings import Audit, Server, Siege
from sparsefed.frontier.points import FALLEN
from sparsefed.report.pages import coded, page

__all__ = ["as_page", "as_text", "verdict"]

_WORDS = {
    "chosen points": "make the model misclassify chosen examples",
    "backdoor": "plant a backdoor trigger",
    "untargeted": "damage the model for everyone",
}


_WORTH_SAYING = 1.0
"""Certificates for less than this percentage of the test points are no comfort."""
_SUCCESS = (
    f"An attack succeeds where more than {FALLEN:g} % of the targeted examples get the attacker's label, or, "
    f"if it is untargeted, where it destroys more than {FALLEN:g} points of test accuracy."
)


def as_text(audit: Audit, file: str = "") -> str:
    """The verdict, then the numbers behind it; `file` holds the audited experiment, if there is one."""
    lines = [*verdict(audit, file), ""]
    for server in audit.servers:
        alone = f"{server.test_accuracy:.1f} % test accuracy without an attack"
        lines.append(f"{server.name}: {alone}, the best of {amount(server.tried, 'setting')} tried")
        if not server.usable:
            lines.append("  not usable, so not attacked")
        for siege in _of(audit, server.name):
            tried = ", ".join(f"{m}: {success:.0f} %" for m, success in siege.tried.items())
            lines.append(f"  {siege.attack} ({siege.goal}): {_needs(audit, siege)} (success with {tried})")
    return "\n".join([*lines, "", _SUCCESS])


def as_page(audit: Audit, subject: str, command: str, file: str = "") -> str:
    """The audit as a self-contained HTML page."""
    attacks = list(dict.fromkeys((siege.goal, siege.attack) for siege in audit.sieges))
    found = {(siege.server, siege.goal, siege.attack): siege for siege in audit.sieges}
    rows = [
        {
            "goal": goal,
            "attack": attack,
            "cells": [_cell(audit, found.get((server.name, goal, attack))) for server in audit.servers],
        }
        for goal, attack in attacks
    ]
    return page(
        "audit.html",
        title=f"Audit of {subject}",
        verdict=[coded(line) for line in verdict(audit, file)],
        audit=audit,
        rows=rows,
        command=command,
        success=_SUCCESS,
        taken_by="" if audit.taken is None else amount(audit.taken.compromised, "compromised client"),
        certified=coded(_certified(audit, file)),
        specs={server.name: to_toml(server.experiment.to_dict()) for server in audit.servers},
    )


def verdict(audit: Audit, file: str = "") -> list[str]:
    """A sentence for each goal and useless server, one for the classes, and one for what is certified."""
    bare, *defended = audit.servers
    usable = [server for server in defended if server.usable]
    lines = [_goal(audit, goal, usable) for goal in dict.fromkeys(siege.goal for siege in audit.sieges)]
    lines += [_useless(server, bare) for server in defended if not server.usable]
    if usable:
        cost = ", ".join(f"{bare.test_accuracy - s.test_accuracy:.1f} with {_called(s)}" for s in usable)
        lines.append(f"Points of test accuracy that a defense costs when nobody attacks: {cost}.")
    classes = {} if audit.taken is None else audit.taken.classes
    easiest = [f"{name} ({share:.0f} %)" for name, share in classes.items() if share > 0][:3]
    if audit.taken is not None and easiest:
        clients = amount(audit.taken.compromised, "compromised client")
        lines.append(f"With {clients} against a clip, the classes easiest to take are {', '.join(easiest)}.")
    lines.append(_certified(audit, file))
    return lines


def _goal(audit: Audit, goal: str, usable: list[Server]) -> str:
    """What it takes without a defense, and against the usable servers, the one that holds most first."""
    alone = audit.fewest(audit.servers[0].name, goal)
    start = f"To {_WORDS.get(goal, goal)}, an attacker"
    bare = f"{start} {_needs(audit, alone)} without a defense"
    if not usable:
        return f"{bare}."
    best, *rest = sorted(usable, key=lambda server: -(audit.fewest(server.name, goal).needed or math.inf))
    others = "".join(f"; against {_called(server)}: {_outcome(audit, server, goal)}" for server in rest)
    held, against = audit.fewest(best.name, goal), f"against {_called(best)}"
    if held.needed is None:
        return f"{bare}, and fails {against} with {max(held.tried):,}{others}."
    if alone.needed is None:
        return f"{bare}, but succeeds {against} with {_brief(audit, held)}{others}."
    if alone.needed == held.needed:
        return f"{bare}, and as many {against}{others}."
    more = "and" if held.needed > alone.needed else "but only"
    return f"{bare}, {more} {_brief(audit, held)} {against}{others}."


def _outcome(audit: Audit, server: Server, goal: str) -> str:
    siege = audit.fewest(server.name, goal)
    return f"fails with {max(siege.tried):,}" if siege.needed is None else _brief(audit, siege)


def _useless(server: Server, bare: Server) -> str:
    """Why there is nothing to say of a defense."""
    name = "the clip" if server.name == "clip" else server.name
    best = (
        f"the best of {amount(server.tried, 'setting')} tried has {server.test_accuracy:.1f} % test accuracy"
    )
    return (
        f"No usable setting found for {name} with this budget; allow more: {best} without an attack, "
        f"no defense {bare.test_accuracy:.1f} %."
    )


def _called(server: Server) -> str:
    return "a clip" if server.name == "clip" else server.name


def _certified(audit: Audit, file: str) -> str:
    held = {m: share for m, share in audit.certified.accuracy.items() if share >= _WORTH_SAYING}
    if held:
        m, share = max(held.items())
        clients, kept = amount(m, "compromised client"), f"{share:.0f} % of the test points"
        return f"Certified: whatever {clients} may do, {kept} stay correctly classified."
    few = (
        f"fewer than {_WORTH_SAYING:g} % of the test points are certified against a single compromised client"
    )
    reason = audit.certified.reason or few
    where = "" if file else " with the experiment in FILE, which `--out` writes"
    votes = f"`sparsefed certify {file or 'FILE'} --groups 10`{where}"
    return f"Nothing is certified: {reason}. Votes among models of groups certify any experiment: {votes}."


def _of(audit: Audit, server: str) -> list[Siege]:
    return [siege for siege in audit.sieges if siege.server == server]


def _needs(audit: Audit, siege: Siege) -> str:
    if siege.needed is None:
        return f"fails with {max(siege.tried):,} of {audit.clients:,} {plural(audit.clients, 'client')}"
    share = 100 * siege.needed / audit.clients
    return f"needs {siege.needed:,} of {audit.clients:,} {plural(audit.clients, 'client')} ({share:.2g} %)"


def _cell(audit: Audit, siege: Siege | None) -> dict[str, str]:
    """A cell of the page; None where the server is not usable."""
    if siege is None:
        return {"text": "not usable", "shade": "soft"}
    return {"text": _brief(audit, siege), "shade": _shade(audit, siege)}


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
