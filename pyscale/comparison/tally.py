"""What a run counts beside its similarities, on one process or, added up, on all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Tally:
    """Batches, samples and layers that a run has seen."""

    batches: int = 0  # compared
    skipped: int = 0  # too small
    samples: int = 0
    rows: list[str] = field(default_factory=list)  # model_x's layers in forward order; none before the first batch
    columns: list[str] = field(default_factory=list)
    skipped_layers: dict[str, dict[str, str]] = field(default_factory=dict)  # by model, with the reason
    dtypes: list[str] = field(default_factory=list)
    dealt: dict[str, Any] = field(default_factory=dict)  # what tells whether all processes shared the same minibatches

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
        self.rows, self.columns = self.rows or theirs.rows, self.columns or theirs.columns
        for label, layers in theirs.skipped_layers.items():
            self.skipped_layers[label] = {**layers, **self.skipped_layers.get(label, {})}
        self.dtypes = sorted({*self.dtypes, *theirs.dtypes})
