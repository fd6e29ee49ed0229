"""What a run counts beside its similarities, on one process or, added up, on all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pyscale.comparison.replaying import ReplayedSide
from pyscale.comparison.sides import Side
from pyscale.distributed import Dealt


@dataclass
class Tally:
    """Batches, samples and layers that a run has seen."""

    batches: int = 0  # compared
    skipped: int = 0  # too small
    samples: int = 0
    rows: list[list[str]] = field(default_factory=list)  # of each model the layers, in forward order
    skipped_layers: list[dict[str, str]] = field(default_factory=list)  # of each model, with the reason
    dtypes: list[list[str]] = field(default_factory=list)  # of each model
    dealt: dict[str, Any] = field(default_factory=dict)  # what tells whether all processes shared the same minibatches

    def see(self, sides: Sequence[Side | ReplayedSide], loaders: Iterable[Dealt]) -> None:
        """Note what the models' taps and the loaders know once all batches have been seen."""
        self.rows = [list(side.rows) for side in sides]
        self.skipped_layers = [dict(side.skipped) for side in sides]
        self.dtypes = [sorted(side.dtypes) for side in sides]
        self.dealt = {name: value for dealt in loaders for name, value in dealt.fingerprint().items()}

    def state(self) -> dict[str, Any]:
        """Return the tally as plain values."""
        return asdict(self)

    def add(self, state: dict[str, Any]) -> None:
        """Add another process's, as its :meth:`state` has it.

        Raises:
            ValueError: It shared out other minibatches.
        """
        theirs = Tally(**state)
        for name in self.dealt:
            if self.dealt[name] != theirs.dealt.get(name):
                raise ValueError(
                    f"the {name} differ between processes ({self.dealt[name]} and {theirs.dealt.get(name)}): every "
                    f"process has to get the same minibatches in the same order, of which each then takes its share; "
                    f"where each loader gives another share already, pass sharding='own'"
                )
        self.batches += theirs.batches
        self.skipped += theirs.skipped
        self.samples += theirs.samples
        self.rows = [mine or other for mine, other in zip(self.rows, theirs.rows, strict=True)]
        self.skipped_layers = [
            {**other, **mine} for mine, other in zip(self.skipped_layers, theirs.skipped_layers, strict=True)
        ]
        self.dtypes = [sorted({*mine, *other}) for mine, other in zip(self.dtypes, theirs.dtypes, strict=True)]
