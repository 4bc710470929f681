"""What client and aggregators agree on beforehand, and the inequalities without which nothing is proven."""

import math
from dataclasses import dataclass
from functools import cached_property

from sparsefed.core.errors import SpecError
from sparsefed.secagg.field import Q

__all__ = ["Parameters"]

_MOST = 255  # counts that are hashed as one byte


@dataclass(frozen=True)
class Parameters:
    """Of PINE for two aggregators (Rothblum et al., 2023; draft-chen-cfrg-vdaf-pine-01, Field64).

    Raises `SpecError` where an inequality of the proofs does not hold. One of them, q ≥ 81 W², is stricter
    than the draft's W² ≤ 4000 q, which lets a norm that wraps around q pass all checks (`docs/secagg.md`).
    """

    dimension: int
    """d, how many integers a vector has."""
    bound: int
    """The largest ℓ2 norm that is accepted, an integer."""
    norm_proofs: int = 2
    """How often the norm is proven; each proof lets a wrong norm pass with probability 2⁻⁵⁷."""
    proofs: int = 2
    """How often the other checks are proven."""
    chunk: int = 64
    """Products per call of the second circuit; changes the sizes of messages only."""
    norm_chunk: int = 0
    """Squares per call of the first circuit; 0 for as many as make 63 calls."""
    checks: int = 100
    """Random inner products that are checked for wraparound."""
    successes: int = 100
    """How many of them must be in range; with all of 100, wraparound passes with probability 2⁻¹⁰⁰."""
    alpha: float = 8.7
    """How many bounds an inner product may be long."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("dimension", 1, 2**32), ("bound", 1, 2**32), ("norm_proofs", 1, _MOST), ("proofs", 1, _MOST),
            ("chunk", 1, 2**20), ("checks", 1, 2**16), ("successes", 1, self.checks),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SpecError(f"expected an integer from {low} to {high}, found {value!r}", [name])
        if not 0 < self.alpha < 2**32:
            raise SpecError(f"expected a number above 0, found {self.alpha!r}", ["alpha"])
        if not self.norm_chunk:
            object.__setattr__(self, "norm_chunk", -(-self.dimension // 63))
        if not 1 <= self.norm_chunk <= self.dimension:
            wanted = f"expected 1 to {self.dimension} squares per call"
            raise SpecError(f"{wanted}, found {self.norm_chunk}", ["norm_chunk"])
        square, limit = self.bound**2, self.limit
        for holds, meaning in (
            (3 * square + 2 < Q, "q > 3B² + 2, so that the norm's range is provable"),
            (2600 * limit <= Q, "q ≥ 2600 W, so that wraparound shows"),
            (81 * limit**2 <= Q, "q ≥ 81 W², so that wraparound shows"),
            (2 * self.checks <= Q, "q ≥ 2 checks"),
        ):
            if not holds:
                found = f"found B = {self.bound}, W = {limit}, q = {Q}"
                raise SpecError(f"expected a bound with {meaning}; {found}", ["bound"])

    @property
    def norm_bits(self) -> int:
        """Bits of the squared bound."""
        return (self.bound**2).bit_length()

    @cached_property
    def limit(self) -> int:
        """W: an inner product is in range from −W + 1 to W."""
        return 1 << math.ceil(self.alpha * self.bound).bit_length()

    @property
    def check_bits(self) -> int:
        """Bits of an inner product in range."""
        return (2 * self.limit - 1).bit_length()

    @property
    def start(self) -> int:
        """Elements of the vector and its norm, which precede the random signs."""
        return self.dimension + 2 * self.norm_bits

    @property
    def length(self) -> int:
        """Elements of all that a client shares."""
        return self.start + self.checks * (self.check_bits + 1)
