"""Federated learning under attack: SparseFed, attacks, competing defenses, and certificates.

The public names stand in `__init__.pyi`, for type checkers and for this file alike. Each is imported when it
is first used: `sparsefed --help` must not wait for PyTorch.
"""

import os
import sys

import lazy_loader

# Read when PyTorch is loaded. Threads that spin while they wait make a small model thirty times slower where
# another process has their core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except AttributeError as problem:
        problem.name, problem.obj = name, sys.modules[__name__]  # Python then suggests the nearest name
        raise
