"""Whole channels taken out, with everything that reads them, along the dependency graph that Torch-Pruning follows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pyscale.compress.dependencies import import_compress_dependency
from pyscale.compress.finetuning import Finetune
from pyscale.compress.layers import weighted_layers
from pyscale.compress.schedules import Schedule

_ROUNDING = 1e-3  # of the largest output: what removing zeros may change


def prune_channels(
    model: nn.Module,
    amounts: dict[str, float],
    *,
    together: bool,
    schedule: Schedule,
    finetune: Finetune | None,
    example: Tensor | None,
    keep: Sequence[str],
) -> None:
    """Take the channels of least magnitude out of a model, in place.

    A channel's magnitude is the sum of squares of its weights, averaged over the layers that make, normalise or read it
    (depthwise ones apart), and divided by the mean over its group's channels, so that groups can be ranked together.

    Args:
        model: Owner of the layers.
        amounts: Share of the channels to remove by layer name; a group of tied layers stays whole unless all are named.
        together: Whether channels compete across layers, all of which then have the same amount.
        schedule: The steps.
        finetune: Called with the model after every step.
        example: A batch that the model accepts; None makes one up.
        keep: Names or globs of layers whose channels stay.

    Raises:
        ValueError: If a glob matches no layer, the model does not accept the example, or no channel can be removed.
        ImportError: If Torch-Pruning is not installed.
    """
    pruning = import_compress_dependency("torch_pruning")
    layers = weighted_layers(model)
    idle = [glob for glob in keep if not any(fnmatchcase(name, glob) for name in layers)]
    if idle:
        raise ValueError(f"keep: {', '.join(map(repr, idle))} match no layer; there are {', '.join(layers)}")
    whole = {name for name in layers if name not in amounts or any(fnmatchcase(name, glob) for glob in keep)}
    batch = _example(model, example)
    with _evaluating(model), torch.enable_grad():
        whole |= _unsafe_roots(pruning, model, batch, whole)
        graph = _Graph(pruning, model, batch)
    first = {name: graph.channels(name) for name in graph.roots(whole)}
    if not first:
        raise ValueError("model: no channel can be removed without changing its inputs, outputs or the layers to keep")
    steps = {name: schedule.amounts(amounts[name]) for name in first}
    for step in range(schedule.steps):
        scores = {name: graph.magnitudes(name) for name in first}
        shares = {name: steps[name][step] for name in first}
        for name, chosen in _least(scores, first, shares, together).items():
            graph.group(name, chosen).prune()
        if finetune is not None:
            finetune(model)


@dataclass
class _Graph:
    """Which layers' channels belong together; a root is the first layer of such a group."""

    pruning: Any
    model: nn.Module
    batch: Tensor

    def __post_init__(self) -> None:
        self.layers = dict(self.model.named_modules())
        self.names = {module: name for name, module in self.layers.items()}
        try:
            self._graph = self.pruning.DependencyGraph().build_dependency(self.model, example_inputs=self.batch)
        except RuntimeError as error:
            raise ValueError(
                f"example: the model does not accept a batch of {tuple(self.batch.shape)}: {error}"
            ) from error

    def roots(self, whole: set[str]) -> list[str]:
        """The roots of all groups that have no layer in ``whole``."""
        ignored = [self.layers[name] for name in whole]
        kinds = [nn.modules.conv._ConvNd, nn.Linear]
        groups = self._graph.get_all_groups(ignored_layers=ignored, root_module_types=kinds)
        return [self.names[group[0].dep.target.module] for group in groups]

    def group(self, root: str, channels: Sequence[int]) -> Any:
        """What must go if these channels of a root go."""
        layer = self.layers[root]
        handler = self._graph.get_pruner_of_module(layer).prune_out_channels
        return self._graph.get_pruning_group(layer, handler, list(channels))

    def channels(self, root: str) -> int:
        """How many channels a root has now."""
        return int(self._graph.get_out_channels(self.layers[root]))

    def magnitudes(self, root: str) -> Tensor:
        """(channels,) magnitude of every channel; zeros for a group of nothing but zeros."""
        importance = self.pruning.importance.GroupMagnitudeImportance()
        scores: Tensor = importance(self.group(root, range(self.channels(root))))
        return scores.nan_to_num(0.0)

    def silence(self, root: str, channel: int) -> None:
        """Set to zero what makes a channel, so that all that reads it reads zeros."""
        for dependency, channels in self.group(root, [channel]):
            module = dependency.target.module
            if not self._graph.is_out_channel_pruning_fn(dependency.handler):
                continue
            for name in ("weight", "bias", "running_mean"):
                tensor = getattr(module, name, None)
                if isinstance(tensor, Tensor) and tensor.ndim:
                    tensor.data[channels] = 0


def _unsafe_roots(pruning: Any, model: nn.Module, batch: Tensor, whole: set[str]) -> set[str]:
    """Roots whose channels can't be removed: tried one by one on a copy.

    The model must still run, with outputs of the same shape and, norms across channels aside, the same values as with
    that channel silenced. This finds classifiers, and channels that plain code counts on, such as padded shortcuts.
    """
    across = any(isinstance(module, nn.GroupNorm | nn.LayerNorm) for module in model.modules())
    trial = _Graph(pruning, copy.deepcopy(model), batch)
    unsafe = set[str]()
    for root in trial.roots(whole):
        if trial.channels(root) > 1 and _survives(trial, root, exactly=not across):
            continue
        unsafe.add(root)
        trial = _Graph(pruning, copy.deepcopy(model), batch)
    return unsafe


def _survives(trial: _Graph, root: str, *, exactly: bool) -> bool:
    with torch.no_grad():
        trial.silence(root, 0)
        before = _outputs(trial)
        try:
            trial.group(root, [0]).prune()
            after = _outputs(trial)
        except Exception:  # whatever the model's own code raises on a shape it does not expect
            return False
    if [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return False
    return not exactly or all(_alike(a, b) for a, b in zip(before, after, strict=True))


def _outputs(graph: _Graph) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(graph.model(graph.batch)) if isinstance(leaf, Tensor)]


def _alike(before: Tensor, after: Tensor) -> bool:
    if not before.numel():
        return True
    return bool((before - after).abs().max() <= _ROUNDING * before.abs().max())


def _least(
    scores: dict[str, Tensor], first: dict[str, int], shares: dict[str, float], together: bool
) -> dict[str, list[int]]:
    """The channels to remove now, by root, so that the share of the first ones is gone; each root keeps one at least.

    Args:
        scores: (channels,) importance of the channels that are left, by root.
        first: How many there were.
        shares: To be gone after this step.
        together: Whether roots compete.

    Returns:
        Indices by root; roots that lose none are left out.
    """
    orders = {root: torch.argsort(score, stable=True).tolist() for root, score in scores.items()}
    if not together:
        left = {root: max(1, first[root] - math.floor(shares[root] * first[root])) for root in scores}
        return {root: order[: len(order) - left[root]] for root, order in orders.items() if len(order) > left[root]}
    share = next(iter(shares.values()))
    gone = sum(first.values()) - sum(map(len, orders.values()))
    wanted = math.floor(share * sum(first.values())) - gone
    ranked = sorted((float(scores[root][i]), root, i) for root, order in orders.items() for i in order[:-1])
    chosen: dict[str, list[int]] = {}
    for _, root, i in ranked[: max(0, wanted)]:
        chosen.setdefault(root, []).append(i)
    return chosen


def _example(model: nn.Module, example: Tensor | None) -> Tensor:
    """A batch on the model's device: the one given, or one made up from the first layer."""
    device = next(model.parameters()).device
    if example is not None:
        if not isinstance(example, Tensor):
            raise TypeError(f"example must be a tensor, got {type(example).__name__}")
        return example.to(device)
    first = next(iter(weighted_layers(model).values()))
    draws = torch.Generator().manual_seed(0)
    if isinstance(first, nn.Linear):
        return torch.rand(2, first.in_features, generator=draws).to(device)
    size = getattr(model, "image_size", None)
    if not isinstance(first, nn.Conv2d) or size is None:
        raise ValueError("example: pass a batch that the model accepts; none can be made up without model.image_size")
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return torch.rand(2, first.in_channels, *sides, generator=draws).to(device)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; every module's own mode restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
