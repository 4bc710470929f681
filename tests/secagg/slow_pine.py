"""PINE once more, in Python's integers, after the text of the draft: nothing is shared with the package.

Polynomials are interpolated point by point, AES runs block by block, and every party keeps whole lists.
"""

import hashlib
import hmac
from itertools import chain, count, islice
from math import ceil

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Q = 2**64 - 2**32 + 1
HALF = (Q + 1) // 2


def stream(seed, usage, binder):
    tag = b"\x01\xff\xff\x10\x04" + usage.to_bytes(2, "big")
    h = hmac.digest(seed, bytes([len(tag)]) + tag + binder, hashlib.sha256)
    block = Cipher(algorithms.AES(h[:16]), modes.ECB()).encryptor()
    start = int.from_bytes(h[16:], "big")
    blocks = (block.update(((start + i) % 2**128).to_bytes(16, "big")) for i in count())
    return chain.from_iterable(blocks)


def seed_from(seed, usage, binder):
    return bytes(islice(stream(seed, usage, binder), 32))


def numbers(seed, usage, binder, length):
    data, found = stream(seed, usage, binder), []
    while len(found) < length:
        word = int.from_bytes(bytes(islice(data, 8)), "little")
        found += [word] if word < Q else []
    return found


def to_bytes(vector):
    return b"".join(x.to_bytes(8, "little") for x in vector)


def from_bytes(data):
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def interpolate(points, values):
    """Coefficients by Lagrange's formula, lowest first."""
    total = [0] * len(points)
    for i, (x, y) in enumerate(zip(points, values, strict=True)):
        term, scale = [y], 1
        for j, other in enumerate(points):
            if i != j:
                term = [(a - other * b) % Q for a, b in zip([0, *term], [*term, 0], strict=True)]
                scale = scale * (x - other) % Q
        total = [(a + b * pow(scale, -1, Q)) % Q for a, b in zip(total, term, strict=True)]
    return total


def value(coefficients, x):
    return sum(c * pow(x, i, Q) for i, c in enumerate(coefficients)) % Q


def multiply(f, g):
    out = [0] * (len(f) + len(g) - 1)
    for i, a in enumerate(f):
        for j, b in enumerate(g):
            out[i + j] = (out[i + j] + a * b) % Q
    return out


def chunks(vector, size):
    return [(vector[i : i + size] + [0] * size)[:size] for i in range(0, len(vector), size)]


class Circuit:
    def __init__(self, pine, calls, arity, joint, inputs, output):  # noqa: PLR0917
        self.pine, self.calls, self.arity, self.joint = pine, calls, arity, joint
        self.inputs, self.output = inputs, output
        self.size = 1
        while self.size < calls + 1:
            self.size *= 2
        w = pow(7, (Q - 1) // self.size, Q)
        self.points = [pow(w, i, Q) for i in range(self.size)]
        self.proof = arity + 2 * (self.size - 1) + 1

    def gadget(self, wires):
        if self.joint:
            return sum(a * b for a, b in zip(wires[::2], wires[1::2], strict=True)) % Q
        return sum(a * a for a in wires) % Q

    def wires(self, seeds, calls):
        rows = [seeds, *calls, *[[0] * self.arity] * (self.size - 1 - self.calls)]
        return [interpolate(self.points, [row[j] for row in rows]) for j in range(self.arity)]

    def prove(self, encoding, seeds, joint):
        wires = self.wires(seeds, self.inputs(encoding, joint, 1))
        pairs = zip(wires[::2], wires[1::2], strict=True) if self.joint else zip(wires, wires, strict=True)
        total = [0] * (2 * self.size - 1)
        for f, g in pairs:
            total = [(a + b) % Q for a, b in zip(total, multiply(f, g), strict=True)]
        return seeds + total

    def query(self, encoding, proof, joint, point):
        seeds, polynomial = proof[: self.arity], proof[self.arity :]
        sums = [value(polynomial, x) for x in self.points[1 : self.calls + 1]]
        wires = self.wires(seeds, self.inputs(encoding, joint, HALF))
        at = [value(wire, point) for wire in wires]
        return [self.output(encoding, joint, sums, HALF), *at, value(polynomial, point)]


class SlowPine:
    def __init__(self, p):
        self.p, self.d = p, p.dimension
        self.nb = (p.bound**2).bit_length()
        self.limit = 1
        while self.limit < ceil(p.alpha * p.bound) + 1:
            self.limit *= 2
        self.nw = (2 * self.limit - 1).bit_length()
        self.start = self.d + 2 * self.nb
        self.length = self.start + p.checks * (self.nw + 1)
        norm = Circuit(self, ceil(self.d / p.norm_chunk), p.norm_chunk, 0, self.squares, self.norm)
        first = ceil((self.length - self.d) / p.chunk)
        calls = first + ceil(p.checks / p.chunk)
        valid = Circuit(self, calls, 2 * p.chunk, 3, self.pairs, self.valid)
        self.circuits = [norm] * p.norm_proofs + [valid] * p.proofs
        self.first = first
        self.tag = bytes([p.norm_proofs, p.proofs])

    def squares(self, encoding, joint, one):
        return chunks(encoding[: self.d], self.p.norm_chunk)

    def norm(self, encoding, joint, sums, one):
        v = encoding[self.d : self.d + self.nb]
        return (sum(b << i for i, b in enumerate(v)) - sum(sums)) % Q

    def claims(self, encoding):
        for k in range(self.p.checks):
            at = self.start + k * (self.nw + 1)
            bits = encoding[at : at + self.nw]
            yield sum(b << i for i, b in enumerate(bits)) % Q, encoding[at + self.nw]

    def pairs(self, encoding, joint, one):
        bits, wrap = [], []
        for i, b in enumerate(encoding[self.d : self.length]):
            bits += [pow(joint[0], i, Q) * b % Q, (b - one) % Q]
        for k, (claimed, flag) in enumerate(self.claims(encoding)):
            off = encoding[self.length + k] - (claimed - (self.limit - 1) * one)
            wrap += [pow(joint[1], k, Q) * off % Q, flag]
        return chunks(bits, 2 * self.p.chunk) + chunks(wrap, 2 * self.p.chunk)

    def valid(self, encoding, joint, sums, one):
        norms = encoding[self.d : self.start]
        norm = sum(b << (i % self.nb) for i, b in enumerate(norms)) - self.p.bound**2 * one
        flags = sum(flag for _, flag in self.claims(encoding)) - self.p.successes * one
        r = joint[2]
        return (sum(sums[: self.first]) + r * norm + r**2 * sum(sums[self.first :]) + r**3 * flags) % Q

    def dots(self, vector, seed):
        data, sums = stream(seed, 8, b""), []
        for _ in range(self.p.checks):
            signs = []
            for _ in range(ceil(self.d / 4)):
                byte = next(data)
                signs += [(-1, 0, 0, 1)[byte >> shift & 3] for shift in (0, 2, 4, 6)]
            sums.append(sum(s * x for s, x in zip(signs, vector[: self.d], strict=False)) % Q)
        return sums

    def part(self, blind, usage, i, nonce, share):
        return seed_from(blind, usage, bytes([i]) + nonce + to_bytes(share))

    def helper(self, seed, proof_seed):
        proofs = numbers(proof_seed, 2, self.tag + b"\x01", sum(c.proof for c in self.circuits))
        return numbers(seed, 1, b"\x01", self.length), proofs

    def joint(self, seed):
        return iter(numbers(seed, 3, self.tag[1:], 3 * self.p.proofs))

    def shard(self, vector, nonce, random):
        seeds = [random[i : i + 32] for i in range(0, 224, 32)]
        square = sum(x * x for x in vector)
        encoding = [x % Q for x in vector]
        encoding += [square >> i & 1 for i in range(self.nb)]
        encoding += [(self.p.bound**2 - square) >> i & 1 for i in range(self.nb)]
        helper, helper_proofs = self.helper(seeds[0], seeds[1])

        def parts(usage, leader_blind, helper_blind):
            leader = [(a - b) % Q for a, b in zip(encoding, helper, strict=False)]
            mine = self.part(leader_blind, usage, 0, nonce, leader)
            return leader, [mine, self.part(helper_blind, usage, 1, nonce, helper[: len(encoding)])]

        _, signs = parts(10, seeds[4], seeds[2])
        dots, found = self.dots(encoding, seed_from(bytes(32), 9, b"".join(signs))), 0
        for dot in dots:
            shifted = (dot + self.limit - 1) % Q
            flag = int(shifted < 2 * self.limit and found < self.p.successes)
            found += flag
            encoding += [shifted >> i & 1 for i in range(self.nw)] + [flag]
        leader, joints = parts(7, seeds[5], seeds[3])
        joint = self.joint(seed_from(bytes(32), 6, b"".join(joints)))
        wires = iter(numbers(seeds[6], 4, self.tag, sum(c.arity for c in self.circuits)))
        proofs = []
        for circuit in self.circuits:
            mine = list(islice(wires, circuit.arity))
            proofs += circuit.prove(encoding + dots, mine, list(islice(joint, circuit.joint)))
        proofs = [(a - b) % Q for a, b in zip(proofs, helper_proofs, strict=True)]
        first = to_bytes(leader) + to_bytes(proofs) + seeds[4] + seeds[5]
        return b"".join(signs + joints), (first, b"".join(seeds[:4]))

    def prepare(self, key, i, nonce, public, share):
        blinds = share[-64:-32], share[-32:]
        if i:
            values, proofs = self.helper(share[:32], share[32:64])
        else:
            everything = from_bytes(share[:-64])
            values, proofs = everything[: self.length], everything[self.length :]
        dots = self.dots(values, seed_from(bytes(32), 9, public[:64]))
        joint = self.joint(seed_from(bytes(32), 6, public[64:]))
        points = numbers(key, 5, self.tag + nonce, len(self.circuits))
        answers, proofs = [], iter(proofs)
        for circuit, point in zip(self.circuits, points, strict=True):
            proof = list(islice(proofs, circuit.proof))
            answers += circuit.query(values + dots, proof, list(islice(joint, circuit.joint)), point)
        signs = self.part(blinds[0], 10, i, nonce, values[: self.start])
        return values[: self.d], to_bytes(answers) + signs + self.part(blinds[1], 7, i, nonce, values)
