"""Rules published after the paper's, transliterated from their listings into NumPy, slow and literal."""

import itertools

import numpy as np

Array = np.ndarray


def weiszfeld(updates: Array, alphas: Array, nu: float, budget: int) -> Array:
    """Pillutla et al., Algorithm 2, from the weighted mean."""
    v = sum(alpha * w for alpha, w in zip(alphas, updates, strict=True))
    for _ in range(budget):
        betas = [a / max(nu, np.linalg.norm(v - w)) for a, w in zip(alphas, updates, strict=True)]
        v = sum(beta * w for beta, w in zip(betas, updates, strict=True)) / sum(betas)
    return v


def centered_clip(updates: Array, v: Array, tau: float, steps: int) -> Array:
    """Karimireddy et al., 2021, Algorithm 2."""
    for _ in range(steps):
        cs = [(x - v) * min(1, tau / np.linalg.norm(x - v)) for x in updates]
        v = v + sum(cs) / len(updates)
    return v


def mean_around_median(updates: Array, f: int) -> Array:
    """Xie et al., 2018."""
    aggregate = []
    for column in updates.T:
        middle = np.median(column)
        nearest = sorted(column, key=lambda value: abs(value - middle))
        aggregate.append(np.mean(nearest[: len(column) - f]))
    return np.array(aggregate)


def robust_learning_rate(updates: Array, threshold: int) -> Array:
    """Ozdayi et al., Equation 1, times the mean."""
    rates = []
    for column in updates.T:
        votes = abs(sum(np.sign(value) for value in column))
        rates.append(1 if votes >= threshold else -1)
    return np.array(rates) * updates.mean(axis=0)


def majority_vote(updates: Array) -> Array:
    """Bernstein et al., Algorithm 1 of the majority vote."""
    return np.sign(sum(np.sign(update) for update in updates))


def divide_and_conquer(updates: Array, samples: list[Array], drop: int) -> list[int]:
    """Shejwalkar and Houmansadr, Algorithm 2, on given samples of the coordinates."""
    good = set(range(len(updates)))
    for r in samples:
        centered = updates[:, r] - updates[:, r].mean(axis=0)
        v = np.linalg.svd(centered, full_matrices=False)[2][0]
        s = [float(row @ v) ** 2 for row in centered]
        order = sorted(range(len(updates)), key=lambda i: s[i])
        good &= set(order[: len(updates) - drop])
    return sorted(good)


def minimum_diameter(updates: Array, f: int) -> list[int]:
    """Every subset of n − f, in lexicographic order; the first of least diameter."""
    best, least = [], np.inf
    for subset in itertools.combinations(range(len(updates)), len(updates) - f):
        pairs = itertools.combinations(subset, 2)
        diameter = max((float(np.sum((updates[i] - updates[j]) ** 2)) for i, j in pairs), default=0.0)
        if diameter < least:
            best, least = list(subset), diameter
    return best


def nearest_to_own(updates: Array, own: Array, f: int) -> Array:
    """Farhadkhani et al., nearest-neighbor averaging of the peer that sent `own`."""
    order = sorted(range(len(updates)), key=lambda i: np.linalg.norm(updates[i] - own))
    return np.mean([own, *updates[order[: len(updates) - f]]], axis=0)


def fltrust(updates: Array, own: Array) -> Array:
    """Cao et al., Algorithm 2, lines 7–10."""
    scores, scaled = [], []
    for g in updates:
        cosine = g @ own / np.linalg.norm(g) / np.linalg.norm(own)
        scores.append(max(cosine, 0.0))
        scaled.append(np.linalg.norm(own) / np.linalg.norm(g) * g)
    return sum(s * g for s, g in zip(scores, scaled, strict=True)) / sum(scores)


def foolsgold_weights(histories: Array, kappa: float) -> list[float]:
    """Fung et al., Algorithm 1, lines 5–16."""
    n = len(histories)
    cs = [[float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in histories] for a in histories]
    v = [max(cs[i][j] for j in range(n) if j != i) for i in range(n)]
    for i in range(n):
        for j in range(n):
            if i != j and v[j] > v[i]:
                cs[i][j] *= v[i] / v[j]
    alphas = [1 - max(cs[i][j] for j in range(n) if j != i) for i in range(n)]
    alphas = [min(max(alpha, 0), 1) for alpha in alphas]
    alphas = [alpha / max(alphas) for alpha in alphas]
    weights = []
    for alpha in alphas:
        if alpha in {0, 1}:
            weights.append(float(alpha))
        else:
            weights.append(min(max(kappa * (np.log(alpha / (1 - alpha)) + 0.5), 0), 1))
    return weights


def lasa(updates: Array, layers: list[int], sparsity: float, lengths: float, signs: float) -> Array:
    """Xu et al., the filter of every layer and the mean of what passes it."""
    size = updates.shape[1]
    sparse = np.zeros_like(updates)
    for i, update in enumerate(updates):
        for j in np.argsort(-np.abs(update))[: round((1 - sparsity) * size)]:
            sparse[i, j] = update[j]
    norms = np.linalg.norm(updates, axis=1)
    median = np.sort(norms)[(len(norms) - 1) // 2]
    clipped = np.stack([u * min(1, median / norm) for u, norm in zip(updates, norms, strict=True)])
    parts, start = [], 0
    for count in layers:
        piece = sparse[:, start : start + count]
        magnitude = [np.linalg.norm(row) for row in piece]
        purity = [0.5 * (1 + np.sign(row).sum() / max(np.abs(np.sign(row)).sum(), 1)) for row in piece]
        inside = [
            i
            for i in range(len(updates))
            if abs(magnitude[i] - np.median(magnitude)) <= lengths * np.std(magnitude)
            and abs(purity[i] - np.median(purity)) <= signs * np.std(purity)
        ]
        parts.append(clipped[inside, start : start + count].mean(axis=0))
        start += count
    return np.concatenate(parts)


def nearest_neighbor_mixing(updates: Array, f: int) -> Array:
    """Allouah et al., 2023, Algorithm 2."""
    mixed = []
    for x in updates:
        order = sorted(range(len(updates)), key=lambda j: float(np.sum((updates[j] - x) ** 2)))
        mixed.append(np.mean(updates[order[: len(updates) - f]], axis=0))
    return np.array(mixed)


def adaptive_clipping(updates: Array, f: int) -> Array:
    """Allouah et al., 2025, Algorithm 2."""
    n = len(updates)
    k = int(np.floor(2 * f * (n - f) / n + 1e-9))
    norms = [float(np.linalg.norm(x)) for x in updates]
    bound = sorted(norms, reverse=True)[k]
    return np.array([x * min(1, bound / norm) for x, norm in zip(updates, norms, strict=True)])


def crfl(theta: Array, step: Array, rho: float, noise: Array) -> tuple[Array, Array]:
    """Xie et al., Algorithm 1: the clipped model and the perturbed one after a step."""
    moved = theta - step
    clipped = moved / max(1, np.linalg.norm(moved) / rho)
    return clipped, clipped + noise
