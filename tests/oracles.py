"""The pseudo-code of the paper, transliterated line by line into NumPy, as slow and literal as it reads.

Nothing here imports the project: these are the reference that the project is compared with.
"""

from itertools import pairwise

import numpy as np


def sparsefed_round(theta, R, W, updates, *, L, k, rho, lam):
    """One round of Algorithm 5 with momentum factor masking, in the resolution of docs/deviations.md."""
    clipped = [u * min(1.0, L / np.sqrt(np.sum(u * u))) for u in updates]
    u_t = sum(clipped) / len(clipped)
    R = rho * R + u_t
    W = W + R
    S = np.argsort(-np.abs(W), kind="stable")[:k]
    Delta = np.zeros_like(W)
    Delta[S] = W[S]
    W = W - Delta
    R = R.copy()
    R[S] = 0.0
    return theta - lam * Delta, R, W


def paper_repository_round(theta, R, W, gradients, *, L, k, rho, lam):
    """One round as the paper's own repository computes it: λ multiplies the clipped gradients."""
    sent = [lam * g * min(1.0, L / np.sqrt(np.sum(g * g))) for g in gradients]
    R = rho * R + sum(sent) / len(sent)
    W = W + R
    S = np.argsort(-np.abs(W), kind="stable")[:k]
    delta = np.zeros_like(W)
    delta[S] = W[S]
    W, R = W - delta, R.copy()
    R[S] = 0.0
    return theta - delta, R, W


def fedavg_round(theta, R, updates, *, L, rho, lam):
    """One round of Algorithm 4 with the sign of an update that descends."""
    clipped = [u * min(1.0, L / np.sqrt(np.sum(u * u))) for u in updates]
    u_t = sum(clipped) / len(clipped)
    R = rho * R + u_t
    return theta - lam * R, R


def mlp_gradient(theta, x, y, widths):
    """Gradient of the mean cross entropy of a ReLU network; theta = [W1, b1, W2, b2, …] flattened."""
    layers, start = [], 0
    for fan_in, fan_out in pairwise(widths):
        weight = theta[start : start + fan_in * fan_out].reshape(fan_out, fan_in)
        start += fan_in * fan_out
        layers.append((weight, theta[start : start + fan_out]))
        start += fan_out
    activations = [x.reshape(len(x), -1)]
    for i, (weight, bias) in enumerate(layers):
        z = activations[-1] @ weight.T + bias
        activations.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
    logits = activations[-1]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    delta = p.copy()
    delta[np.arange(len(y)), y] -= 1.0
    delta /= len(y)
    pieces = []
    for i in reversed(range(len(layers))):
        pieces[:0] = [(delta.T @ activations[i]).reshape(-1), delta.sum(axis=0)]
        if i > 0:
            delta = (delta @ layers[i][0]) * (activations[i] > 0)
    return np.concatenate(pieces)


def local_training(theta, x, y, widths, *, gamma, batches):
    """The client's loop of Algorithm 4; `batches` lists the example positions of every local step."""
    local = theta.copy()
    for batch in batches:
        local = local - gamma * mlp_gradient(local, x[batch], y[batch], widths)
    return theta - local
