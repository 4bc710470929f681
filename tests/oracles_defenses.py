"""The paper's pseudo-code for defenses, transliterated line by line into NumPy, slow and literal."""

from collections.abc import Callable, Iterator

import numpy as np

Array = np.ndarray


def trimmed_mean(updates: Array, f: int) -> Array:
    """Algorithm 7."""
    aggregate = []
    for column in updates.T:
        values = list(column)
        for _ in range(f):
            values.remove(min(values))
            values.remove(max(values))
        aggregate.append(sum(values) / len(values))
    return np.array(aggregate)


def median(updates: Array) -> Array:
    """The middle value, or the average of the two middle values."""
    aggregate = []
    for column in updates.T:
        values = sorted(column)
        half = len(values) // 2
        aggregate.append(values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2)
    return np.array(aggregate)


def krum_scores(updates: Array, f: int) -> list[float]:
    """Blanchard et al.: the sum of squared distances to the n − f − 2 closest others (at least one)."""
    scores = []
    for i, update in enumerate(updates):
        others = sorted(float(np.sum((update - other) ** 2)) for j, other in enumerate(updates) if j != i)
        scores.append(sum(others[: max(len(updates) - f - 2, 1)]))
    return scores


def paper_krum_scores(updates: Array, f: int) -> list[float]:
    """Algorithm 8, with one addition: the nearest other is never removed."""
    scores = []
    for i, update in enumerate(updates):
        rest = list(range(len(updates)))
        for _ in range(f + 2):
            if len(rest) > 2:
                others = [j for j in rest if j != i]
                rest.remove(max(others, key=lambda j: np.linalg.norm(updates[j] - update)))
        scores.append(float(sum(np.linalg.norm(updates[j] - update) for j in rest)))
    return scores


def picks(updates: Array, f: int, scores: Callable[[Array, int], list[float]]) -> list[int]:
    """Lines 1–7 of Algorithm 9: Krum again and again on what is left, n − 2f times."""
    left, picked = list(range(len(updates))), []
    while len(picked) < len(updates) - 2 * f:
        values = scores(updates[left], f)
        picked.append(left.pop(values.index(min(values))))
    return picked


def bulyan(updates: Array, f: int) -> Array:
    """El Mhamdi et al.: per coordinate, the mean of the n − 4f picks closest to the median of the picks."""
    chosen = updates[picks(updates, f, krum_scores)]
    aggregate = []
    for column, middle in zip(chosen.T, median(chosen), strict=True):
        nearest = sorted(column, key=lambda value: abs(value - middle))
        aggregate.append(np.mean(nearest[: len(updates) - 4 * f]))
    return np.array(aggregate)


def paper_bulyan(updates: Array, f: int) -> Array:
    """Algorithm 9."""
    return trimmed_mean(updates[picks(updates, f, paper_krum_scores)], f)


def top_k(vector: Array, k: int) -> Array:
    """The vector with all but its k largest magnitudes set to 0."""
    kept = np.argsort(-np.abs(vector))[:k]
    result = np.zeros_like(vector)
    result[kept] = vector[kept]
    return result


def algorithm_1(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """Algorithm 1 as printed (with the sign of a descent): R is computed and masked, but never used."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = u + W
        delta = top_k(W, k)
        W = W - delta
        R = R - delta
        yield lr * delta


def algorithm_5(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """The listing of Algorithm 5: momentum enters the error, and nothing is masked."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = R + W
        delta = top_k(W, k)
        W = W - delta
        yield lr * delta


def masked_by_zero(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """Algorithm 5 with the masking that its text demands: R is zeroed where Δ moves the model."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = R + W
        delta = top_k(W, k)
        W = W - delta
        R = np.where(delta != 0, 0, R)
        yield lr * delta


def masked_by_subtraction(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """Algorithm 5 with the masking line of Algorithm 1."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = R + W
        delta = top_k(W, k)
        W = W - delta
        R = R - delta
        yield lr * delta


def error_with_lr(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """λ inside the error, where Algorithms 2 and 10 have it."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = lr * R + W
        delta = top_k(W, k)
        W = W - delta
        R = np.where(delta != 0, 0, R)
        yield delta


def forgetting(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """Masked Algorithm 5 with an error that keeps 0.7 of itself from round to round."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = R + 0.7 * W
        delta = top_k(W, k)
        W = W - delta
        R = np.where(delta != 0, 0, R)
        yield lr * delta


def forgetting_with_lr(means: list[Array], k: int, rho: float, lrs: list[float]) -> Iterator[Array]:
    """The same with λ inside the error."""
    W, R = np.zeros_like(means[0]), np.zeros_like(means[0])
    for u, lr in zip(means, lrs, strict=True):
        R = rho * R + u
        W = lr * R + 0.7 * W
        delta = top_k(W, k)
        W = W - delta
        R = np.where(delta != 0, 0, R)
        yield delta


def fetchsgd(
    means: list[Array],
    choose: Callable[[Array], Array],
    rho: float,
    lrs: list[float],
    *,
    sketch: Array,
    zeroing: bool,
    beta: float = 1.0,
) -> Iterator[Array]:
    """Algorithm 10, with the sketch as explicit matrices S of shape [rows, columns, d].

    Every column of S[r] holds one ±1. `choose` gives the places of the top k estimates, of which many can
    be tied; `beta` is what survives of S_e. With `zeroing`, touched cells of both tables are set to 0 in
    place of line 15.
    """
    S_u, S_e = np.zeros(sketch.shape[:2]), np.zeros(sketch.shape[:2])
    for u, lr in zip(means, lrs, strict=True):
        S_u = rho * S_u + sketch @ u
        S_e = lr * S_u + beta * S_e
        estimates = np.median(np.einsum("rcd,rc->rd", sketch, S_e), axis=0)
        delta = np.zeros_like(estimates)
        delta[choose(estimates)] = estimates[choose(estimates)]
        if zeroing:
            touched = (np.abs(sketch) @ (delta != 0)) > 0
            S_e, S_u = np.where(touched, 0, S_e), np.where(touched, 0, S_u)
        else:
            S_e = S_e - sketch @ delta
        yield delta


def choose_k(gradients: list[Array], max_loss: float, rounds_per_epoch: int) -> int:
    """Algorithm 11 with k = d/r in line 1 and a relative loss in line 6."""
    d = len(gradients[0])
    k, loss = max(d // rounds_per_epoch, 1), np.inf
    while loss > max_loss:
        lost = [np.abs(g - top_k(g, k)).sum() / np.abs(g).sum() for g in gradients]
        loss = min(loss, np.mean(lost))
        if loss > max_loss:
            k = k + max(d // rounds_per_epoch, 1)
    return min(k, d)
