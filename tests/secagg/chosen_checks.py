"""A client that chooses the checks before its vector, which only the comparison of seeds stops."""

from math import isqrt

import numpy as np

from sparsefed.secagg import Report
from sparsefed.secagg.cheats import Unchecked
from sparsefed.secagg.common import joined_seeds
from sparsefed.secagg.field import Elements, Q


class ChosenChecks(Unchecked):
    """Chooses the checks first, by saying what it likes about the shares, then a vector that passes them.

    For one proof of the circuit of bits: with the random r known, two numbers that are no bits cancel in
    Σ rⁱ bᵢ (bᵢ − 1) while they stand for any norm, and a third one stands for the rest, which is negative.
    """

    said = bytes(range(32))

    def part(self, blind: bytes, usage: int, aggregator: int, nonce: bytes, share: Elements) -> bytes:
        return self.said

    def send_long(self, nonce: bytes, random: bytes, seed: int) -> Report:
        joint = self.joint(joined_seeds([], [self.said] * 2)[1])[-1]
        draw = np.random.default_rng(seed)
        while True:
            self.bits, norm = self._cancelling(
                int(joint[0]), -int(draw.integers(1, 40 * self.parameters.bound**2)) % Q
            )
            vector = _squares(norm)
            if norm > self.parameters.bound**2 and len(vector) <= self.parameters.dimension:
                return self.send(vector, nonce, random)

    def _cancelling(self, r: int, rest: int) -> tuple[Elements, int]:
        """Bits of a norm and its rest, two of the norm's and one of the rest's no bits, and the norm."""
        count = self.parameters.norm_bits
        norm = (self.parameters.bound**2 - rest) % Q
        owed = pow(r, count, Q) * rest * (rest - 1) % Q  # the rest as its own lowest "bit"
        # b₀ = norm − 2 b₁ with b₀ (b₀ − 1) + r b₁ (b₁ − 1) + owed = 0: a b₁² + b b₁ + c = 0
        a, b, c = 4 + r, (2 - 4 * norm - r) % Q, (norm * (norm - 1) + owed) % Q
        root = _square_root((b * b - 4 * a * c) % Q)
        if root is None:
            return self._cancelling(r, rest - 1)
        second = (root - b) * pow(2 * a, -1, Q) % Q
        bits = np.zeros(2 * count, np.uint64)
        bits[0], bits[1], bits[count] = (norm - 2 * second) % Q, second, rest
        return bits, norm

    def _norm_bits(self, square: int) -> Elements:
        return self.bits


def _squares(number: int) -> list[int]:
    roots = []
    while number:
        roots.append(isqrt(number))
        number -= roots[-1] ** 2
    return roots


def _square_root(number: int) -> int | None:
    """By Tonelli and Shanks; q − 1 = 2³² (2³² − 1)."""
    if pow(number, (Q - 1) // 2, Q) != 1:
        return None
    odd, m = 2**32 - 1, 32
    c, t, root = pow(7, odd, Q), pow(number, odd, Q), pow(number, (odd + 1) // 2, Q)
    while t != 1:
        i, power = 0, t
        while power != 1:
            power, i = power * power % Q, i + 1
        b = pow(c, 1 << (m - i - 1), Q)
        m, c, t, root = i, b * b % Q, t * b * b % Q, root * b % Q
    return root
