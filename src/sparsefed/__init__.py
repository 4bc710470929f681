"""Federated learning among poisoners: SparseFed, its attacks, its rivals and its certificate.

The public names stand in `__init__.pyi`, for type checkers and for this file alike. Each is imported when it
is first used: `sparsefed --help` must not wait for PyTorch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
