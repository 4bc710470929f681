"""What is proven of a client's vector, as sums of products that must come out as 0.

The sharing is linear, and so are the circuits but for their products. A constant therefore enters as its
share, `one` times itself: `one` is 1 for the client, who knows everything, and 1/2 for each aggregator.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from sparsefed.secagg.field import (
    Elements,
    Q,
    add,
    combine,
    dot,
    multiply,
    powers,
    subtract,
)
from sparsefed.secagg.parameters import Parameters

__all__ = ["Circuit", "Encoded", "NormEquality", "Products", "Validity"]


class Encoded(NamedTuple):
    """A client's vector with what it claims of it, whole or as one aggregator's share."""

    values: Elements
    """The vector, the bits of its squared norm v and of B² − v, and for every check the bits of its inner
    product and whether it is in range; `[length]`."""
    products: Elements
    """The inner products themselves, which every party computes; `[checks]`."""


class Products(NamedTuple):
    """The factors that go into products, `width` products in a call."""

    left: Elements
    right: Elements | None
    """None where every number is multiplied with itself."""
    width: int

    def sides(self, seeds: Elements) -> list[tuple[Elements, Elements]]:
        """The sides of the products, each with its share of the wires' seeds: wires alternate."""
        if self.right is None:
            return [(self.left, seeds)]
        return [(self.left, seeds[0::2].copy()), (self.right, seeds[1::2].copy())]


class Circuit(Protocol):
    """A check of an encoding."""

    @property
    def joint(self) -> int:
        """How many random numbers it takes, which the client cannot choose."""
        ...

    @property
    def calls(self) -> int:
        """Into how many calls the products are cut."""
        ...

    @property
    def wires(self) -> int:
        """Factors in a call."""
        ...

    def factors(self, encoded: Encoded, joint: Elements, one: int) -> Products:
        """What is multiplied."""
        ...

    def output(self, encoded: Encoded, joint: Elements, sums: Elements, one: int) -> int:
        """0 for a valid encoding; `sums` is the sum of products of every call."""
        ...

    def product(self, wires: Elements) -> int:
        """The sum of products of one call."""
        ...


@dataclass(frozen=True)
class NormEquality:
    """The bits of v are those of the squared norm, modulo q."""

    parameters: Parameters
    joint = 0

    @property
    def calls(self) -> int:
        return -(-self.parameters.dimension // self.parameters.norm_chunk)

    @property
    def wires(self) -> int:
        return self.parameters.norm_chunk

    def factors(self, encoded: Encoded, joint: Elements, one: int) -> Products:
        return Products(encoded.values[: self.parameters.dimension], None, self.parameters.norm_chunk)

    def output(self, encoded: Encoded, joint: Elements, sums: Elements, one: int) -> int:
        first, bits = self.parameters.dimension, self.parameters.norm_bits
        return (_number(encoded.values[first : first + bits]) - _total(sums)) % Q

    def product(self, wires: Elements) -> int:
        return dot(wires, wires)


@dataclass(frozen=True)
class Validity:
    """Bits are bits, v is at most B², and the vector is so short that its norm has not wrapped around q.

    The last is what a sum of squares modulo q cannot show by itself: four large numbers have any sum of
    squares. The inner product with random signs is long, with probability 1/2, where the vector is.
    """

    parameters: Parameters
    joint = 3

    @property
    def _bits(self) -> int:
        return self.parameters.length - self.parameters.dimension

    @property
    def calls(self) -> int:
        return self._bit_calls + -(-self.parameters.checks // self.parameters.chunk)

    @property
    def _bit_calls(self) -> int:
        return -(-self._bits // self.parameters.chunk)

    @property
    def wires(self) -> int:
        return 2 * self.parameters.chunk

    def factors(self, encoded: Encoded, joint: Elements, one: int) -> Products:
        """All b · (b − 1), and from a new call on, all (true − claimed inner product) · flag."""
        chunk = self.parameters.chunk
        left, right = np.zeros((2, self.calls * chunk), np.uint64)
        bits = encoded.values[self.parameters.dimension :]
        left[: len(bits)] = multiply(powers(int(joint[0]), len(bits)), bits)
        right[: len(bits)] = subtract(bits, np.full_like(bits, one))
        off, flags = self._wraparound(encoded, one)
        at = slice(self._bit_calls * chunk, self._bit_calls * chunk + len(off))
        left[at], right[at] = multiply(powers(int(joint[1]), len(off)), off), flags
        return Products(left, right, chunk)

    def output(self, encoded: Encoded, joint: Elements, sums: Elements, one: int) -> int:
        bits, checks = np.split(sums, [self._bit_calls])
        terms = [
            self.all_bits(bits),
            self.norm_in_range(encoded, one),
            self.claims_true(checks),
            self.enough_in_range(encoded, one),
        ]
        r = int(joint[2])
        return sum(term * pow(r, i, Q) for i, term in enumerate(terms)) % Q

    def product(self, wires: Elements) -> int:
        return dot(wires[0::2].copy(), wires[1::2].copy())

    def all_bits(self, sums: Elements) -> int:
        """Σ rⁱ bᵢ (bᵢ − 1)."""
        return _total(sums)

    def norm_in_range(self, encoded: Encoded, one: int) -> int:
        """The norm and what it lacks of B² add up to that; made of bits, neither is negative."""
        first, bits = self.parameters.dimension, self.parameters.norm_bits
        v = _number(encoded.values[first : first + bits])
        u = _number(encoded.values[first + bits : first + 2 * bits])
        return (v + u - self.parameters.bound**2 * one) % Q

    def claims_true(self, sums: Elements) -> int:
        """Σ rᵏ (true − claimed) · flag: where the flag is 1, the claimed inner product is the true one."""
        return _total(sums)

    def enough_in_range(self, encoded: Encoded, one: int) -> int:
        """The flags that are 1, less those that must be."""
        return (_total(self._claims(encoded)[:, -1].copy()) - self.parameters.successes * one) % Q

    def _claims(self, encoded: Encoded) -> Elements:
        """The bits and the flag of every check, `[checks, bits + 1]`."""
        return encoded.values[self.parameters.start :].reshape(self.parameters.checks, -1)

    def _wraparound(self, encoded: Encoded, one: int) -> tuple[Elements, Elements]:
        """By how much each claimed inner product is off, and its flag."""
        claims = self._claims(encoded)
        bits = np.ascontiguousarray(claims[:, :-1].T).ravel()
        claimed = combine(powers(2, self.parameters.check_bits), bits, self.parameters.checks)
        shift = (self.parameters.limit - 1) * one % Q
        true = add(encoded.products, np.full_like(claimed, shift))
        return subtract(true, claimed), claims[:, -1].copy()


def _total(vector: Elements) -> int:
    return dot(vector, np.ones_like(vector))


def _number(bits: Elements) -> int:
    """The number, or the share of it, that bits, or shares of them, stand for."""
    return dot(bits, powers(2, len(bits)))
