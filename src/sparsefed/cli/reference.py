"""Every key of every file as one Markdown page, from the docstrings; `make reference` writes it."""

import sparsefed.certify
import sparsefed.frontier  # noqa: F401 - with both, every family is there
from sparsefed.core.keys import keys, summary
from sparsefed.core.members import Part
from sparsefed.report.catalog import choices

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
    return "\n\n".join([*parts, *(_part(f"### {spec.__name__}", spec) for spec in members)])


def _part(heading: str, spec: type[Part]) -> str:
    rows = [
        [f"`{key}`", kind, default if default in ("", "required") else f"`{default}`", meaning]
        for key, kind, default, meaning in keys(spec)
    ]
    grid = [["key", "takes", "default", "meaning"], ["---"] * 4, *rows] if rows else []
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in grid]
    return "\n\n".join([heading, summary(spec), *(["\n".join(lines)] if lines else [])])


if __name__ == "__main__":
    print(reference(), end="")
