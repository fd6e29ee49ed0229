"""One network of a study: trained or compressed, measured on every held-out picture, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pyscale.comparison.files import replacing
from pyscale.models import Network, Profile, build, profile
from pyscale.studies.amounts import file_bytes
from pyscale.studies.compressed_networks import compressed
from pyscale.studies.run_cache import RunCache
from pyscale.studies.study import Study, Variant
from pyscale.studies.trained_networks import CONFIG_FILE, WEIGHTS_FILE, build_seeded, keep_recipe
from pyscale.train import Data, History, Recipe, Trained, evaluate, fit
from pyscale.train.evaluation import at_model_resolution, evaluating, model_device
from pyscale.train.runs import run_config

LATENCY_ROUNDS, LATENCY_REPEATS = 5, 10


@dataclass(frozen=True, eq=False)
class Member:
    """A trained network of a study and what was measured of it alone.

    Attributes:
        variant: What was asked for.
        seed: What it was trained from.
        network: In eval mode.
        trained: How it got there, and its accuracy.
        right: (n,) bool, which held-out pictures it classifies correctly, in the order of the test split.
        cost: Parameters, MACs, activations, bytes, latency.
        file_bytes: Size of the file that holds its state dict: torch's, or ``.psz`` where weights are zero or shared;
            None where it was not measured.
        latency_share: Latency as a share of the baseline's, measured in turns with it; NaN before that.
    """

    variant: Variant
    seed: int
    network: Network
    trained: Trained
    right: NDArray[np.bool_]
    cost: Profile
    file_bytes: int | None = None
    latency_share: float = nan

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.variant.name

    @property
    def shape(self) -> str:
        """What the scaling came to after rounding: weighted layers, channels and pixels."""
        weighted = [m for m in self.network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        channels = sorted({m.out_channels for m in weighted if isinstance(m, nn.Conv2d)})
        widths = "–".join(map(str, channels)) if len(channels) <= 4 else f"{channels[0]} to {channels[-1]}"
        return f"{len(weighted)} layers, {widths} channels, {self.network.image_size} px"


@dataclass(frozen=True)
class Workshop:
    """Where a study's networks are made and how; the same for all of them.

    Attributes:
        out: The study's folder; runs are in ``out/runs/<name>``.
        progress: Whether the trainings' progress bars are shown.
        resume: False trains anew.
        device: As for :func:`pyscale.train.fit`; None is a GPU where there is one.
        cache: Finished runs of all studies; None keeps none.
    """

    out: Path
    progress: bool = False
    resume: bool = True
    device: str | None = None
    cache: RunCache | None = None


def make_member(study: Study, variant: Variant, shop: Workshop) -> Member:
    """Train or compress one network of a study in its own folder, or take up what a killed run left there.

    The first weights depend on the seed and the architecture alone; the global random state is left as found. What a
    network is compressed from is taken from its own folder, and made first where it is not there.

    Args:
        study: What it belongs to.
        variant: Which one.
        shop: Where and how.

    Returns:
        The network, its latency not yet measured (NaN).
    """
    seed, out = study.seed_of(variant), shop.out / "runs" / variant.name
    options = {"device": shop.device, "threads": study.threads, "progress": shop.progress, "logger": study.logger}
    if variant.compression is not None:
        original = _trained(study, study.original_of(variant), replace(shop, resume=True))
        trained = compressed(
            original, study.data, variant.compression, out, resume=shop.resume, cache=shop.cache, **options
        )
    else:
        trained = _trained(study, variant, shop)
    network = trained.model
    assert isinstance(network, Network)
    sparse = variant.compression is not None and variant.compression.in_sparse_file
    size = file_bytes(network, sparse=sparse)
    return Member(
        variant, seed, network, trained, right_answers(network, study.data), profile(network, repeats=0), size
    )


def _trained(study: Study, variant: Variant, shop: Workshop) -> Trained:
    if variant.weights is not None:
        return _loaded(study, variant, shop)
    seed, out = study.seed_of(variant), shop.out / "runs" / variant.name
    network = build_seeded(
        study.family,
        seed,
        scaling=study.scaling_of(variant),
        num_classes=study.data.num_classes,
        in_channels=study.data.channels,
        image_size=study.image_size,
    )
    recipe = study.data.recipe.but(**study.recipe)
    if study.epochs is not None:
        recipe = recipe.but(epochs=study.epochs)
    key = None if shop.cache is None else shop.cache.key(_configuration(study, network, recipe, seed, shop.device))
    if shop.cache is not None and key is not None and shop.resume and not (out / CONFIG_FILE).exists():
        shop.cache.fetch(key, out)
    trained = fit(
        network,
        study.data,
        recipe=recipe,
        seed=seed,
        out=out,
        resume=shop.resume,
        device=shop.device,
        threads=study.threads,
        progress=shop.progress,
        logger=study.logger,
    )
    keep_recipe(network, out)
    if shop.cache is not None and key is not None:
        shop.cache.keep(key, out)
    return trained


def _loaded(study: Study, variant: Variant, shop: Workshop) -> Trained:
    """A network from a checkpoint, kept in its folder like a trained one; nothing of its training is known."""
    out = shop.out / "runs" / variant.name
    network = build(
        study.family,
        scaling=study.scaling_of(variant),
        num_classes=study.data.num_classes,
        in_channels=study.data.channels,
        image_size=study.image_size,
        weights=Path(str(variant.weights)).expanduser(),
    ).eval()
    keep_recipe(network, out)
    with replacing(out / WEIGHTS_FILE) as file:
        torch.save(network.state_dict(), file)
    accuracy = evaluate(network, study.data, device=shop.device)
    recipe = study.data.recipe.but(**study.recipe)  # of what is made of it
    return Trained(network, History(), accuracy, recipe, study.seed_of(variant), out)


def _configuration(study: Study, network: Network, recipe: Recipe, seed: int, device: str | None) -> dict[str, Any]:
    """Everything that decides the outcome of a training, its first weights and rounding included."""
    assert network.recipe is not None
    data = at_model_resolution(network, study.data)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return {
        **run_config(network, data, recipe.to_dict(), seed, "32-true"),
        "network": network.recipe.to_dict(),
        "threads": study.threads,
        "device": torch.device(where).type,
    }


def right_answers(model: nn.Module, data: Data, batch_size: int = 256) -> NDArray[np.bool_]:
    """Which held-out pictures a network classifies correctly.

    Args:
        model: Maps (b, channels, height, width) to (b, classes) scores. Left in the mode it was in.
        data: Its test split is served at the model's resolution.
        batch_size: Pictures at a time.

    Returns:
        (n,) bool, in the order of the test split.
    """
    right, device = [], model_device(model)
    with evaluating(model), torch.inference_mode():
        for images, labels in at_model_resolution(model, data).loader("test", batch_size):
            right.append((model(images.to(device)).argmax(1).cpu() == labels).numpy())
    return np.concatenate(right)


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Torch's CPU thread count inside; as it was after."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
