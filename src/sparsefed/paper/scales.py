"""The scales at which the paper's tables can be made: what data, how many rounds, how large a model.

An item of the paper names a *setting*, such as "CIFAR10". The scale `paper` holds every setting as the paper
has it; each other scale says what it changes, once per setting.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sparsefed.core.errors import SpecError, did_you_mean
from sparsefed.core.merge import Tree, merged
from sparsefed.core.spec import Spec
from sparsefed.core.toml import read_toml

__all__ = ["FULL", "SCALES", "Scale", "Setting", "read_scale"]

SCALES = ("smoke", "small", "paper")
FULL = "paper"
"""The scale that holds every setting whole."""


class Setting(Spec):
    """What one setting of the paper is at one scale."""

    data: str = ""
    """The name of the data that are used."""
    like: str = ""
    """Another setting of the same scale, which these keys change."""
    changes: Tree = Field(default={})
    """Keys of the experiment, laid over those of the scale `paper`."""
    factors: dict[str, float] = Field(default={})
    """What numbers are multiplied with, by dotted key; whole ones stay whole and positive."""


class Scale(Spec):
    """What a scale's file holds."""

    about: str
    """What it is for, in a sentence."""
    evidence: bool = True
    """Whether its numbers say anything about the paper's."""
    seeds: list[Annotated[int, Field(ge=0)]]
    """Every cell is run once for each."""
    settings: dict[str, Setting]
    """What each setting of the paper is here."""

    def setting(self, name: str) -> Setting:
        """A setting, with what it shares with another; raises `SpecError` for one that there is not."""
        if name not in self.settings:
            hint = did_you_mean(name, self.settings) or ";"
            raise SpecError(f"unknown setting `{name}`{hint} expected one of {', '.join(self.settings)}")
        own = self.settings[name]
        if not own.like:
            return own
        other = self.setting(own.like)
        return Setting(
            data=own.data or other.data,
            changes=merged(other.changes, own.changes),
            factors=other.factors | own.factors,
        )


@cache
def read_scale(name: str) -> Scale:
    """The scale of that name; raises `SpecError` for one that there is not."""
    if name not in SCALES:
        hint = did_you_mean(name, SCALES) or ";"
        raise SpecError(f"unknown scale `{name}`{hint} expected one of {', '.join(SCALES)}")
    return Scale(**read_toml(Path(str(files("sparsefed.paper"))) / "scales" / f"{name}.toml", "a scale"))
