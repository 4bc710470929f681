"""Min-Max and Min-Sum: as far as the honest updates' own distances allow (Shejwalkar, Houmansadr, NDSS 2021).

The largest multiple is found in closed form; the paper halves steps toward it.
"""

from abc import abstractmethod

import torch

from sparsefed.attacks.methods.deviation import Deviation, spread_of
from sparsefed.attacks.view import View
from sparsefed.core.spec import Spec
from sparsefed.core.types import PerClient, Vector
from sparsefed.protocol.updates import Updates

__all__ = ["InverseSign", "InverseStd", "InverseUnit", "MinMax", "MinSum", "Perturbation"]


class Perturbation(Spec, family=True):
    """The direction of a Min-Max or Min-Sum attack."""

    @abstractmethod
    def of(self, honest: Updates) -> Vector:
        """∇p, of any length."""


class InverseUnit(Perturbation):
    """Against the honest mean."""

    def of(self, honest: Updates) -> Vector:
        return -honest.mean()


class InverseSign(Perturbation):
    """Against the sign of the honest mean."""

    def of(self, honest: Updates) -> Vector:
        return -honest.mean().sign()


class InverseStd(Perturbation):
    """Minus the standard deviation of every coordinate, what the paper finds strongest."""

    def of(self, honest: Updates) -> Vector:
        return -spread_of(honest)


class MinMax(Deviation):
    """The largest γ for which no honest update is farther from μ + γ∇p than two honest ones are apart."""

    perturbation: Perturbation = InverseStd()
    """∇p, the direction."""

    def direction(self, honest: Updates) -> Vector:
        return self.perturbation.of(honest)

    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        """‖μ + γp − uᵢ‖² ≤ D² is a quadratic in γ for each i; the least of their larger roots."""
        a = float(direction.double().square().sum())
        if a == 0:
            return 0.0
        b, squares = _from_mean(honest, direction.double())
        c = squares - honest.squared_distances().max().to(squares)
        roots = (-b + (b.square() - a * c).clamp(min=0).sqrt()) / a
        return max(float(roots.min()), 0.0)


class MinSum(MinMax):
    """The largest γ for which μ + γ∇p has no larger sum of squared distances than some honest update has."""

    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        """Σ‖μ + γp − uᵢ‖² = hγ²‖p‖² + Σ‖μ − uᵢ‖², of h honest updates."""
        a = honest.count * float(direction.double().square().sum())
        most = float(honest.squared_distances().sum(dim=1).max())
        spread = float(_from_mean(honest, direction.double())[1].sum())
        return (max(most - spread, 0.0) / a) ** 0.5 if a > 0 else 0.0


def _from_mean(honest: Updates, direction: Vector) -> tuple[PerClient, PerClient]:
    """(μ − uᵢ) · p and ‖μ − uᵢ‖² of every client, in float64 without a matrix of that type."""
    mean = honest.mean().double()
    away = (mean - row for row in honest.rows())
    found = torch.stack([torch.stack((each @ direction, each @ each)) for each in away])
    return found[:, 0], found[:, 1]
