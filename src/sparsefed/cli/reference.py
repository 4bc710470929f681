"""Every key of every file as one Markdown page, from the docstrings; `make reference` writes it."""

import sparsefed.certify
import sparsefed.frontier  # noqa: F401 - with both, every family is there
from sparsefed.core.keys import OPTIONAL, keys, summary
from sparsefed.core.members import Part
from sparsefed.defenses import Defense
from sparsefed.report.catalog import choices
from sparsefed.report.markdown import grid

__all__ = ["reference"]

INTRODUCTION = """# Every key

What an experiment's file, a table's file and each of their parts can hold. A part is a table with a `type`:
one of the names below, or `module:name` of your own ([extending](extending.md)). `sparsefed list NAME` prints
the same in the terminal, `help(sparsefed.SparseFed)` in Python. This page is made by `make reference`."""


def reference() -> str:
    """The page: whole files first, then every family with its members."""
    known = choices()
    wholes = [_part(f"## {name.capitalize()}", known[name]) for name in ("experiment", "attack", "table")]
    families = {name: spec for name, spec in known.items() if spec.family}
    return (
        "\n\n".join([INTRODUCTION, *wholes, *(_family(name, families[name]) for name in sorted(families))])
        + "\n"
    )


def _family(name: str, family: type[Part]) -> str:
    members = [
        spec for other, spec in sorted(choices().items()) if issubclass(spec, family) and spec is not family
    ]
    parts = [f"## {name.capitalize()}", summary(family)]
    if family is Defense:
        parts.append(_costs([spec for spec in members if issubclass(spec, Defense)]))
    return "\n\n".join([*parts, *(_part(f"### {spec.__name__}", spec) for spec in members)])


COSTS = """What each rule needs and costs, for n clients and d parameters in a round. *Sees* is what must
reach the server: sums over clients, which secure aggregation can deliver, or every update by itself."""


def _costs(rules: list[type[Defense]]) -> str:
    """One line per rule, from what the rules declare."""
    heads = ["rule", "sees", "remembers each client", "examples of the server's own", "time", "memory"]
    lines = []
    for rule in rules:
        sums = rule.cost.sums
        sees = "every update" if sums is None else "1 sum" if sums == 1 else f"{sums} sums"
        own = "yes" if rule.server_examples is not Defense.server_examples else ""
        own = "the rule's" if "rule" in rule.model_fields else own
        history = "yes" if rule.needs_history else ""
        lines.append([f"`{rule.__name__}`", sees, history, own, rule.cost.time, rule.cost.memory])
    return f"{COSTS}\n\n{grid(heads, lines, texts=5)}"


def _part(heading: str, spec: type[Part]) -> str:
    rows = [
        [f"`{key}`", kind, default if default in (OPTIONAL, "required") else f"`{default}`", meaning]
        for key, kind, default, meaning in keys(spec)
    ]
    grid = [["key", "takes", "default", "meaning"], ["---"] * 4, *rows] if rows else []
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in grid]
    return "\n\n".join([heading, summary(spec), *(["\n".join(lines)] if lines else [])])


if __name__ == "__main__":
    print(reference(), end="")
