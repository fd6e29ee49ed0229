"""Samples that arrive at the moments of layers: all that may fail is done first, and then all is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from pyscale.metrics.moments import Addition, Moments
from pyscale.metrics.row_buffer import ENOUGH_ROWS, RowBuffer, copied


@dataclass(frozen=True)
class Joining:
    """Samples of a layer that are to join its own moments and then those of its pairs."""

    addition: Addition
    counts: tuple[int, ...]  # rows in each minibatch: those of layers that have the same samples are equal

    @property
    def features(self) -> int:
        """Features of the layer."""
        return self.addition.x.shape[1]


class Arrival(NamedTuple):
    """Samples of some layers, by place, of which nothing is written yet."""

    new: dict[int, Moments]  # of no samples, for layers seen for the first time
    held: dict[int, Tensor]  # copies of samples too few to be added
    joining: dict[int, Joining]  # those of the other layers

    @classmethod
    def of(cls, layers: Mapping[int, Tensor], seen: Mapping[int, Moments], held: RowBuffer) -> Arrival:
        """Return a minibatch that arrives where layers have moments, but for new ones, and some may hold samples.

        Samples are to be held where there are few of them, or others that came before.
        """
        arrival = cls({}, {}, {})
        for place, x in layers.items():
            if place not in seen:
                arrival.new[place] = Moments.empty(x.shape[1], x.device)
            if len(x) < ENOUGH_ROWS or held.counts(place):
                arrival.held[place] = copied(x)
            else:
                moments = seen.get(place) or arrival.new[place]
                arrival.joining[place] = Joining(moments.adding(x), (len(x),))
        return arrival

    @classmethod
    def of_held(cls, seen: Mapping[int, Moments], held: RowBuffer) -> Arrival:
        """Return all that is held, which goes on being held."""
        return cls({}, {}, {i: Joining(seen[i].adding(*held.samples(i)), held.counts(i)) for i in held.places})

    def write(self, seen: dict[int, Moments], held: RowBuffer) -> None:
        """Add the samples to what is held, and to layers' own moments."""
        seen.update(self.new)
        for place, piece in self.held.items():
            held.hold(place, piece)
        for place, joining in self.joining.items():
            seen[place].join_(joining.addition)
