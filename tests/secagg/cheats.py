"""Clients that follow the protocol but for one lie, which every proof is then honestly made for."""

from math import isqrt

import numpy as np

from sparsefed.secagg import Pine, Report
from sparsefed.secagg.common import joined_seeds
from sparsefed.secagg.field import Elements, Q, bits_of, elements

WRAPPING = [2148614324, 2334269861, 2428768148, 1575585623]
"""Their squares add up to q + 9."""


class Unchecked(Pine):
    """Sends any vector: what the norm is, the client says."""

    square = 0

    def send(self, vector: list[int], nonce: bytes, random: bytes) -> Report:
        numbers = np.zeros(self.parameters.dimension, np.int64)
        numbers[: len(vector)] = vector
        self.square = sum(x * x for x in vector)
        return self._shard(elements(numbers), self.square % Q, nonce, random)

    def _norm_bits(self, square: int) -> Elements:
        short = min(square, self.parameters.bound**2)
        return super()._norm_bits(short)


class HonestFlags(Unchecked):
    """Admits that inner products are out of range."""

    def _claims(self, products: Elements) -> Elements:
        claims = []
        for product in map(int, products):
            shifted = (product + self.parameters.limit - 1) % Q
            claims += [bits_of(shifted, self.parameters.check_bits)]
            claims += [np.array([shifted < 2 * self.parameters.limit], np.uint64)]
        return np.concatenate(claims)


class LyingFlags(Unchecked):
    """Claims of inner products that are out of range to be what they are modulo a power of two."""

    def _claims(self, products: Elements) -> Elements:
        bits = self.parameters.check_bits
        shifted = [(int(product) + self.parameters.limit - 1) % Q for product in products]
        flag = np.ones(1, np.uint64)
        return np.concatenate([part for number in shifted for part in (bits_of(number, bits), flag)])


class BigBits(Unchecked):
    """Writes a norm beyond the bound, and the negative rest, into the lowest "bit" of each."""

    def _norm_bits(self, square: int) -> Elements:
        bits = np.zeros((2, self.parameters.norm_bits), np.uint64)
        bits[:, 0] = self.square % Q, (self.parameters.bound**2 - self.square) % Q
        return bits.ravel()


class WrongRest(Unchecked):
    """Bits of the true norm, which is beyond the bound, and of a rest that does not fit it."""

    def _norm_bits(self, square: int) -> Elements:
        bits = self.parameters.norm_bits
        return np.concatenate([bits_of(self.square, bits), bits_of(0, bits)])


class ChosenChecks(Unchecked):
    """Chooses the checks first, by saying what it likes about the shares, then a vector that passes them.

    For one proof of the circuit of bits: with the random r known, two numbers that are no bits cancel in
    Σ rⁱ bᵢ (bᵢ − 1) while they stand for any norm; squares modulo q make a vector of that norm.
    """

    said = bytes(range(32))

    def part(self, blind: bytes, usage: int, aggregator: int, nonce: bytes, share: Elements) -> bytes:
        return self.said

    def send_long(self, nonce: bytes, random: bytes, seed: int) -> Report:
        joint = self.joint(joined_seeds([], [self.said] * 2)[1])[-1]
        draw = np.random.default_rng(seed)
        while True:
            self.bits, norm = self._cancelling(int(joint[0]), int(draw.integers(2**62)) * 4 + 1)
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
            return self._cancelling(r, rest + 4)
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
