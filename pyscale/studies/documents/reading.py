"""A study as a YAML file: what may stand in it, and the way there and back.

.. code-block:: yaml

    title: What fits in half
    family: cifar_resnet20
    data: {kind: digits}            # or {kind: folder, path: ~/cifar10} or {kind: npz, path: mnist.npz}
    image_size: 10
    epochs: 8
    seed: 0
    twin_seeds: [1, 2]
    cca_layers: ["*.conv2", linear] # of all layers, where CCA is at its ceiling for those with many channels
    pairs: all                      # or baseline: each network with the baseline only
    variants:
      - {name: wider, scale: {width: 1.5}}
      - {name: compound, compound: 1}                 # or {phi: [1, 2, 0], alpha: 1.2}
      - {name: half, scale_to: {macs: 0.5, rule: closest}}  # below 1 a share of the baseline's, else the number
      - {name: thin, compress: {granularity: channel, macs: 0.5, epochs: 2}}
      - {name: deep, compress: {amount: 0.7, bits: 5}}
      - {name: slow, compress: {amount: 0.9, scope: layer, schedule: cubic, steps: 4}}  # or iterative; one shot without
      - {name: published, weights: resnet20.th}     # and ``weights`` of its own for the baseline: nothing is trained
    equal_budget: {shares: [0.5, 0.25], resources: [macs, bytes]}
    costs:
      sweeps: [{name: depth, depth: 2, phi: [0, 1, 2, 3]}]
    logger: csv                     # or tensorboard, or [csv, tensorboard]: every training's epochs in runs/<name>/logs
    compare_weights:                # of the study's networks, or of these
      baseline: efficientnet_b0     # or {family: efficientnet_b0, weights: b0.pth}
      others: [efficientnet_b1, efficientnet_b2]
      parts: [{name: stem, layer: features.0.0}, {name: head, layer: classifier.1, rows: outputs}]

Keys that are not known are refused, as are values of another type or out of range, layers that no network has, and
checkpoints that are not there or do not fit; every message names file, line and key. Pictures are named, not held, and
factors found for a budget are read as what they came to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from pydantic import ValidationError

from pyscale.models import Scaling, build, compound
from pyscale.studies.budgets import Budget, Compression, Resource
from pyscale.studies.documents.schema import CompressKeys, CostsKeys, Document, VariantKeys, WeightsKeys, unknown_key
from pyscale.studies.documents.yaml_file import Place, StudyFileError, YamlText
from pyscale.studies.equal_budget.question import EqualBudgets
from pyscale.studies.foresight import check_networks
from pyscale.studies.scaled_budgets import scaled_to_budget
from pyscale.studies.sources import Source
from pyscale.studies.study import Study, StudyError, Variant
from pyscale.studies.sweeps import Costs, Sweep
from pyscale.studies.weight_similarity.question import NamedNetwork, Part, WeightSimilarity
from pyscale.train import Data

_PLAIN = ("title", "family", "image_size", "epochs", "seed", "pairs", "batch_size", "threads", "weights")
_LISTS = ("twin_seeds", "metrics", "key_layers", "cca_layers", "logger")


def read_study(path: str | Path) -> Study:
    """Read a study from a file (see the module's docstring).

    Raises:
        FileNotFoundError: If the file is not there.
        StudyFileError: If something in it is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"study: no such file: {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyFileError(f"{path}: not UTF-8 text") from error
    return parse_study(text, file=str(path), name=path.stem)


def parse_study(text: str, *, file: str = "study", name: str = "", foresee: bool = True) -> Study:
    """Read a study from the text of a file.

    Args:
        text: The file's content.
        file: Its name, for messages.
        name: Of the study, where the file gives none.
        foresee: Whether networks are built without values to find what would stop the study later
            (:func:`pyscale.studies.foresight.check_networks`).

    Raises:
        StudyFileError: If something in it is wrong.
    """
    parsed = YamlText(text, file)
    try:
        document = Document.model_validate(parsed.value)
    except ValidationError as error:
        raise StudyFileError("\n".join(_explained(error, parsed))) from error
    return _Reader(parsed, document).study(name, foresee=foresee)


def write_study(study: Study) -> str:
    """The text of a file that :func:`read_study` makes an equal study of.

    Raises:
        ValueError: If the study does not say where its pictures came from.
    """
    if study.source is None:
        raise ValueError("source: a study of pictures in memory cannot be written; say where they come from")
    written = {
        "name": study.name,
        **{name: getattr(study, name) for name in _PLAIN},
        "data": study.source.to_dict(),
        "baseline": asdict(study.baseline),
        **{name: list(getattr(study, name)) for name in _LISTS},
        "recipe": dict(study.recipe),
        "variants": [_variant(variant) for variant in study.variants],
    }
    if study.equal_budget is not None:
        written["equal_budget"] = _listed(asdict(study.equal_budget))
    for key in ("costs", "compare_weights"):
        if getattr(study, key) is not None:
            written[key] = _listed(asdict(getattr(study, key)))
    return str(yaml.safe_dump({k: v for k, v in written.items() if v is not None}, sort_keys=False, allow_unicode=True))


def _explained(error: ValidationError, parsed: YamlText) -> Iterator[str]:
    for fault in error.errors():
        place = fault["loc"]
        if fault["type"] == "extra_forbidden":
            said = unknown_key(place)
        elif fault["type"] == "missing":
            said = "is missing"
        else:
            said = fault["msg"].removeprefix("Value error, ")
            said = f"{said[0].lower()}{said[1:]}, got {fault['input']!r}"
        yield f"{parsed.where(place)}: {said}"


class _Reader:
    """Makes a study of a document whose keys and types are right already."""

    def __init__(self, parsed: YamlText, document: Document) -> None:
        self.parsed = parsed
        self.document = document

    def study(self, name: str, *, foresee: bool) -> Study:
        document = self.document
        with self._at("data"):
            source = Source(**_tuples(document.data.given()))
            data = source.open()
        with self._at("baseline"):
            baseline = Scaling(**document.baseline.given())
        with self._at("family"), torch.device("meta"):
            build(document.family)
        with self._at("image_size"), torch.device("meta"):
            build(document.family, image_size=document.image_size)
        variants = []
        for index, keys in enumerate(document.variants):
            with self._at("variants", index):
                variants.append(self._variant(keys, data, baseline, ("variants", index)))
        given = document.given()
        options: dict[str, Any] = {key: given[key] for key in _PLAIN if key in given}
        options |= {key: tuple(given[key]) for key in _LISTS if key in given}
        if document.equal_budget is not None:
            with self._at("equal_budget"):
                options["equal_budget"] = EqualBudgets(**_tuples(document.equal_budget.given()))
        if document.costs is not None:
            options["costs"] = self._costs(document.costs)
        if document.compare_weights is not None:
            with self._at("compare_weights"):
                options["compare_weights"] = _weight_similarity(document.compare_weights)
        with self._at("recipe"):
            data.recipe.but(**document.recipe)
        with self._at():
            study = Study(
                name=name if document.name is None else document.name,
                data=data,
                source=source,
                baseline=baseline,
                variants=tuple(variants),
                recipe=document.recipe,
                **options,
            )
            if foresee:
                check_networks(study)
        return study

    def _costs(self, keys: CostsKeys) -> Costs:
        sweeps = []
        for index, sweep in enumerate(keys.sweeps):
            with self._at("costs", "sweeps", index):
                sweeps.append(Sweep(**_tuples(sweep.given())))
        given = keys.given() | {"sweeps": tuple(sweeps)}
        family = self.document.family if keys.family is None else keys.family
        with self._at("costs", "family"), torch.device("meta"):
            build(family)
        with self._at("costs"), torch.device("meta"):
            build(family, num_classes=keys.num_classes, in_channels=keys.in_channels, image_size=keys.image_size)
            return Costs(**given)

    def _variant(self, keys: VariantKeys, data: Data, baseline: Scaling, place: Place) -> Variant:
        options: dict[str, Any] = {}
        if keys.compress is not None:
            with self._at(*place, "compress"):
                options["compression"] = _compression(keys.compress)
        elif keys.scale is not None:
            with self._at(*place, "scale"):
                options["scaling"] = Scaling(**keys.scale.given())
        elif keys.compound is not None:
            with self._at(*place, "compound"):
                options["scaling"] = compound(**keys.compound.given())
        elif keys.scale_to is not None:
            with self._at(*place, "scale_to"):
                options["scaling"] = self._scaled_to(keys.scale_to.given(), data, baseline)
        return Variant(name=keys.name, note=keys.note, seed=keys.seed, weights=keys.weights, **options)

    def _scaled_to(self, given: dict[str, Any], data: Data, baseline: Scaling) -> Scaling:
        rule = given.pop("rule", "dWr")
        (budget,) = _budgets(given)
        return scaled_to_budget(
            self.document.family,
            budget,
            rule,
            baseline=baseline,
            num_classes=data.num_classes,
            in_channels=data.channels,
            image_size=self.document.image_size,
        )

    @contextmanager
    def _at(self, *place: str | int) -> Iterator[None]:
        """Say where in the file an error comes from."""
        try:
            yield
        except StudyFileError:
            raise
        except StudyError as error:
            best = next((inner for inner in error.places if self.parsed.stands(inner)), error.places[0])
            raise StudyFileError(f"{self.parsed.where(best)}: {_unnamed(str(error), best)}") from error
        except (ValueError, TypeError, OSError, ArithmeticError) as error:
            raise StudyFileError(f"{self.parsed.where(place)}: {_unnamed(str(error), place)}") from error


def _unnamed(message: str, place: Place) -> str:
    """A message without the argument that the place has named already."""
    return message.removeprefix(f"{place[0]}: ").removeprefix(f"{place[-1]}: ") if place else message


def _weight_similarity(keys: WeightsKeys) -> WeightSimilarity:
    return WeightSimilarity(
        parts=tuple(Part(**part.given()) for part in keys.parts),
        baseline=None if keys.baseline is None else NamedNetwork(**keys.baseline.given()),
        others=tuple(NamedNetwork(**network.given()) for network in keys.others),
        metrics=tuple(keys.metrics),
    )


def _compression(keys: CompressKeys) -> Compression:
    given = keys.given()
    budgets = _budgets(given)
    if len(budgets) + ("amount" in given) != 1:
        raise ValueError("expected exactly one of amount, macs, parameters, bytes and latency")
    return Compression(budget=budgets[0] if budgets else None, **given)


def _budgets(given: dict[str, Any]) -> list[Budget]:
    """Takes the budgets out of what stands in the file."""
    return [Budget(resource, given.pop(resource)) for resource in get_args(Resource) if resource in given]


def _variant(variant: Variant) -> dict[str, Any]:
    written: dict[str, Any] = {"name": variant.name}
    if variant.note:
        written["note"] = variant.note
    if variant.seed is not None:
        written["seed"] = variant.seed
    if variant.weights is not None:
        written["weights"] = variant.weights
    if variant.compression is None:
        return {**written, "scale": asdict(variant.scaling)}
    made = {key.name: getattr(variant.compression, key.name) for key in fields(variant.compression)}
    budget = made.pop("budget")
    made = {key: value for key, value in made.items() if value is not None}
    return {**written, "compress": made if budget is None else {**made, budget.resource: budget.limit}}


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items() if item is not None}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value
