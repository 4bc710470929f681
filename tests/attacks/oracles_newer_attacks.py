"""Attacks published after the paper's, transliterated from their listings into NumPy, slow and literal."""

from collections.abc import Callable
from math import erf, sqrt

import numpy as np

Array = np.ndarray


def little_is_enough(benign: Array, z: float) -> Array:
    """Baruch et al., Algorithm 3, lines 4–7."""
    return np.array([np.mean(column) - z * np.std(column) for column in benign.T])


def z_max(n: int, m: int) -> float:
    """Baruch et al., Equation 3, by bisection on the cumulative normal."""
    s = n // 2 + 1 - m
    wanted, low, high = (n - m - s) / (n - m), -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + erf(middle / sqrt(2))) / 2 < wanted else (low, middle)
    return low


def largest(allowed: Callable[[float], bool]) -> float:
    """Shejwalkar and Houmansadr, Algorithm 1: halved steps toward the largest γ that is allowed."""
    gamma, step, success = 1e3, 500.0, 0.0
    while step > 1e-10:
        if allowed(gamma):
            success = gamma
            gamma += step
        else:
            gamma -= step
        step /= 2
    return success


def min_max(benign: Array, p: Array) -> Array:
    """Their Equation 5."""
    mean = benign.mean(axis=0)
    bound = max(np.linalg.norm(a - b) for a in benign for b in benign)
    gamma = largest(lambda g: max(np.linalg.norm(mean + g * p - u) for u in benign) <= bound)
    return mean + gamma * p


def min_sum(benign: Array, p: Array) -> Array:
    """Their Equation 6."""
    mean = benign.mean(axis=0)
    bound = max(sum(np.sum((a - b) ** 2) for b in benign) for a in benign)
    gamma = largest(lambda g: sum(np.sum((mean + g * p - u) ** 2) for u in benign) <= bound)
    return mean + gamma * p


def poisoned_fl(history: Array, sent: Array, signs: Array, c: float) -> Array:
    """Xie et al., Equations 4 to 6: magnitudes from the movement that is not the attackers', times c‖g‖."""
    length = np.linalg.norm(history)
    rest = np.abs(history - sent * length / np.linalg.norm(sent))
    return c * length * rest / np.linalg.norm(rest) * signs


def supervised_contrast(rows: Array, labels: Array, tau: float) -> float:
    """Khosla et al., 2020, Equation 2, averaged over anchors that have a positive."""
    z = [row / np.linalg.norm(row) for row in rows]
    losses = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if positives:
            total = sum(np.exp(z[i] @ z[a] / tau) for a in range(len(z)) if a != i)
            losses.append(-np.mean([np.log(np.exp(z[i] @ z[p] / tau) / total) for p in positives]))
    return float(np.mean(losses))
