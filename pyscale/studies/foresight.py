"""What would stop a study after its first trainings, found before them: on the meta device and on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from pyscale.comparison.hooks import Tap
from pyscale.comparison.layers import select_layers
from pyscale.comparison.weight_matrices import KINDS
from pyscale.models import Network, Scaling, build
from pyscale.models.checkpoint import load_weights
from pyscale.studies.study import Study, StudyError, Variant
from pyscale.studies.weight_similarity.question import WeightSimilarity


def check_networks(study: Study) -> None:
    """Build a study's networks without values, and raise where a checkpoint or a key layer is not theirs.

    Args:
        study: What would be run.

    Raises:
        StudyError: If a checkpoint file is missing or does not fit, a pattern of ``key_layers`` is no layer of any
            network, or all of them together are no layer of one, or there are no weights to compare where they were
            asked for.
    """
    for member, place in _given(study):
        assert member.weights is not None
        try:
            _check_checkpoint(_without_values(study, member), member.weights)
        except (ValueError, TypeError, OSError) as error:
            raise StudyError(str(error), (*place, "weights")) from error
    if study.key_layers or study.cca_layers:
        _check_key_layers(study)
    if study.compare_weights is not None:
        _check_weight_layers(study, study.compare_weights)


def layers_of(network: Network, channels: int) -> list[str]:
    """The rows that a network has in a comparison, in forward order.

    Args:
        network: On the meta device.
        channels: Of its pictures.

    Example:
        >>> with torch.device("meta"):
        ...     network = build("lenet5")
        >>> layers_of(network, 3)[:2]
        ['conv1', 'conv2']
    """
    with Tap("network", select_layers(network)) as tap, torch.no_grad():
        pictures = torch.empty(2, channels, network.image_size, network.image_size, device="meta")
        with tap.recording(lambda row, activation: None, 0, len(pictures)):
            network.eval()(pictures)
    return tap.rows


def _given(study: Study) -> Iterator[tuple[Variant, tuple[str | int, ...]]]:
    """Networks that come from a file, with their place in the study's."""
    if study.weights is not None:
        yield study.members[0], ()
    for index, variant in enumerate(study.variants):
        if variant.weights is not None:
            yield variant, ("variants", index)


def _check_key_layers(study: Study) -> None:
    shapes: dict[Scaling, str] = {}
    for member in study.members:
        shapes.setdefault(study.scaling_of(member), member.name)
    found = {name: layers_of(_scaled(study, scaling), study.data.channels) for scaling, name in shapes.items()}
    _check_cca_layers(study, found)
    everywhere = list(dict.fromkeys(row for rows in found.values() for row in rows))
    for index, pattern in enumerate(study.key_layers):
        if not any(fnmatchcase(row, pattern) for row in everywhere):
            raise StudyError(
                f"key_layers: {pattern!r} is no layer of any network; there are {', '.join(everywhere)}",
                ("key_layers", index),
            )
    for name, rows in found.items():
        if study.key_layers and not any(fnmatchcase(row, key) for row in rows for key in study.key_layers):
            raise StudyError(
                f"key_layers: expected some layers of every network, got none of {name}; it has {', '.join(rows)}",
                ("key_layers",),
            )


def _check_cca_layers(study: Study, found: Mapping[str, list[str]]) -> None:
    """CCA's layers must hold some key layers of every network, or its curves would be about none."""
    if not study.cca_layers or "cca_r2" not in study.metrics:
        return
    for name, rows in found.items():
        chosen = [row for row in rows if any(fnmatchcase(row, pattern) for pattern in study.cca_layers)]
        if not any(fnmatchcase(row, pattern) for row in chosen for pattern in study.key_layers or ("*",)):
            raise StudyError(
                f"cca_layers: expected some of the key layers of {name}, got {', '.join(chosen) or 'no layer'}",
                ("cca_layers",),
            )


def _check_weight_layers(study: Study, asked: WeightSimilarity) -> None:
    for index, named in enumerate(asked.networks):
        place = ("compare_weights", "others", index - 1) if index else ("compare_weights", "baseline")
        try:
            with torch.device("meta"):
                network = build(named.family)
            if named.weights is not None:
                _check_checkpoint(network, named.weights)
        except (ValueError, TypeError, OSError) as error:
            raise StudyError(f"compare_weights: {named.title}: {error}", place) from error
        _check_parts(named.title, network, asked)
    if not asked.networks:
        _check_parts(study.members[0].name, _without_values(study, study.members[0]), asked)


def _check_parts(name: str, network: Network, asked: WeightSimilarity) -> None:
    modules = dict(network.named_modules())
    for index, part in enumerate(asked.parts):
        if not isinstance(modules.get(part.layer), KINDS):
            weighted = [known for known, module in modules.items() if isinstance(module, KINDS)]
            raise StudyError(
                f"compare_weights: {part.layer!r} is no convolution or linear layer of {name}; these are "
                f"{', '.join(weighted)}",
                ("compare_weights", "parts", index, "layer"),
            )


def _check_checkpoint(network: Network, path: str) -> None:
    """Raise where a file is not there, is none, or does not fit; the network is on the meta device and stays so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .* copying from a non-meta parameter", UserWarning)  # that is the point
        load_weights(network, Path(path).expanduser())


def _without_values(study: Study, member: Variant) -> Network:
    return _scaled(study, study.scaling_of(member))


def _scaled(study: Study, scaling: Scaling) -> Network:
    with torch.device("meta"):
        return build(
            study.family,
            scaling=scaling,
            num_classes=study.data.num_classes,
            in_channels=study.data.channels,
            image_size=study.image_size,
        )
