"""A model of the user's own, from a plain function: `type = "my_module:build"`."""

import inspect
import os
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue, model_validator
from torch import nn

from sparsefed.core.code import code_files
from sparsefed.core.errors import SpecError, located
from sparsefed.core.members import load
from sparsefed.core.text import named_type
from sparsefed.models.base import Model

__all__ = ["Custom"]


class Custom(Model):
    """Calls `function(input_shape, classes, **options)`, which returns the module.

    `{"type": "my_module:build", "depth": 3}` is short for
    `Custom(function="my_module:build", options={"depth": 3})`. The function takes its randomness
    from the global generators, so that the experiment's seed decides the initial weights.
    """

    function: str
    """Where the function is: `module:name`, importable."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Its keyword arguments. The run depends on every file that one of them names, such as one of weights."""

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        function = load(self.function)
        if not callable(function):
            raise ValueError(f"expected a function, found `{self.function}`, which is none")
        try:
            inspect.signature(function).bind((), 0, **self.options)
        except TypeError as problem:
            raise ValueError(
                f"`{self.function}` cannot take (input_shape, classes, **options): {problem}"
            ) from None
        return self

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        try:
            module = load(self.function)(input_shape, classes, **self.options)
        except Exception as problem:  # a function of the user's own can raise anything
            raise SpecError(f"`{self.function}` fails: {located(problem)}") from problem
        if not isinstance(module, nn.Module):
            raise SpecError(f"`{self.function}`: expected a torch.nn.Module, found {named_type(module)}")
        return module

    def sources(self) -> dict[str, Path]:
        texts = [value for value in self.options.values() if isinstance(value, str)]
        return {
            **code_files(load(self.function)),
            **{text: Path(text) for text in texts if os.path.isfile(text)},  # noqa: PTH113 (never raises)
        }
