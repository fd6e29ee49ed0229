"""The keys of a study's file, with the type of each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pyscale.studies.documents.yaml_file import Place

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Keys(BaseModel):
    """A mapping whose keys are known, and whose values have the type that stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """What stands in the file, and no defaults."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class DataKeys(Keys):
    """Where the pictures are."""

    kind: Literal["digits", "folder", "npz", "hugging_face"] = "digits"
    path: str | None = None
    image_size: Count | None = None
    channels: Literal[1, 3] | None = None
    train: Count | None = None
    test: Count | None = None
    mean: list[float] | None = None
    std: list[Positive] | None = None
    image: str | None = None
    label: str | None = None
    config: str | None = None


class ScaleKeys(Keys):
    """Factors."""

    depth: Positive = 1.0
    width: Positive = 1.0
    resolution: Positive = 1.0


def _exponents(value: Any) -> Any:
    """One or three numbers; the rest is for :func:`pyscale.models.compound` to say."""
    numbers = value if isinstance(value, list) else [value]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise ValueError("expected a number, or three (depth, width, resolution)")
    return value


class CompoundKeys(Keys):
    """Compound scaling."""

    phi: Annotated[Any, BeforeValidator(_exponents)]
    alpha: Positive = 1.2
    beta: Positive = 1.1
    gamma: Positive = 1.15
    max_resolution: Positive | None = None


class ScaleToKeys(Keys):
    """The largest network within a budget."""

    macs: Positive | None = None
    parameters: Positive | None = None
    bytes: Positive | None = None
    rule: str = "dWr"

    @model_validator(mode="after")
    def _one_budget(self) -> ScaleToKeys:
        if sum(value is not None for value in (self.macs, self.parameters, self.bytes)) != 1:
            raise ValueError("expected exactly one of macs, parameters and bytes")
        return self


class CompressKeys(Keys):
    """What is made of the trained baseline."""

    granularity: Literal["weight", "channel"] = "weight"
    amount: Annotated[float, Field(ge=0, lt=1)] | None = None
    macs: Positive | None = None
    parameters: Positive | None = None
    bytes: Positive | None = None
    latency: Positive | None = None
    scope: Literal["global", "layer"] = "global"
    schedule: Literal["cubic", "iterative"] | None = None
    steps: Count = 8
    bits: Annotated[int, Field(ge=1, le=8)] | None = None
    epochs: Count = 2
    sharing_epochs: Count = 1


def _named_exponent(value: Any) -> Any:
    return value if isinstance(value, dict) else {"phi": value}


class VariantKeys(Keys):
    """One network: scaled in one of three ways, or compressed."""

    name: str
    note: str = ""
    seed: Seed | None = None
    scale: ScaleKeys | None = None
    compound: Annotated[CompoundKeys, BeforeValidator(_named_exponent)] | None = None
    scale_to: ScaleToKeys | None = None
    compress: CompressKeys | None = None
    weights: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> VariantKeys:
        if self.weights is not None and self.scale is None and self.compound is None and self.scale_to is None:
            self.scale = ScaleKeys()
        if sum(way is not None for way in (self.scale, self.compound, self.scale_to, self.compress)) != 1:
            raise ValueError("expected exactly one of scale, compound, scale_to and compress")
        return self


class EqualBudgetKeys(Keys):
    """Ways set side by side."""

    shares: list[Annotated[float, Field(gt=0, lt=1)]] = [0.5, 0.25]
    resources: list[str] = ["macs", "bytes", "latency"]
    ways: list[str] = ["scaled", "channels", "weights", "deep"]
    rule: str = "closest"
    bits: Annotated[int, Field(ge=1, le=8)] = 6
    epochs: Count = 2
    sharing_epochs: Count = 1


class SweepKeys(Keys):
    """A row of networks to count."""

    name: str
    phi: Annotated[list[float], Field(min_length=1)]
    depth: Positive = 1.0
    width: Positive = 1.0
    resolution: Positive = 1.0


class CostsKeys(Keys):
    """Networks to count and not to train."""

    sweeps: Annotated[list[SweepKeys], Field(min_length=1)]
    family: str | None = None
    num_classes: Count | None = None
    in_channels: Count = 3
    image_size: Count | None = None


class PartKeys(Keys):
    """A layer whose weights are compared."""

    name: str
    layer: str
    rows: Literal["inputs", "outputs"] = "inputs"


class NamedNetworkKeys(Keys):
    """A network as published."""

    family: str
    weights: str | None = None
    name: str = ""


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _family(value: Any) -> Any:
    return {"family": value} if isinstance(value, str) else value


Named = Annotated[NamedNetworkKeys, BeforeValidator(_family)]


class WeightsKeys(Keys):
    """Weights from network to network."""

    parts: Annotated[list[PartKeys], Field(min_length=1)]
    baseline: Named | None = None
    others: list[Named] = []
    metrics: list[str] = ["cka", "cka_biased", "cca_r2"]


class Document(Keys):
    """A whole file."""

    title: str
    family: str
    name: str | None = None
    data: DataKeys = DataKeys()
    baseline: ScaleKeys = ScaleKeys()
    image_size: Count | None = None
    epochs: Count | None = None
    seed: Seed = 0
    twin_seeds: list[Seed] = [1]
    metrics: list[str] = ["cka", "cca_r2"]
    key_layers: list[str] = []
    cca_layers: list[str] = []
    pairs: Literal["baseline", "all"] = "baseline"
    batch_size: Annotated[int, Field(ge=4)] = 45
    threads: Count = 1
    recipe: dict[str, Any] = {}
    variants: list[VariantKeys] = []
    equal_budget: EqualBudgetKeys | None = None
    costs: CostsKeys | None = None
    weights: str | None = None
    logger: Annotated[list[Literal["csv", "tensorboard"]], BeforeValidator(_one_or_several)] = []
    compare_weights: WeightsKeys | None = None


def unknown_key(place: Place) -> str:
    """What to say of a key that is not known: the nearest that are."""
    keys: type[BaseModel] = Document
    for part in place[:-1]:
        if isinstance(part, str) and part in keys.model_fields:
            keys = _keys_in(keys.model_fields[part].annotation) or keys
    known = list(keys.model_fields)
    near = get_close_matches(str(place[-1]), known)
    return f"unknown key; did you mean {' or '.join(near)}?" if near else f"unknown key; known: {', '.join(known)}"


def _keys_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _keys_in(part)) is not None), None)
