"""A whole comparison beside its own forward passes and beside a plain-torch minibatch CKA with the same arithmetic.

make bench
"""

from __future__ import annotations

import torch
from torch import nn

import pyscale as ps

LAYERS = (nn.Conv2d, nn.Linear)


def forwards(models, batches):
    with torch.inference_mode():
        for x in batches:
            for model in models:
                model(x)


def plain_torch(models, batches):
    """Minibatch CKA as one would write it: keep every activation, a float32 Gram a layer, all pairs in one product."""
    sums = [0.0, 0.0, 0.0]
    for x in batches:
        v, w = (torch.stack([u_centred(a @ a.T).flatten() for a in activations(m, x)]).double() for m in models)
        sums[0] += v @ w.T
        sums[1] += (v * v).sum(1)
        sums[2] += (w * w).sum(1)
    return sums[0] / (sums[1][:, None] * sums[2][None, :]).sqrt()


def activations(model, x):
    kept = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: kept.append(out.clone().flatten(1)))
        for module in model.modules()
        if isinstance(module, LAYERS)
    ]
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    return kept


def u_centred(K):
    n = len(K)
    K = K.clone().fill_diagonal_(0)
    rows = K.sum(1) / (n - 2)
    return (K - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)).fill_diagonal_(0)


def test_compare_resnet18_with_resnet34(beside):
    torch.manual_seed(0)
    models = [ps.models.build(name, num_classes=100).eval() for name in ("resnet18", "resnet34")]
    batches = [torch.randn(64, 3, 64, 64) for _ in range(2)]

    def ours():
        return ps.compare(*models, batches, layers=list(LAYERS), progress=False)

    difference = abs(torch.from_numpy(ours().values) - plain_torch(models, batches)).max()
    assert difference < 1e-3, "both must mean the same thing before they are timed"
    beside(
        "compare",
        {"op": "compare", "models": "resnet18 vs resnet34", "batch": 64, "batches": 2, "pixels": 64},
        ours,
        {"forward passes": lambda: forwards(models, batches), "plain torch": lambda: plain_torch(models, batches)},
        rounds=3,
    )
