"""Clients that follow the protocol but for one lie, for which every proof is then properly made.

For tests and for the demonstration: what they send is what an aggregator must see through.
"""

import numpy as np

from sparsefed.secagg.field import Elements, Q, bits_of, elements
from sparsefed.secagg.pine import Pine, Report

__all__ = ["WRAPPING", "BigBits", "HonestFlags", "LyingFlags", "Unchecked", "WrongRest"]

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
