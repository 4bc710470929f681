"""A client and an aggregator of `sparsefed.secagg`, per report, and the two heavy parts beside NumPy."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Goal, Row
from sparsefed.secagg import FixedPoint, Parameters, Pine
from sparsefed.secagg.field import Elements, Q, powers, product_coefficients, root, signed_sums

MLP, RESNET9 = 199_210, 6_568_640
KEY, NONCE = bytes(32), bytes(16)
_FOLD, _HALF = np.uint64(2**32 - 1), np.uint64(32)


def report_of(size: int) -> tuple[Pine, np.ndarray]:
    code = FixedPoint(1.0)
    vector = np.random.default_rng(0).standard_normal(size)
    return Pine(Parameters(dimension=size, bound=code.bound)), code.encode(vector)


def client(size: int) -> Callable[[], Mapping[str, Contender]]:
    def prepare() -> Mapping[str, Contender]:
        pine, vector = report_of(size)
        return {"shard": lambda: pine.shard(vector, NONCE)}

    return prepare


def aggregator(size: int, place: int) -> Callable[[], Mapping[str, Contender]]:
    """Prepare and merge, of one of the two."""

    def prepare() -> Mapping[str, Contender]:
        pine, vector = report_of(size)
        report = pine.shard(vector, NONCE)
        both = [pine.prepare(KEY, i, NONCE, report.public, report.shares[i]).message for i in range(2)]
        messages = both[0], both[1]

        def run() -> Any:
            mine = pine.prepare(KEY, place, NONCE, report.public, report.shares[place])
            return pine.merge(mine, messages)

        return {("leader", "helper")[place]: run}

    return prepare


def norm_proof() -> Mapping[str, Contender]:
    """The polynomial of a proof of the norm, d = 2²⁰ in 63 calls."""
    size = 1 << 20
    width = -(-size // 63)
    draw = np.random.default_rng(0)
    values, seeds = draw.integers(0, Q, size, dtype=np.uint64), draw.integers(0, Q, width, dtype=np.uint64)
    ours = product_coefficients((values, seeds), width=width, order=64)
    np.testing.assert_array_equal(ours, in_numpy(values, seeds, width))
    return {
        "ours": lambda: product_coefficients((values, seeds), width=width, order=64),
        "NumPy": lambda: in_numpy(values, seeds, width),
    }


def random_signs() -> Mapping[str, Contender]:
    """The 100 random inner products of a share, d = 2²⁰."""
    size = 1 << 20
    values = np.random.default_rng(0).integers(0, Q, size, dtype=np.uint64)
    signs = np.frombuffer(secrets.token_bytes(100 * size // 4), np.uint8).reshape(100, -1)
    np.testing.assert_array_equal(signed_sums(values, signs), sums_in_numpy(values, signs))
    return {"ours": lambda: signed_sums(values, signs), "NumPy": lambda: sums_in_numpy(values, signs)}


def in_numpy(values: Elements, seeds: Elements, width: int, order: int = 64) -> Elements:
    """All columns at once, a whole matrix per step of the transforms."""
    matrix = np.zeros((order, width), np.uint64)
    matrix[0] = seeds
    matrix[1:].reshape(-1)[: len(values)] = values
    coefficients = _times(_transform(matrix, pow(root(order), -1, Q)), np.uint64(pow(order, -1, Q)))
    padded = np.concatenate([coefficients, np.zeros_like(coefficients)])
    total = np.zeros(2 * order, np.uint64)
    squares = _transform(padded, root(2 * order))
    squares = _times(squares, squares)
    while squares.shape[1] > 1:
        half = squares.shape[1] // 2
        rest = squares[:, 2 * half :]
        squares = np.concatenate([_plus(squares[:, :half], squares[:, half : 2 * half]), rest], axis=1)
    total = _transform(squares, pow(root(2 * order), -1, Q))
    return _times(total, np.uint64(pow(2 * order, -1, Q)))[:-1, 0]


def sums_in_numpy(values: Elements, signs: np.ndarray) -> Elements:
    """Three limbs of 22 bits in float64, so that BLAS adds them up exactly."""
    tables = np.array([[(-1, 0, 0, 1)[byte >> shift & 3] for shift in (0, 2, 4, 6)] for byte in range(256)])
    limbs = np.stack([(values >> np.uint64(s)) & np.uint64(2**22 - 1) for s in (0, 22, 44)], axis=1)
    sums = np.zeros((len(signs), 3))
    for start in range(0, signs.shape[1], 1 << 14):
        part = tables.astype(np.float64)[signs[:, start : start + (1 << 14)]].reshape(len(signs), -1)
        sums += part @ limbs[4 * start : 4 * start + part.shape[1]].astype(np.float64)
    whole = [sum(int(limb) << (22 * i) for i, limb in enumerate(row)) % Q for row in sums]
    return np.array(whole, np.uint64)


def _transform(matrix: Elements, base: int) -> Elements:
    """Radix 2 along the first axis (Stockham), no reordering."""
    size, block = len(matrix), matrix[:, None]
    half = size // 2
    stride = 1
    while half >= 1:
        twiddles = powers(pow(base, stride, Q), half)[:, None, None]
        shaped = block.reshape(2, half, stride, -1)
        a, b = shaped[0], shaped[1]
        block = np.stack([_plus(a, b), _times(_minus(a, b), twiddles)], axis=1).reshape(2 * half, stride, -1)
        block = block.reshape(half, 2 * stride, -1)
        half //= 2
        stride *= 2
    return block.reshape(size, -1)


def _plus(a: Elements, b: Elements) -> Elements:
    total = a + b
    total += np.where(total < a, _FOLD, np.uint64(0))
    return np.minimum(total, total - np.uint64(Q))


def _minus(a: Elements, b: Elements) -> Elements:
    return a - b - np.where(a < b, _FOLD, np.uint64(0))


def _times(a: Elements, b: Elements) -> Elements:
    a_low, a_high, b_low, b_high = a & _FOLD, a >> _HALF, b & _FOLD, b >> _HALF
    bottom = a_low * b_low
    cross = a_low * b_high + (bottom >> _HALF)
    other = a_high * b_low + (cross & _FOLD)
    upper = a_high * b_high + (cross >> _HALF) + (other >> _HALF)
    lower = other << _HALF | bottom & _FOLD
    low = lower - (upper >> _HALF) - np.where(lower < upper >> _HALF, _FOLD, np.uint64(0))
    return _plus(np.minimum(low, low - np.uint64(Q)), (upper & _FOLD) * _FOLD)


ROWS = {
    "secagg_client_mlp": Row("PINE client, d = 199,210", Goal("≤", 300, "ms"), client(MLP), 8.0),
    "secagg_leader_mlp": Row(
        "PINE leader, d = 199,210, a report", Goal("≤", 100, "ms"), aggregator(MLP, 0), 8.0
    ),
    "secagg_helper_mlp": Row(
        "PINE helper, d = 199,210, a report", Goal("≤", 100, "ms"), aggregator(MLP, 1), 8.0
    ),
    "secagg_client_resnet9": Row("PINE client, d = 6.57 M", Goal("≤", 4500, "ms"), client(RESNET9), 8.0),
    "secagg_leader_resnet9": Row(
        "PINE leader, d = 6.57 M, a report", Goal("≤", 1550, "ms"), aggregator(RESNET9, 0), 8.0
    ),
    "secagg_helper_resnet9": Row(
        "PINE helper, d = 6.57 M, a report",
        Goal("≤", 1550, "ms"),
        aggregator(RESNET9, 1),
        8.0,
    ),
    "secagg_norm_proof": Row(
        "PINE norm proof, d = 2²⁰: times faster than NumPy", Goal("≥", 2), norm_proof, 8.0
    ),
    "secagg_signs": Row(
        "PINE 100 random inner products, d = 2²⁰: times faster than NumPy", Goal("≥", 2), random_signs, 8.0
    ),
}
