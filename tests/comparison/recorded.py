"""What the layers of a network really returned: copied the moment they return it, kept whole, in float64."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch


def activations(model, batches, names=None):
    """Return {call name: [array of each batch]} of the leaves of ``model`` in eval mode, in forward order."""
    recorded = defaultdict(list)
    modes = [(m, m.training) for m in model.modules()]
    handles = []
    calls = {}

    def hook(name):
        def copy(module, inputs, output):
            k = calls[name] = calls.get(name, -1) + 1
            recorded[name if k == 0 else f"{name}#{k}"].append(output.detach().double().numpy().copy())

        return copy

    for name, module in model.named_modules():
        if (not list(module.children()) and names is None) or (names is not None and name in names):
            handles.append(module.register_forward_hook(hook(name)))
    model.eval()
    for batch in batches:
        calls.clear()
        with torch.no_grad():
            model(batch.clone())
    for handle in handles:
        handle.remove()
    for module, training in modes:
        module.training = training
    return dict(recorded)


def flat(batches):
    return [x.reshape(len(x), -1) for x in batches]


def pooled(batches):
    axes = {2: (), 3: (1,), 4: (2, 3)}
    return [x.mean(axis=axes[x.ndim]) if x.ndim > 2 else x for x in batches]


def positions(batches):
    return [
        np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) if x.ndim == 4 else x.reshape(-1, x.shape[-1]) for x in batches
    ]


def pairwise(metric, xs, ys, rows, columns):
    """Return metric(xs[row], ys[column]) of all pairs."""
    return np.array([[metric(xs[row], ys[column]) for column in columns] for row in rows])
