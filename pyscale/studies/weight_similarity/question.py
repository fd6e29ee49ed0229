"""Which layers' weights a study compares, of which networks and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pyscale.comparison.weight_matrices import Rows

WEIGHT_LABELS = {"cka": "CKA", "cka_biased": "biased CKA", "cca_r2": "CCA (R²)"}
"""The similarities of weights, each with a known chance level, and what they are called in print."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A layer that all networks have under one name.

    Args:
        name: What it is called in print, such as ``"stem"``.
        layer: Its name, as in ``named_modules()``.
        rows: ``"inputs"`` or ``"outputs"``: what the rows of its weights stand for, and what two networks must have in
            common there (:func:`pyscale.compare_weights`). A stem has the colours' kernel positions in common
            (``"inputs"``), a classifier the classes (``"outputs"``).

    Raises:
        ValueError: If ``rows`` is neither.
    """

    name: str
    layer: str
    rows: Rows = "inputs"

    def __post_init__(self) -> None:
        if self.rows not in get_args(Rows):
            raise ValueError(f"rows must be one of {get_args(Rows)}, got {self.rows!r}")


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """A network as published, with a checkpoint or untrained.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        weights: A checkpoint file; None is untrained.
        name: In tables; empty is the family's.
    """

    family: str
    weights: str | None = None
    name: str = ""

    @property
    def title(self) -> str:
        """What it is called in print."""
        return self.name or self.family


@dataclass(frozen=True, kw_only=True)
class WeightSimilarity:
    """Weights of some layers of one network beside those of others.

    Untrained networks are drawn from the study's seed and those after it, one each: two networks from one seed would
    begin with the same numbers, and their first layers be alike for that reason alone.

    Args:
        parts: The layers.
        baseline: A network to set the others beside; None, with no ``others``, is the study's own baseline beside all
            other networks of the study, trained as they are.
        others: Networks with a name.
        metrics: Of ``"cka"`` (unbiased), ``"cka_biased"`` and ``"cca_r2"``.

    Raises:
        ValueError: If there is nothing to compare, names repeat, or a metric is unknown.
    """

    parts: tuple[Part, ...]
    baseline: NamedNetwork | None = None
    others: tuple[NamedNetwork, ...] = ()
    metrics: tuple[str, ...] = tuple(WEIGHT_LABELS)

    def __post_init__(self) -> None:
        _check_names("parts", [part.name for part in self.parts])
        if (self.baseline is None) != (not self.others):
            raise ValueError("baseline and others go together: give both, or neither for the study's own networks")
        if self.baseline is not None:
            _check_names("others", [network.title for network in self.networks])
        if not self.metrics or not set(self.metrics) <= set(WEIGHT_LABELS):
            raise ValueError(f"metrics must be some of {tuple(WEIGHT_LABELS)}, got {self.metrics!r}")

    @property
    def networks(self) -> tuple[NamedNetwork, ...]:
        """Those with a name, the baseline first; none where the study's own are compared."""
        return () if self.baseline is None else (self.baseline, *self.others)


def _check_names(argument: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{argument}: expected some, every one with a name of its own, got {list(names)}")
