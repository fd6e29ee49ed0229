"""One network of a study: built, trained, measured on every held-out picture, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pyscale.models import Network, Profile, profile
from pyscale.studies.study import Study, Variant
from pyscale.studies.trained_networks import build_seeded, keep_recipe
from pyscale.train import Data, Trained, fit
from pyscale.train.evaluation import at_model_resolution, evaluating, model_device

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
    """

    variant: Variant
    seed: int
    network: Network
    trained: Trained
    right: NDArray[np.bool_]
    cost: Profile

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


def train_member(study: Study, variant: Variant, out: Path, *, progress: bool, resume: bool = True) -> Member:
    """Train one network of a study in its own folder, or take up what a killed run left there.

    The first weights depend on the seed and the architecture alone; the global random state is left as found.

    Args:
        study: What it belongs to.
        variant: Which one.
        out: The folder of the run, as :func:`pyscale.train.fit` keeps it.
        progress: Whether the training's progress bar is shown.
        resume: False trains anew.

    Returns:
        The trained network, its latency not yet measured (NaN).
    """
    seed = study.seed_of(variant)
    network = build_seeded(
        study.family,
        seed,
        scaling=variant.scaling,
        num_classes=study.data.num_classes,
        in_channels=study.data.channels,
        image_size=study.image_size,
    )
    trained = fit(
        network,
        study.data,
        epochs=study.epochs,
        seed=seed,
        out=out,
        resume=resume,
        device="cpu",
        threads=study.threads,
        progress=progress,
    )
    keep_recipe(network, out)
    return Member(variant, seed, network, trained, right_answers(network, study.data), profile(network, repeats=0))


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
