"""The attacks' pseudo-code transliterated into NumPy, as slow and literal as it reads."""

import numpy as np


def clip_to(v, L):
    return v * min(1.0, L / max(np.sqrt(np.sum(v * v)), 1e-300))


def algorithm_6(theta, gradient, batches, *, eta, L, keep=None):
    """Algorithm 6 in the resolution of docs/deviations.md; with `keep`, line 5 of Algorithm 12."""
    M_0 = theta.copy()
    M = theta.copy()
    for B in batches:
        g = gradient(M, B)
        M_hat = M - eta * g
        if keep is not None:
            M_hat = M_0 + np.where(keep, M_hat - M_0, 0.0)
        M = M_0 + clip_to(M_hat - M_0, L)
    u = M_0 - M
    return u * (L / np.sqrt(np.sum(u * u)))


def alternating(theta, attack, clean, honest, batches, *, eta, boost, weight, L):
    """Bhagoji et al., Section 3.4: a boosted step on the targets, then a step of the stealth loss."""
    M = theta.copy()
    for B in batches:
        M = M - eta * boost * attack(M, B)
        M = M - eta * (clean(M) + 2 * weight * (M - (theta - honest)))
        M = theta + clip_to(M - theta, L)
    return clip_to(theta - M, L)


def fang_interval(rows, b):
    """Per coordinate, where an upload against trimmed mean or median must lie (updates point uphill)."""
    lows, highs = [], []
    for column in rows.T:
        if column.mean() > 0:  # the honest step lowers θ: send less than anyone
            w = column.min()
            lows.append(w * b if w < 0 else w / b)
            highs.append(w)
        else:
            w = column.max()
            lows.append(w)
            highs.append(w * b if w > 0 else w / b)
    return np.array(lows), np.array(highs)


def krum_choice(rows, f):
    """The position that Krum selects, with squared distances to the n − f − 2 nearest others."""
    n = len(rows)
    scores = []
    for i in range(n):
        d = sorted(np.sum((rows[i] - rows[j]) ** 2) for j in range(n) if j != i)
        scores.append(sum(d[: max(n - f - 2, 1)]))
    return int(np.argmin(scores))
