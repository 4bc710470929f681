"""What client and aggregators compute alike: sizes of messages, and randomness from seeds."""

from functools import cached_property

import numpy as np

from sparsefed.secagg.circuits import Circuit, NormEquality, Validity
from sparsefed.secagg.field import BYTES, Elements, signed_sums, to_bytes
from sparsefed.secagg.parameters import Parameters
from sparsefed.secagg.proofs import proof_length, verifier_length
from sparsefed.secagg.xof import SEED, Usage, Xof, derive, expand

__all__ = ["Common", "joined_seeds", "pieces"]


class Common:
    """The protocol's constants and random numbers for one set of parameters."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        norm, validity = NormEquality(parameters), Validity(parameters)
        self.circuits: list[Circuit] = [*[norm] * parameters.norm_proofs, *[validity] * parameters.proofs]
        self._tag = bytes([parameters.norm_proofs, parameters.proofs])

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """Bytes of the public part, of the leader's share, of the helper's share, and of a message."""
        proofs = sum(map(proof_length, self.circuits))
        answers = sum(map(verifier_length, self.circuits))
        leader = BYTES * (self.parameters.length + proofs) + 2 * SEED
        return 4 * SEED, leader, 4 * SEED, BYTES * answers + 2 * SEED

    def helper_values(self, seed: bytes) -> Elements:
        """The helper's share of the encoding."""
        return expand(seed, Usage.SHARE, self.parameters.length, [b"\x01"])

    def helper_proofs(self, seed: bytes) -> Elements:
        """The helper's share of the proofs."""
        count = sum(map(proof_length, self.circuits))
        return expand(seed, Usage.PROOF_SHARE, count, [self._tag + b"\x01"])

    def wire_seeds(self, seed: bytes) -> list[Elements]:
        """What hides the wires of every proof."""
        counts = [circuit.wires for circuit in self.circuits]
        return _split(expand(seed, Usage.PROVE, sum(counts), [self._tag]), counts)

    def points(self, key: bytes, nonce: bytes) -> list[int]:
        """Where the aggregators look at the polynomials of every proof."""
        return expand(key, Usage.QUERY, len(self.circuits), [self._tag, nonce]).tolist()

    def joint(self, seed: bytes) -> list[Elements]:
        """The random numbers of every circuit that the client cannot choose."""
        counts = [circuit.joint for circuit in self.circuits]
        return _split(expand(seed, Usage.JOINT, sum(counts), [bytes([self.parameters.proofs])]), counts)

    def products(self, values: Elements, seed: bytes) -> Elements:
        """The inner products of a vector, or of a share of it, with random signs, `[checks]`."""
        count, checks = self.parameters.dimension, self.parameters.checks
        signs = np.frombuffer(Xof(seed, Usage.SIGNS).read(checks * -(-count // 4)), np.uint8)
        return signed_sums(values[:count], signs.reshape(checks, -1))

    def part(self, blind: bytes, usage: int, aggregator: int, nonce: bytes, share: Elements) -> bytes:
        """What makes the randomness of the checks follow from a share; the blind hides the share."""
        return derive(blind, usage, [bytes([aggregator]), nonce, to_bytes(share)])


def joined_seeds(signs: list[bytes], joints: list[bytes]) -> tuple[bytes, bytes]:
    """The seeds of the random signs and of the joint randomness, from the parts of leader and helper."""
    zero = bytes(SEED)
    return derive(zero, Usage.SIGNS_SEED, signs), derive(zero, Usage.JOINT_SEED, joints)


def pieces(data: bytes) -> list[bytes]:
    """The seeds that stand one after the other."""
    return [data[i : i + SEED] for i in range(0, len(data), SEED)]


def _split(numbers: Elements, counts: list[int]) -> list[Elements]:
    return np.split(numbers, np.cumsum(counts[:-1]))
