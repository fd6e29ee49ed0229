"""Whether a similarity finds, for a layer of one network, the same layer of another trained from another seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pyscale.comparison.features import Features, features_for_moments
from pyscale.comparison.hooks import Tap
from pyscale.comparison.layers import Layers, select_layers
from pyscale.comparison.state import left_as_found
from pyscale.studies.matching.directions import Tables
from pyscale.studies.matching.tables import METRICS, similarity_tables
from pyscale.train import Accuracy, Data
from pyscale.train.evaluation import at_model_resolution, model_device

_TIE = 1e-9  # relative; more than rounding puts between similarities that are equal


@dataclass(frozen=True)
class Matches:
    """How often one similarity found the corresponding layer.

    Attributes:
        found: Of each layer, in how many ordered pairs of networks.
        tied: In how many of all trials the corresponding layer was as similar as the best of the others; not found.
        pairs: Ordered pairs of networks.
        on_average: Whether each layer is found in the mean of all pairs' tables, where what single networks have of
            their own cancels.
    """

    found: tuple[int, ...]
    tied: int
    pairs: int
    on_average: tuple[bool, ...]

    @property
    def trials(self) -> int:
        """Searches made: one for every layer of every ordered pair."""
        return self.pairs * len(self.found)

    @property
    def accuracy(self) -> Accuracy:
        """The share found, with the 95 % Wilson interval of as many independent trials.

        They are not quite: every network is in many pairs, so the interval is somewhat too narrow.
        """
        return Accuracy(sum(self.found), self.trials)


@dataclass(frozen=True)
class LayerMatching:
    """The outcome of :func:`match_layers`.

    Attributes:
        matches: By measure, as :data:`pyscale.studies.matching.tables.METRICS` names them.
        layers: Names of the layers that were told apart, in forward order.
        networks: How many networks.
        samples: Held-out pictures they were compared on.
        features: "flatten", all activations of a picture; "pool", the means of channels.
        notes: What there was to warn of, such as too few samples for CCA.
    """

    matches: Mapping[str, Matches]
    layers: tuple[str, ...]
    networks: int
    samples: int
    features: str
    notes: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """What a choice at random would find."""
        return 1 / len(self.layers)


def match_layers(
    networks: Sequence[nn.Module],
    data: Data,
    *,
    layers: Layers = None,
    features: Features = "flatten",
    measures: Sequence[str] = METRICS,
) -> LayerMatching:
    r"""Search for the layers of each network in every other, by every measure, and count how often they are found.

    For every ordered pair of networks and every layer of the first, the layer of the second that is most similar
    should be the one in the same place. Similarities that are not symmetric are made so first, as published: with
    S the table (layers, layers) of one pair and R that of the pair turned round, S + Rᵀ. A layer counts as found if it
    is more similar than every other; where another is equally similar (as where samples are so few that all
    correlations are 1) nothing was found. The logits are no layer of this search: leave them out of ``layers``.

    Every network is run once, on the device it is on, where its similarities are computed too. All its activations of
    the held-out pictures are held in memory, of one network at a time; of every layer of all, a Gram (n, n) in float64
    for each kernel and estimator, and the directions (p, n at most) that canonical correlations take.

    Args:
        networks: At least two of one architecture, trained from different seeds.
        data: The test split is used, in its own order, at each network's resolution.
        layers: As for :func:`pyscale.compare`; at least two.
        features: "flatten", or "pool", which is another representation: the mean of each channel.
        measures: Which of :data:`pyscale.studies.matching.tables.METRICS`.

    Returns:
        The counts, by measure.

    Raises:
        ValueError: If there are fewer than two networks or layers, they have different layers, or a measure is unknown.

    References:
        Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited", 2019, section 6.1
        and table 2.
    """
    if len(networks) < 2:
        raise ValueError(f"networks: expected at least two, got {len(networks)}")
    if features not in ("flatten", "pool"):
        raise ValueError(f'features: expected "flatten" or "pool", got {features!r}')
    names: list[str] = []
    tables, notes = similarity_tables(_read(networks, data, layers, features, names), measures)
    matches = {name: count_matches(table) for name, table in tables.items()}
    samples = len(data.labels("test"))
    return LayerMatching(matches, tuple(names), len(networks), samples, features, notes)


def count_matches(tables: Tables) -> Matches:
    """Count the layers that are found, see :func:`match_layers`.

    Args:
        tables: (networks, networks, layers, layers); what a network has with itself is not looked at. A layer without
            similarities (NaN) is not found.

    Returns:
        The counts.
    """
    count = len(tables)
    summed = (tables + tables.transpose(1, 0, 3, 2))[~np.eye(count, dtype=bool)]  # (pairs, layers, layers)
    apart, slack = _apart(summed)
    mean_apart, mean_slack = _apart(summed.mean(axis=0))
    return Matches(
        found=tuple(int(layer) for layer in (apart > slack).sum(axis=0)),
        tied=int((np.abs(apart) <= slack).sum()),
        pairs=len(summed),
        on_average=tuple(bool(layer) for layer in mean_apart > mean_slack),
    )


def _apart(tables: Tables) -> tuple[Tables, Tables]:
    """Return how far each layer's own similarity is above the best of the others, (..., layers), and what is a tie."""
    others = np.where(np.eye(tables.shape[-1], dtype=bool) | np.isnan(tables), -np.inf, tables).max(axis=-1)
    own: Tables = np.diagonal(tables, axis1=-2, axis2=-1)
    return own - others, _TIE * np.abs(own)


def _read(
    networks: Sequence[nn.Module], data: Data, layers: Layers, features: Features, names: list[str]
) -> Iterator[list[Tensor]]:
    """Yield (n, p) of every layer, network by network; ``names`` becomes those of the layers."""
    for k, network in enumerate(networks):
        activations = _activations(network, data, layers, features)
        if k == 0:
            names.extend(activations)
            if len(names) < 2:
                raise ValueError(f"layers: expected at least two to tell apart, got {names}")
        if list(activations) != names:
            raise ValueError(f"networks[{k}] has the layers {list(activations)}; networks[0] has {names}")
        yield list(activations.values())


def _activations(network: nn.Module, data: Data, layers: Layers, features: Features) -> dict[str, Tensor]:
    """Return (n, p) of every layer, on the network's device, from one pass over the held-out pictures."""
    parts: dict[str, list[Tensor]] = {}

    def keep(row: str, activation: Tensor) -> None:
        parts.setdefault(row, []).append(features_for_moments(activation, features).clone())

    selection, device = select_layers(network, layers), model_device(network)
    with left_as_found(network), Tap("networks", selection) as tap:
        for batch, (images, _) in enumerate(at_model_resolution(network, data).loader("test", device=device)):
            with tap.recording(keep, batch, len(images)):
                network(images.to(device))
    return {row: torch.cat(parts.pop(row)) for row in tap.rows}
