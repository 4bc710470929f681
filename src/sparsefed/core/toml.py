"""TOML files as dictionaries; what is no TOML is one line that says where."""

import re
import tomllib
from pathlib import Path
from typing import Any

from sparsefed.core.errors import SpecError, did_you_mean
from sparsefed.core.text import text_of

__all__ = ["read_toml", "to_toml", "toml_value"]


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a file that should hold `what`; raises `SpecError` naming the file and the line."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.toml")])
        raise SpecError(f"{path}: no such file; expected {what} in TOML{near}") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: expected {what} in TOML, found a folder") from None
    except OSError as problem:
        raise SpecError(f"{path}: cannot be read: {problem.strerror}") from None
    text = _text(path, raw)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SpecError(f"{path}: {_complaint(text, str(problem))}") from None
    except (ValueError, RecursionError):  # Python's own limits
        raise SpecError(f"{path}: expected TOML, found a number or a nesting beyond all measure") from None
    return _of_kind(path, content, what)


def to_toml(tree: dict[str, Any]) -> str:
    """Plain data as TOML, which has no None: keys without a value are left out."""
    import tomli_w

    return tomli_w.dumps(_without_nothing(tree))


def _without_nothing(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nothing(value) for key, value in tree.items() if value is not None}
    return [_without_nothing(value) for value in tree] if isinstance(tree, list) else tree


KINDS = {
    "rows": ("a table", "table"),
    "certificates": ("a file of certificates", "certify"),
    "defenses": ("a frontier", "frontier"),
    "defense": ("an experiment", "run"),
}
"""What a file is that has this key, and the command that takes it."""


def _of_kind(path: Path, content: dict[str, Any], what: str) -> dict[str, Any]:
    """The content, unless a key shows that the file is for another command."""
    kind, command = next((KINDS[key] for key in KINDS if key in content), (what, ""))
    if kind not in what:
        hint = f"`sparsefed {command} {path}` takes it"
        raise SpecError(f"{path}: expected {what}, found {kind}; {hint}")
    return content


def toml_value(text: str) -> Any:
    """The value of a TOML expression; a word stands for itself. Raises `SpecError` for half an expression."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        if text.strip().startswith(tuple("[{'\"")):
            raise SpecError(f"expected TOML, found `{text.strip()}`, which does not end") from None
        return text.strip()


def _text(path: Path, content: bytes) -> str:
    try:
        return text_of(content)
    except ValueError as problem:
        raise SpecError(f"{path}: {problem}") from None


def _complaint(text: str, problem: str) -> str:
    """Where the text ceases to be TOML, with the line itself."""
    why = re.sub(r" \(at .*\)$", "", problem)
    why = f"{why[:1].lower()}{why[1:]}"
    place = re.search(r"\(at line (\d+), column (\d+)\)$", problem)
    if place is None:
        return f"expected TOML, found the end of the file ({why})"
    number = int(place[1])
    line = " ".join(text.split("\n")[number - 1].split())
    return f"line {number}: expected TOML, found `{line[:80]}` ({why})"
