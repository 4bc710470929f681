"""Fully linear proofs (Boneh et al., 2019; VDAF draft 11), checked by two servers that hold shares.

The factors of every call of a circuit are points of polynomials, one per wire. The client sends the
polynomial of the sums of products, by its coefficients; the aggregators compare it at a random point with the
products of the wires there. Everything but the last comparison is linear and is done on shares.
"""

import numpy as np

from sparsefed.secagg.circuits import Circuit, Encoded
from sparsefed.secagg.field import (
    Elements,
    add,
    basis,
    combine,
    multiply,
    on_roots,
    product_coefficients,
    value_at,
)

__all__ = ["decide", "order", "proof_length", "prove", "query", "verifier_length"]


def order(circuit: Circuit) -> int:
    """P, on how many roots of unity the wires have values: one is random, one is for each call."""
    return 1 << circuit.calls.bit_length()


def proof_length(circuit: Circuit) -> int:
    """Elements of a proof."""
    return circuit.wires + 2 * (order(circuit) - 1) + 1


def verifier_length(circuit: Circuit) -> int:
    """Elements of an aggregator's answer to a proof."""
    return circuit.wires + 2


def prove(circuit: Circuit, encoded: Encoded, seeds: Elements, joint: Elements) -> Elements:
    """A proof; `seeds` are random, one for each wire."""
    factors = circuit.factors(encoded, joint, 1)
    sides = factors.sides(seeds)
    return np.concatenate([seeds, product_coefficients(*sides, width=factors.width, order=order(circuit))])


def query(  # noqa: PLR0917
    circuit: Circuit, encoded: Encoded, proof: Elements, joint: Elements, point: int, one: int
) -> Elements | None:
    """An aggregator's answer: the output, every wire at a random point, and the polynomial there.

    None where the point is one of the roots, where the wires would show what they carry.
    """
    weights = basis(point, order(circuit))
    if weights is None:
        return None
    seeds, polynomial = np.split(proof, [circuit.wires])
    sums = on_roots(polynomial, order(circuit))[1 : circuit.calls + 1]
    output = circuit.output(encoded, joint, sums, one)
    factors = circuit.factors(encoded, joint, one)
    answer = np.empty(verifier_length(circuit), np.uint64)
    answer[0], answer[-1] = output, value_at(polynomial, point)
    sides = factors.sides(seeds)
    for i, (values, seed) in enumerate(sides):
        calls = combine(weights[1 : circuit.calls + 1], values, factors.width)
        start = multiply(seed, np.full_like(seed, weights[0]))
        answer[1 + i : -1 : len(sides)] = add(start, calls)
    return answer


def decide(circuit: Circuit, verifier: Elements) -> bool:
    """Whether the sum of the aggregators' answers shows a valid encoding."""
    return int(verifier[0]) == 0 and circuit.product(verifier[1:-1]) == int(verifier[-1])
