"""Other people's aggregation rules to check ours against: byzfl 0.0.11 and Flower 1.41.0.

Only the modules with the rules are loaded. The packages' own `__init__` would import torchvision,
gRPC and a web server, none of which a rule needs.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["byzfl_attacks", "byzfl_mixing", "byzfl_rules", "flower_rules"]


def byzfl_rules() -> ModuleType:
    """byzfl's aggregators."""
    with _bare_packages("byzfl", "byzfl.aggregators", "byzfl.utils"):
        return importlib.import_module("byzfl.aggregators.aggregators")


def byzfl_mixing() -> ModuleType:
    """byzfl's changes of the updates before a rule."""
    with _bare_packages("byzfl", "byzfl.aggregators", "byzfl.utils"):
        return importlib.import_module("byzfl.aggregators.preaggregators")


def byzfl_attacks() -> ModuleType:
    """byzfl's attacks."""
    with _bare_packages("byzfl", "byzfl.aggregators", "byzfl.attacks", "byzfl.utils"):
        shared = vars(sys.modules["byzfl.aggregators"])  # re-exports the rules, defaults of some attacks
        for part in ("aggregators", "preaggregators"):
            shared.update(vars(importlib.import_module(f"byzfl.aggregators.{part}")))
        return importlib.import_module("byzfl.attacks.attacks")


def flower_rules() -> ModuleType:
    """Flower's functions behind its strategies."""
    with _bare_packages("flwr", "flwr.compat", "flwr.compat.common", "flwr.server", "flwr.server.strategy"):
        common = ModuleType("flwr.common")  # re-exports these two, and much more that the rules do not use
        for part in ("typing", "parameter"):
            vars(common).update(vars(importlib.import_module(f"flwr.compat.common.{part}")))
        sys.modules["flwr.common"] = common
        return importlib.import_module("flwr.server.strategy.aggregate")


@contextmanager
def _bare_packages(top: str, *inner: str) -> Iterator[None]:
    """Packages whose modules can be imported but whose `__init__` is not run; gone again afterwards."""
    found = importlib.util.find_spec(top)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"needs {top}: pip install --no-deps -r tests/requirements-reference.txt")
    before = set(sys.modules)
    root = Path(found.submodule_search_locations[0]).parent
    for name in (top, *inner):
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] == top:
                del sys.modules[name]
