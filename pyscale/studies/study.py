"""What a scaling study is, as data: a family, its scaled variants, the pictures, and how they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pyscale.models import Scaling
from pyscale.studies.budgets import Compression
from pyscale.studies.equal_budget.question import EqualBudgets
from pyscale.studies.sources import Source
from pyscale.studies.sweeps import Costs
from pyscale.studies.weight_similarity.question import WeightSimilarity
from pyscale.train import Data
from pyscale.train.loggers import LoggerName

LABELS = {"cka": "CKA", "cca_r2": "CCA (R²)"}
"""The similarities a study can show, each with a known chance level, and what they are called in print."""

BASELINE = "baseline"

Pairs = Literal["baseline", "all"]


class StudyError(ValueError):
    """Parts of a study that do not fit together.

    Attributes:
        places: Where in a study's file that is, best first: keys and indices from the outside in.
    """

    def __init__(self, message: str, *places: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.places = places


@dataclass(frozen=True)
class Variant:
    """One network of a study.

    Args:
        name: Short and unique: it names a folder, a row and a curve. Letters, digits, ``-``, ``_`` and ``.``.
        scaling: Factors on the study's family.
        note: What was done, for a reader: "twice the blocks".
        seed: Of first weights, data order and augmentation; None is the study's. A compressed network is made of the
            baseline from this seed, which must be the study's or one of its twins'.
        compression: Makes the network of the trained baseline, instead of training it; its scaling is the baseline's.
        weights: A checkpoint file with the network's weights, as :func:`pyscale.models.build` takes it; nothing is
            trained, the network is only evaluated and compared.
    """

    name: str
    scaling: Scaling = field(default_factory=Scaling)
    note: str = ""
    seed: int | None = None
    compression: Compression | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and self.compression is not None:
            raise ValueError("weights: a compressed network is made of the baseline's; leave them out")
        if not self.name or self.name[0] == "." or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"name must be letters, digits, '-', '_' and '.', not first, got {self.name!r}")
        if not isinstance(self.scaling, Scaling):
            raise TypeError(f"scaling must be a Scaling, got {type(self.scaling).__name__}")
        if self.compression is not None and self.scaling != Scaling():
            raise ValueError("scaling: a compressed network has the baseline's; leave it out")

    @property
    def kind(self) -> str:
        """``"scaled"``, or how it is compressed: ``"weights"``, ``"channels"`` or ``"deep"``."""
        return "scaled" if self.compression is None else self.compression.kind


@dataclass(frozen=True, kw_only=True)
class Study:
    """Scaled and compressed networks compared, layer by layer, with the network they were made from.

    Every variant is trained from ``seed``. The baseline is trained once more from each of ``twin_seeds``: how alike two
    networks are that differ in nothing but the seed is the yardstick for every other similarity.

    Args:
        title: Of the report.
        family: A name that :func:`pyscale.models.build` knows.
        variants: The scaled and compressed networks, in the order they are shown.
        data: Pictures to train on and, held out, to measure and compare on.
        baseline: Factors that make the baseline of the family.
        image_size: Side in pixels of the family's pictures before scaling; None is the family's own.
        epochs: Passes over the training pictures; None is the recipe's.
        seed: Of first weights, data order and augmentation.
        twin_seeds: Further seeds of the baseline.
        metrics: Which of ``"cka"`` and ``"cca_r2"`` to compute.
        key_layers: Glob patterns of the layers that curves and sentences are about (a residual network's block outputs,
            say); maps and tables show every layer. Empty is all.
        cca_layers: Layers that CCA is computed of, as :func:`pyscale.compare` takes them; empty is all. CCA says
            something only of layers with far fewer channels than there are held-out pictures, and takes longest.
        pairs: Which networks are compared: ``"baseline"``, each with the baseline; ``"all"``, each with each other, so
            that the overview is a full matrix. The work grows with the square of the networks' number.
        batch_size: Held-out pictures per minibatch of the comparison.
        threads: Of torch, for training, timing and comparing. Results depend on it by rounding.
        name: Of the folder that the study gets inside ``out``; empty writes into ``out`` itself.
        recipe: Fields of the data's :class:`pyscale.train.Recipe` to change.
        source: Where ``data`` came from; what :meth:`to_yaml` writes.
        equal_budget: Ways to a cheaper network to set side by side at equal budgets; None asks nothing.
        costs: Networks to count without training them; None counts none.
        weights: A checkpoint file of the baseline, which is then not trained. It has no twins.
        logger: ``"csv"`` or ``"tensorboard"``, or both: what every training writes into ``runs/<name>/logs`` epoch by
            epoch. Trainings that are taken up finished write nothing.
        compare_weights: Layers whose weights are compared from network to network; None compares none.

    Raises:
        TypeError: If an argument has the wrong type.
        StudyError: If names repeat, a metric is unknown, or there is nothing to compare.
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
    cca_layers: tuple[str, ...] = ()
    pairs: Pairs = "baseline"
    batch_size: int = 45
    threads: int = 1
    name: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None
    equal_budget: EqualBudgets | None = None
    costs: Costs | None = None
    weights: str | None = None
    logger: tuple[LoggerName, ...] = ()
    compare_weights: WeightSimilarity | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, Data):
            raise TypeError(f"data must be a pyscale.train.Data, got {type(self.data).__name__}")
        if self.name:
            try:
                Variant(self.name)  # as fit for a folder as a variant's
            except ValueError as error:
                raise StudyError(str(error), ("name",)) from error
        self._check_names()
        self._check_weights()
        self._check_options()

    def _check_names(self) -> None:
        members = self.members
        names = [member.name for member in members]
        if len(names) < 2:
            raise StudyError(
                "variants and twin_seeds are both empty: there is nothing to compare the baseline with",
                ("variants",),
                ("twin_seeds",),
            )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if self.seed in self.twin_seeds or len(set(self.twin_seeds)) < len(self.twin_seeds):
            raise StudyError(
                f"twin_seeds must differ from seed and from one another, got {self.twin_seeds} and {self.seed}",
                ("twin_seeds",),
                ("seed",),
            )
        first = len(members) - len(self.variants)
        for index, variant in enumerate(self.variants):
            if variant.name in names[: first + index]:
                raise StudyError(
                    f"variants: every network needs a name of its own, got {repeated} more than once",
                    ("variants", index, "name"),
                )
            if variant.compression is not None and self.seed_of(variant) not in (self.seed, *self.twin_seeds):
                raise StudyError(
                    f"variants: {variant.name} is made of the baseline from seed {variant.seed}, which is not trained; "
                    f"there are {self.seed} and twin_seeds {self.twin_seeds}",
                    ("variants", index, "seed"),
                )

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        if self.twin_seeds:
            raise StudyError(
                f"twin_seeds: a baseline with weights is not trained, so there is no other seed of it; expected none, "
                f"got {self.twin_seeds}",
                ("twin_seeds",),
                ("weights",),
            )
        if self.equal_budget is not None:
            raise StudyError(
                "equal_budget: networks are trained alike there, which a baseline with weights is not",
                ("equal_budget",),
            )

    def _check_options(self) -> None:
        if "epochs" in self.recipe:
            raise StudyError("recipe: epochs are the study's; set epochs", ("recipe", "epochs"))
        self.data.recipe.but(**self.recipe)
        if not self.metrics or not set(self.metrics) <= set(LABELS):
            raise StudyError(f"metrics must be some of {tuple(LABELS)}, got {self.metrics!r}", ("metrics",))
        for each in self.logger:
            if each not in get_args(LoggerName):
                raise StudyError(f"logger must be some of {get_args(LoggerName)}, got {self.logger!r}", ("logger",))
        if self.pairs not in get_args(Pairs):
            raise StudyError(f"pairs must be one of {get_args(Pairs)}, got {self.pairs!r}", ("pairs",))
        for name, least in (("batch_size", 4), ("threads", 1)):
            if getattr(self, name) < least:
                why = ", or unbiased CKA is undefined" if name == "batch_size" else ""
                raise StudyError(f"{name} must be at least {least}{why}, got {getattr(self, name)}", (name,))

    @property
    def twins(self) -> tuple[Variant, ...]:
        """The baseline again, from other seeds."""
        note = "the baseline from another seed"
        return tuple(Variant(f"{BASELINE}-seed{seed}", self.baseline, note, seed) for seed in self.twin_seeds)

    @property
    def members(self) -> tuple[Variant, ...]:
        """All networks: the baseline, its twins, the variants."""
        note = "what the others are measured against"
        return Variant(BASELINE, self.baseline, note, weights=self.weights), *self.twins, *self.variants

    def seed_of(self, member: Variant) -> int:
        """The seed a member is trained from."""
        return self.seed if member.seed is None else member.seed

    def layers_for(self, metric: str) -> list[str] | None:
        """Layers that a similarity is computed of; None is all."""
        return list(self.cca_layers) if metric == "cca_r2" and self.cca_layers else None

    def original_of(self, member: Variant) -> Variant:
        """The baseline or twin from a member's seed: what a compressed network is made of."""
        seed = self.seed_of(member)
        return next(original for original in self.members if self.seed_of(original) == seed)

    def scaling_of(self, member: Variant) -> Scaling:
        """The factors on the family that a member is built with."""
        return member.scaling if member.compression is None else self.baseline

    @classmethod
    def from_yaml(cls, path: str | Path) -> Study:
        """Read a study from a YAML file, and its pictures from where the file says.

        Args:
            path: The file; :mod:`pyscale.studies.documents.reading` says what may stand in it. It names the study.

        Returns:
            The study.

        Raises:
            FileNotFoundError: If the file is not there.
            ValueError: If something in it is wrong, or pictures or checkpoints that it names are not there: file, line
                and key are named.
            ImportError: If the ``study`` extra is not installed.
        """
        study: Study = _documents().read_study(path)
        return study

    def to_yaml(self) -> str:
        """The study as the text of a file that :meth:`from_yaml` reads back.

        Raises:
            ValueError: If there is no ``source``: pictures in memory have no name in a file.
            ImportError: If the ``study`` extra is not installed.
        """
        return str(_documents().write_study(self))

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
            "cca_layers": list(self.cca_layers),
            "weights": self.weights,
            "pairs": self.pairs,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "logger": list(self.logger),
            "recipe": dict(self.recipe),
            "source": None if self.source is None else self.source.to_dict(),
            "equal_budget": None if self.equal_budget is None else asdict(self.equal_budget),
            "compare_weights": None if self.compare_weights is None else asdict(self.compare_weights),
        }


def _documents() -> Any:
    """The module that reads and writes files, whose libraries are needed for that alone."""
    try:
        from pyscale.studies.documents import reading
    except ModuleNotFoundError as error:
        if error.name not in ("yaml", "pydantic"):
            raise
        raise ImportError(f"{error.name} is needed here: pip install 'pyscale[study]'", name=error.name) from error
    return reading
