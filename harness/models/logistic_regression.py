"""Multinomial logistic regression over a path of penalties, by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Probe:
    """A linear head, weight (C, D) and bias (C,) in float32, and what chose it."""

    weight: torch.Tensor
    bias: torch.Tensor
    strength: float  # C, the inverse of the penalty
    accuracy: float = 0.0  # of validation


@dataclass(frozen=True)
class Fit:
    """Multinomial logistic regression on features standardised by one mean and one deviation."""

    classes: int
    mean: float
    std: float
    device: str

    def path(
        self,
        z: torch.Tensor,
        labels: np.ndarray,
        strengths: np.ndarray,
        max_iter: int,
        tolerance: float,
        first: np.ndarray | None = None,
    ) -> Iterator[tuple[Probe, np.ndarray]]:
        """For each C the probe of features as they are, and the optimum for standardised ones.

        The optimum is flat, rows of weights with the bias last, and where the search for the next
        C begins. Minimises mean cross-entropy + |W|^2 / (2 C N), the bias free, by L-BFGS. A class
        without images has weight and bias 0.
        """
        from scipy.optimize import minimize

        present, y = np.unique(labels, return_inverse=True)
        x = ((z.double() - self.mean) / self.std).to(self.device)
        targets = torch.from_numpy(y).to(self.device)
        shape = (len(present), z.shape[1] + 1)
        theta = np.zeros(shape).ravel() if first is None else first
        options = {"maxiter": max_iter, "gtol": tolerance, "ftol": 1e-14, "maxls": 50}
        for strength in strengths:
            objective = _objective(x, targets, shape, 1 / (strength * len(y)))
            theta = minimize(objective, theta, method="L-BFGS-B", jac=True, options=options).x
            weight, bias = self._head(theta, shape, present)
            yield Probe(weight, bias, float(strength)), theta

    def _head(
        self, theta: np.ndarray, shape: tuple[int, int], present: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        solved = torch.from_numpy(theta).view(*shape)
        weight = torch.zeros(self.classes, shape[1] - 1)
        bias = torch.zeros(self.classes)
        scaled = solved[:, :-1] / self.std
        weight[present] = scaled.float()
        bias[present] = (solved[:, -1] - self.mean * scaled.sum(1)).float()
        return weight, bias


def _objective(
    x: torch.Tensor, y: torch.Tensor, shape: tuple[int, int], penalty: float
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """theta -> value and gradient."""
    rows = torch.arange(len(y), device=x.device)

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.from_numpy(theta).to(x.device).view(*shape)
        log_p = (x @ w[:, :-1].T + w[:, -1]).log_softmax(1)  # (N, C)
        loss = -log_p[rows, y].mean() + penalty / 2 * w[:, :-1].square().sum()
        residual = log_p.exp_()
        residual[rows, y] -= 1
        residual /= len(y)
        gradient = torch.cat([residual.T @ x + penalty * w[:, :-1], residual.sum(0)[:, None]], 1)
        return float(loss), gradient.cpu().numpy().ravel()

    return value
