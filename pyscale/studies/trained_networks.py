"""A trained network as a folder: what it was built from, beside the weights and history that training keeps."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pyscale.comparison.files import replacing
from pyscale.compress import load, reshape
from pyscale.models import Network, Scaling, build, rebuild
from pyscale.models.checkpoint import load_weights

MODEL_FILE, WEIGHTS_FILE, CONFIG_FILE = "model.json", "weights.pt", "config.json"
COMPRESSION_FILE, SPARSE_FILE = "compression.json", "network.psz"  # of a compressed network


def build_seeded(
    name: str,
    seed: int,
    *,
    scaling: Scaling | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
) -> Network:
    """Build a network whose first weights depend on the seed and its architecture alone.

    Args:
        name: See :func:`pyscale.models.build`, as the other arguments.
        seed: Of the first weights; torch's own random state is left as found.
        scaling: Factors on the named network.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the pictures.
        image_size: Side of the named network's pictures before scaling.

    Returns:
        The network.

    Example:
        >>> one, two = (build_seeded("cifar_resnet8", seed=0) for _ in range(2))
        >>> torch.equal(one.conv1.weight, two.conv1.weight)
        True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(name, scaling=scaling, num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def keep_recipe(network: Network, folder: str | Path) -> None:
    """Write what a network was built from into the folder of its training, so that :func:`open_trained` can build it.

    Args:
        network: Made by :func:`pyscale.models.build`.
        folder: Made where it does not exist.

    Raises:
        ValueError: If the network does not know what it was built from.
    """
    if network.recipe is None:
        raise ValueError("network must come from pyscale.models.build: this one has no recipe")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / MODEL_FILE) as file:
        file.write((json.dumps(network.recipe.to_dict(), indent=2) + "\n").encode())


def is_trained(folder: str | Path) -> bool:
    """Whether a folder holds a trained network that :func:`open_trained` can build."""
    return (Path(folder) / MODEL_FILE).is_file()


def open_trained(folder: str | Path) -> Network:
    """Build a trained network from its folder; nothing in it is executed.

    Args:
        folder: Written by :func:`keep_recipe` and a finished :func:`pyscale.train.fit`, or by
            :func:`pyscale.studies.compressed_networks.compressed`.

    Returns:
        The network, in eval mode, on the CPU.

    Raises:
        FileNotFoundError: If the folder holds no trained network, or its training is not finished.
        ValueError: If its files are damaged or do not fit together.
    """
    folder = Path(folder)
    if not (folder / MODEL_FILE).is_file():
        raise FileNotFoundError(f"folder: {folder} holds no trained network: there is no {MODEL_FILE}")
    weights, sparse = folder / WEIGHTS_FILE, folder / SPARSE_FILE
    if not weights.is_file() and not sparse.is_file():
        raise FileNotFoundError(f"folder: {folder} holds a training that is not finished: there is no {WEIGHTS_FILE}")
    try:
        recipe = json.loads((folder / MODEL_FILE).read_text())
        network = rebuild(recipe)
        if sparse.is_file():
            load(sparse, into=network)
        elif (folder / COMPRESSION_FILE).is_file():
            reshape(network, torch.load(weights, map_location="cpu", weights_only=True))
        else:
            load_weights(network, weights)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"folder: {folder} is damaged: {error}") from error
    return network.eval()
