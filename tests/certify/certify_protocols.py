"""Protocols for the certificate's tests: small ones that are as bad as the theory allows, and a real one."""

import numpy as np
import torch
from torch import Tensor


def worst_dense(lrs, lipschitz, params, budgets):
    """Distances after every round of the linear protocol Gᵢ = −c Σ θⱼ, poisoned by −ρ e₁."""
    honest, poisoned, distances = np.zeros(params), np.zeros(params), []
    for lr, c, budget in zip(lrs, lipschitz, budgets, strict=True):
        epsilon = np.zeros(params)
        epsilon[0] = -budget
        honest = honest - lr * np.full(params, -c * honest.sum())
        poisoned = poisoned - lr * (np.full(params, -c * poisoned.sum()) + epsilon)
        distances.append(np.abs(poisoned - honest).sum())
    return distances


def worst_sparse(lrs, c, k, budget, gamma):
    """Distances of a (k, γ)-sparse protocol whose two runs move disjoint coordinates, as far as allowed.

    The oracle is Gᵢ(θ) = c (r_t − ‖θ − θᵇ_t‖₁) on the first k coordinates and −c ‖θ − θᵇ_t‖₁ on the other
    k, with θᵇ the unpoisoned run and r_t its distance to the poisoned one: c-coordinatewise Lipschitz.
    The unpoisoned run meets (c r_t, 0), the poisoned one (0, −c r_t − ρ e), and 𝒜 adds γ outwards.
    """
    first, second = np.arange(2 * k) < k, np.arange(2 * k) >= k
    benign, poisoned, distances = np.zeros(2 * k), np.zeros(2 * k), []
    for lr in lrs:
        apart = np.abs(poisoned - benign).sum()

        def oracle(theta, center=benign, apart=apart):
            far = np.abs(theta - center).sum()
            return np.where(first, c * (apart - far), -c * far)

        attacked = oracle(poisoned)
        attacked[k] -= budget
        benign = benign - lr * (oracle(benign) + gamma * np.eye(2 * k)[0])
        poisoned = poisoned - lr * (attacked - gamma * np.eye(2 * k)[k])
        assert (benign[second] == 0).all()
        assert (poisoned[first] == 0).all()
        distances.append(np.abs(poisoned - benign).sum())
    return distances


class SoftmaxRegression:
    """Full-batch softmax regression in float64, on many models at once."""

    def __init__(self, inputs: Tensor, labels: Tensor, classes: int = 10) -> None:
        self.inputs, self.classes = inputs.double(), classes
        self.targets = torch.nn.functional.one_hot(labels, classes).double()
        self.params = classes * inputs.shape[1]

    def gradient(self, params: Tensor) -> Tensor:
        """The mean gradient at each of `[models, params]`."""
        examples, features = self.inputs.shape
        logits = self.inputs @ params.reshape(-1, features).T  # [examples, models · classes]
        logits = logits.view(examples, len(params), self.classes)
        residuals = logits.softmax(-1) - self.targets[:, None]
        return (residuals.view(examples, -1).T @ self.inputs).view(params.shape) / examples


def top_k_rows(matrix: Tensor, k: int) -> Tensor:
    """Each row with all but its k largest magnitudes set to 0."""
    chosen = matrix.abs().topk(k, dim=1).indices
    return torch.zeros_like(matrix).scatter(1, chosen, matrix.gather(1, chosen))


def descend(oracle, lrs, poison, k=None, momentum=0.0, *, stiffness=0.0):
    """Final models and γ of every round, for `poison` `[rounds, models, params]` added to the mean update.

    With k the server is SparseFed, without it the plain mean; both as in the listings.
    `stiffness` is the anchor's, which pulls toward the initial model, 0.
    """
    params = torch.zeros_like(poison[0])
    velocity, error, gammas = torch.zeros_like(params), torch.zeros_like(params), []
    for lr, epsilon in zip(lrs, poison, strict=True):
        update = oracle.gradient(params) + epsilon
        velocity = momentum * velocity + update
        if k is None:
            delta = velocity
        else:
            error = error + velocity
            delta = top_k_rows(error, k)
            error = error - delta
            velocity = velocity.masked_fill(delta != 0, 0.0)
        gammas.append((delta - update).abs().sum(1))
        params = params - lr * (delta + stiffness * params)
    return params, torch.stack(gammas)
