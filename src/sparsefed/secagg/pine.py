"""PINE: two servers add up vectors that neither sees, each shown to have ℓ2 norm at most B over the integers.

Rothblum, Omri, Chen and Talwar (2023), in the form of draft-chen-cfrg-vdaf-pine-01 (Pine64HmacSha256Aes128),
for two aggregators: the leader, number 0, and the helper, number 1.
"""

import secrets
from hmac import compare_digest
from typing import NamedTuple

import numpy as np

from sparsefed.core.errors import UpdateError
from sparsefed.core.text import amount
from sparsefed.secagg.circuits import Encoded
from sparsefed.secagg.common import Common, joined_seeds, pieces
from sparsefed.secagg.encoding import squared_norm
from sparsefed.secagg.errors import InvalidProof, Malformed, SeedMismatch
from sparsefed.secagg.field import (
    Elements,
    Q,
    add,
    bits_of,
    elements,
    from_bytes,
    subtract,
    to_bytes,
)
from sparsefed.secagg.proofs import decide, proof_length, prove, query, verifier_length
from sparsefed.secagg.xof import SEED, Usage

__all__ = ["NONCE", "Pine", "Prepared", "Report", "true_seeds"]

NONCE = 16
"""Bytes of a report's nonce."""
RANDOM = 7 * SEED
"""Bytes of randomness in a report."""
_HALF = pow(2, -1, Q)


class Report(NamedTuple):
    """What a client sends: the public part to both aggregators, and a share to each."""

    public: bytes
    shares: tuple[bytes, bytes]
    """The leader's, as long as the vector and its proofs, and the helper's, 128 bytes."""


class Prepared(NamedTuple):
    """What an aggregator keeps of a report until it hears from the other one, and what it sends there."""

    output: Elements
    """Its share of the vector; not to be added up before `merge` has returned it."""
    seeds: bytes
    """The seeds of the randomness that it has used."""
    message: bytes
    """For the other aggregator."""


class Pine(Common):
    """The protocol for one set of parameters: clients `shard`, both aggregators `prepare` and `merge`."""

    def shard(self, vector: np.ndarray, nonce: bytes, random: bytes | None = None) -> Report:
        """A report of an integer vector, `[d]`; `random` is fresh where it is not given.

        Raises `UpdateError` for a vector that is too long, and with a probability of 2⁻¹⁰¹ for randomness
        that cannot show that it is not.
        """
        parameters = self.parameters
        if vector.shape != (parameters.dimension,) or vector.dtype.kind != "i":
            wanted = f"expected {parameters.dimension} integers"
            raise UpdateError(f"{wanted}, found {vector.dtype} of shape {vector.shape}")
        largest = max(int(vector.max()), -int(vector.min()))
        square = largest**2 if largest > parameters.bound else squared_norm(vector)
        if square > parameters.bound**2:
            found = f"one of norm {square**0.5:.6g} or more"
            raise UpdateError(f"expected a vector of norm at most {parameters.bound}, found {found}")
        return self._shard(elements(vector), square, nonce, random or secrets.token_bytes(RANDOM))

    def prepare(self, key: bytes, aggregator: int, nonce: bytes, public: bytes, share: bytes) -> Prepared:
        """An aggregator's part in the check of a report, under the key that no client knows.

        The checks are random by what the client says follows from both shares; the message holds what follows
        from this one. Raises `Rejected` for a report that cannot be read.
        """
        values, proofs, blinds = self._opened(aggregator, public, share)
        claims = pieces(public)
        seeds = joined_seeds(claims[:2], claims[2:])
        encoded = Encoded(values, self.products(values, seeds[0]))
        answers = []
        for circuit, point, joint in zip(
            self.circuits, self.points(key, nonce), self.joint(seeds[1]), strict=True
        ):
            proof, proofs = np.split(proofs, [proof_length(circuit)])
            answer = query(circuit, encoded, proof, joint, point, _HALF)
            if answer is None:
                raise InvalidProof("expected a random point off the roots of unity, found one on them")
            answers.append(answer)
        start = values[: self.parameters.start]
        message = [
            to_bytes(np.concatenate(answers)),
            self.part(blinds[0], Usage.SIGNS_PART, aggregator, nonce, start),
            self.part(blinds[1], Usage.JOINT_PART, aggregator, nonce, values),
        ]
        output = values[: self.parameters.dimension].copy()
        return Prepared(output, b"".join(seeds), b"".join(message))

    def merge(self, prepared: Prepared, messages: tuple[bytes, bytes]) -> Elements:
        """An aggregator's share of the vector, once `messages`, the leader's and the helper's, show it valid.

        Raises `Rejected` for a report that must not be counted.
        """
        answers = [self._answers(message) for message in messages]
        verifiers = add(answers[0], answers[1])
        for circuit in self.circuits:
            verifier, verifiers = np.split(verifiers, [verifier_length(circuit)])
            if not decide(circuit, verifier):
                raise InvalidProof("expected a vector within the bound, found a proof that does not show it")
        self._check_seeds(prepared.seeds, true_seeds(messages))
        return prepared.output

    def _check_seeds(self, used: bytes, true: bytes) -> None:
        """Without this, a client could choose the checks first, and then a vector that passes them."""
        if not compare_digest(used, true):
            raise SeedMismatch("expected checks by randomness that follows from the shares, found another")

    def _shard(self, vector: Elements, square: int, nonce: bytes, random: bytes) -> Report:
        share_seed, proof_seed, *helper_blinds, first, second, prove_seed = pieces(random)
        blinds = [first, second], helper_blinds
        start = np.concatenate([vector, self._norm_bits(square)])
        helper = self.helper_values(share_seed)
        leader = subtract(start, helper[: len(start)])
        signs = [
            self.part(blinds[i][0], Usage.SIGNS_PART, i, nonce, share[: len(start)])
            for i, share in enumerate([leader, helper])
        ]
        products = self.products(start, joined_seeds(signs, [])[0])
        values = np.concatenate([start, self._claims(products)])
        leader = subtract(values, helper)
        joints = [
            self.part(blinds[i][1], Usage.JOINT_PART, i, nonce, share)
            for i, share in enumerate([leader, helper])
        ]
        encoded = Encoded(values, products)
        randomness = self.wire_seeds(prove_seed), self.joint(joined_seeds([], joints)[1])
        proofs = [
            prove(circuit, encoded, seeds, joint)
            for circuit, seeds, joint in zip(self.circuits, *randomness, strict=True)
        ]
        proof = subtract(np.concatenate(proofs), self.helper_proofs(proof_seed))
        first_share = b"".join([to_bytes(leader), to_bytes(proof), *blinds[0]])
        return Report(
            b"".join([*signs, *joints]), (first_share, b"".join([share_seed, proof_seed, *blinds[1]]))
        )

    def _norm_bits(self, square: int) -> Elements:
        """The bits of the squared norm, and of what it lacks of B²."""
        bits = self.parameters.norm_bits
        return np.concatenate([bits_of(square, bits), bits_of(self.parameters.bound**2 - square, bits)])

    def _claims(self, products: Elements) -> Elements:
        """For every check, the bits of an inner product in range and a 1, or a 0 where that is not needed."""
        parameters, claims, found = self.parameters, [], 0
        for product in map(int, products):
            shifted = (product + parameters.limit - 1) % Q
            within = shifted < 2 * parameters.limit and found < parameters.successes
            found += within
            claims += [bits_of(shifted, parameters.check_bits), np.array([within], np.uint64)]
        if found < parameters.successes:
            raise UpdateError("expected inner products in range, found some that are not: shard once more")
        return np.concatenate(claims)

    def _opened(self, aggregator: int, public: bytes, share: bytes) -> tuple[Elements, Elements, list[bytes]]:
        """The share of the encoding, of the proofs, and the two blinds."""
        wanted = self.sizes[0], self.sizes[1 + aggregator]
        if (len(public), len(share)) != wanted:
            found = f"{len(public)} and {len(share)}"
            raise Malformed(f"expected {wanted[0]} public bytes and {wanted[1]} of a share, found {found}")
        blinds = pieces(share[-2 * SEED :])
        if aggregator:
            seeds = pieces(share)
            return self.helper_values(seeds[0]), self.helper_proofs(seeds[1]), blinds
        values, proofs = np.split(_canonical(share[: -2 * SEED]), [self.parameters.length])
        return values, proofs, blinds

    def _answers(self, message: bytes) -> Elements:
        if len(message) != self.sizes[3]:
            raise Malformed(f"expected a message of {amount(self.sizes[3], 'byte')}, found {len(message)}")
        return _canonical(message[: -2 * SEED])


def true_seeds(messages: tuple[bytes, bytes]) -> bytes:
    """The seeds that follow from what both aggregators hold, whatever the client has said."""
    signs = [message[-2 * SEED : -SEED] for message in messages]
    return b"".join(joined_seeds(signs, [message[-SEED:] for message in messages]))


def _canonical(data: bytes) -> Elements:
    vector = from_bytes(data)
    if vector is None:
        raise Malformed("expected numbers below q, found one that is not")
    return vector
