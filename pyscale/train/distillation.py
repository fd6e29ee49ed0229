"""Learning from a trained network's scores beside the labels: the loss, and who teaches."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyscale.train.runs import weights_digest


@dataclass(frozen=True)
class Distillation:
    r"""How much a network learns from a teacher's scores, and how soft these are made.

    With a the network's scores of a picture, b the teacher's, y the label, and :math:`\sigma_T` the softmax of scores
    divided by the temperature T, the loss is

    .. math:: (1 - w)\, H(y, \sigma_1(a)) + w\, T^2\, D_{KL}(\sigma_T(b) \,\|\, \sigma_T(a))

    T² keeps the second term's gradient of the first one's order. The labels' part is smoothed as the recipe says.

    Args:
        weight: w, in [0, 1].
        temperature: T, above 0; the higher, the more the teacher's wrong classes count.

    Raises:
        ValueError: If a number is out of its range.

    References:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015 (arXiv 1503.02531), section 2.
    """

    weight: float = 0.9
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {self.weight!r}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and above 0, got {self.temperature!r}")


class Teacher:
    """A copy of a trained network that stays as it is.

    Args:
        network: Maps pictures to scores as the network that learns does; it is left alone.
        distillation: How much it counts.
    """

    def __init__(self, network: nn.Module, distillation: Distillation) -> None:
        self.distillation = distillation
        self._network = copy.deepcopy(network).eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Move to the device where training runs."""
        self._network.to(device)

    def scores(self, images: Tensor) -> Tensor:
        """Map (b, channels, height, width) to (b, classes), without a gradient."""
        with torch.no_grad():
            scores: Tensor = self._network(images)
        return scores

    def blended(self, loss: Tensor, images: Tensor, scores: Tensor) -> Tensor:
        """The loss of :class:`Distillation`: labels' part and teacher's part, a mean over the batch.

        Args:
            loss: () of the labels.
            images: (b, channels, height, width) that were scored.
            scores: (b, classes) of the network that learns.
        """
        weight, temperature = self.distillation.weight, self.distillation.temperature
        taught = functional.log_softmax(self.scores(images) / temperature, 1)
        learned = functional.log_softmax(scores / temperature, 1)
        divergence = functional.kl_div(learned, taught, reduction="batchmean", log_target=True)
        return (1 - weight) * loss + weight * temperature**2 * divergence

    def config(self) -> dict[str, Any]:
        """What decides the outcome of a run: the numbers and a short name for exactly these weights."""
        return {"teacher": weights_digest(self._network), "distillation": asdict(self.distillation)}
