"""Modules that draw random numbers, found by what they do: did a global generator move?"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from torch import nn

from sparsefed.clients.loop import Loop
from sparsefed.core.seeds import still, watched
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.protocol.lazy import Source

__all__ = ["unless_it_draws", "who_draws"]

Answer = TypeVar("Answer")


def unless_it_draws(fast: Source, loop: Loop) -> Source:
    """`fast`, but the loop, which seeds every client, in a pass where the module draws after all.

    A module may draw for some inputs only, and none such may have been in the engine's trial. PyTorch's
    generators are watched; what NumPy and Python draw for some inputs only depends on the round alone.
    """
    return fast if isinstance(fast, Loop) else _Watched(fast, loop)


class _Watched:
    def __init__(self, fast: Source, loop: Loop) -> None:
        self.fast, self.loop = fast, loop
        self.count, self.size = fast.count, fast.size

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        return self._ask(lambda source: source.reduce(clip_norm))

    def rows(self) -> Matrix:
        return self._ask(lambda source: source.rows())

    def _ask(self, question: Callable[[Source], Answer]) -> Answer:
        with still() as moved:
            answer = question(self.fast)
            drew = moved()
        return question(self.loop) if drew else answer


def who_draws(module: nn.Module, compute: Callable[[], Any]) -> str:
    """The type of the part of `module` that first draws random numbers in `compute`; empty if none does."""
    inside, found = [type(module).__name__], list[str]()
    with watched() as moved, ExitStack() as hooks:

        def enter(part: nn.Module, *_: Any) -> None:
            if not found and moved():
                found.append(inside[-1])
            inside.append(type(part).__name__)

        def leave(*_: Any) -> None:
            name = inside.pop()
            if not found and moved():
                found.append(name)

        for part in module.modules():
            hooks.callback(part.register_forward_pre_hook(enter).remove)
            hooks.callback(part.register_forward_hook(leave).remove)
        compute()
        if not found and moved():
            found.append(inside[0])
    return "".join(found)
