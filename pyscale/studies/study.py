"""What a scaling study is, as data: a family, its scaled variants, the pictures, and how they are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pyscale.models import Scaling
from pyscale.train import Data

LABELS = {"cka": "CKA", "cca_r2": "CCA (R²)"}
"""The similarities a study can show, each with a known chance level, and what they are called in print."""

BASELINE = "baseline"


@dataclass(frozen=True)
class Variant:
    """One network of a study.

    Args:
        name: Short and unique: it names a folder, a row and a curve. Letters, digits, ``-``, ``_`` and ``.``.
        scaling: Factors on the study's family.
        note: What was done, for a reader: "twice the blocks".
        seed: Of first weights, data order and augmentation; None is the study's.
    """

    name: str
    scaling: Scaling = field(default_factory=Scaling)
    note: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name[0] == "." or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"name must be letters, digits, '-', '_' and '.', not first, got {self.name!r}")
        if not isinstance(self.scaling, Scaling):
            raise TypeError(f"scaling must be a Scaling, got {type(self.scaling).__name__}")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Scaled networks trained alike and compared, layer by layer, with the network they were scaled from.

    Every variant is trained from ``seed``. The baseline is trained once more from each of ``twin_seeds``: how alike two
    networks are that differ in nothing but the seed is the yardstick for every other similarity.

    Args:
        title: Of the report.
        family: A name that :func:`pyscale.models.build` knows.
        variants: The scaled networks, in the order they are shown.
        data: Pictures to train on and, held out, to measure and compare on.
        baseline: Factors that make the baseline of the family.
        image_size: Side in pixels of the family's pictures before scaling; None is the family's own.
        epochs: Passes over the training pictures; None is the recipe's.
        seed: Of first weights, data order and augmentation.
        twin_seeds: Further seeds of the baseline.
        metrics: Which of ``"cka"`` and ``"cca_r2"`` to compute.
        key_layers: Glob patterns of the layers that curves and sentences are about (a residual network's block outputs,
            say); maps and tables show every layer. Empty is all.
        batch_size: Held-out pictures per minibatch of the comparison.
        threads: Of torch, for training, timing and comparing. Results depend on it by rounding.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If names repeat, a metric is unknown, or there is nothing to compare.
    """

    title: str
    family: str
    variants: tuple[Variant, ...]
    data: Data
    baseline: Scaling = field(default_factory=Scaling)
    image_size: int | None = None
    epochs: int | None = None
    seed: int = 0
    twin_seeds: tuple[int, ...] = (1,)
    metrics: tuple[str, ...] = ("cka", "cca_r2")
    key_layers: tuple[str, ...] = ()
    batch_size: int = 45
    threads: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.data, Data):
            raise TypeError(f"data must be a pyscale.train.Data, got {type(self.data).__name__}")
        names = [member.name for member in self.members]
        if len(names) < 2:
            raise ValueError("variants and twin_seeds are both empty: there is nothing to compare the baseline with")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"variants: every network needs a name of its own, got {repeated} more than once")
        if self.seed in self.twin_seeds:
            raise ValueError(f"twin_seeds must differ from seed, got {self.twin_seeds} and {self.seed}")
        if not self.metrics or not set(self.metrics) <= set(LABELS):
            raise ValueError(f"metrics must be some of {tuple(LABELS)}, got {self.metrics!r}")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size < 4:
            raise ValueError(f"batch_size must be at least 4, or unbiased CKA is undefined, got {self.batch_size}")

    @property
    def twins(self) -> tuple[Variant, ...]:
        """The baseline again, from other seeds."""
        note = "the baseline from another seed"
        return tuple(Variant(f"{BASELINE}-seed{seed}", self.baseline, note, seed) for seed in self.twin_seeds)

    @property
    def members(self) -> tuple[Variant, ...]:
        """All networks: the baseline, its twins, the variants."""
        return Variant(BASELINE, self.baseline, "what the others are measured against"), *self.twins, *self.variants

    def seed_of(self, member: Variant) -> int:
        """The seed a member is trained from."""
        return self.seed if member.seed is None else member.seed

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the data by name and size."""
        return {
            "title": self.title,
            "family": self.family,
            "baseline": asdict(self.baseline),
            "variants": [asdict(variant) for variant in self.variants],
            "data": {
                "name": self.data.name,
                "train": len(self.data.labels("train")),
                "test": len(self.data.labels("test")),
                "classes": self.data.num_classes,
                "channels": self.data.channels,
                "image_size": self.data.image_size,
            },
            "image_size": self.image_size,
            "epochs": self.data.recipe.epochs if self.epochs is None else self.epochs,
            "seed": self.seed,
            "twin_seeds": list(self.twin_seeds),
            "metrics": list(self.metrics),
            "key_layers": list(self.key_layers),
            "batch_size": self.batch_size,
            "threads": self.threads,
        }
