"""What a person should know although nothing is wrong enough to stop: one line on the error output."""

import sys
import warnings
from typing import Any

__all__ = ["Notice", "notify", "show_in_one_line"]


class Notice(UserWarning):
    """A warning that has no place in anyone's code which would help to read it."""


_told: dict[Any, Any] = {}


def notify(kind: type[Notice], text: str) -> None:
    """Warn with `text`, once in a process."""
    warnings.warn_explicit(text, kind, "sparsefed", 0, registry=_told)


def show_in_one_line() -> None:
    """From here on notices are printed as their text alone, as a command does it."""
    warnings.showwarning = _shown


_usual = warnings.showwarning


def _shown(message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
    if issubclass(category, Notice):
        print(f"sparsefed: {message}", file=sys.stderr)
    else:
        _usual(message, category, *rest, **named)
