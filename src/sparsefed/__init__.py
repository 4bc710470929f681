"""Federated learning under attack: SparseFed, attacks, competing defenses, and certificates.

The public names stand in `__init__.pyi`, for type checkers and for this file alike. Each is imported when it
is first used: `sparsefed --help` must not wait for PyTorch.
"""

import os

import lazy_loader

# Read when PyTorch is loaded. Threads that spin while they wait make a small model thirty times slower where
# another process has their core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
