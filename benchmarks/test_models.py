"""A comparison of two small models beside the packages that compare models, and beside the forward passes alone.

Small, because torch_cka forms every Gram once a pair. Everyone gets the same networks and the same batches; everyone's
error is the largest difference from minibatch CKA computed in float64 from activations that were copied in the hook.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pyscale as ps
from benchmarks.plain import unbiased_centred
from benchmarks.rivals import module
from benchmarks.sizes import choose

BATCH, BATCHES = choose((64, 2), (8, 2))
PIXELS = choose(32, 16)
LAYERS = (nn.BatchNorm2d, nn.Linear)
TOKENS, WIDTH, BLOCKS = choose((32, 64, 4), (6, 8, 2))


def names(model, types):
    return [name for name, layer in model.named_modules() if isinstance(layer, types)]


def forwards(models, loader, call):
    with torch.inference_mode():
        for batch in loader:
            for model in models:
                call(model, batch)


def in_float64(models, selected, loader, call):
    """Return the minibatch CKA of the layers, from copies of what they put out."""
    sums = [0.0, 0.0, 0.0]
    for batch in loader:
        kept = [[], []]
        for model, layers, mine in zip(models, selected, kept, strict=True):
            copy = lambda _, __, out, mine=mine: mine.append(out.detach().flatten(1).double())  # noqa: E731
            hooks = [model.get_submodule(name).register_forward_hook(copy) for name in layers]
            with torch.no_grad():
                call(model, batch)
            for hook in hooks:
                hook.remove()
        v, w = (torch.stack([unbiased_centred((x - x.mean(0)) @ (x - x.mean(0)).T).flatten() for x in k]) for k in kept)
        sums[0] += v @ w.T
        sums[1] += (v * v).sum(1)
        sums[2] += (w * w).sum(1)
    return sums[0] / (sums[1][:, None] * sums[2][None, :]).sqrt()


def quietly(call):
    """Return the call without warnings and progress bars."""

    def silent():
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return call()

    return silent


def largest(values, truth):
    return float((torch.as_tensor(values).double() - truth).abs().max())


def of_torch_cka(models, selected, loader):
    package = module("torch_cka")
    if package is None:
        return None
    cka = quietly(lambda: package.CKA(*models, "one", "other", *selected))()  # its hooks stay in these models

    def compare():
        with torch.no_grad():
            cka.compare(loader, loader)
        return cka.hsic_matrix

    return quietly(compare)


def of_pytorch_cka(models, selected, loader):
    package = module("pytorch-cka")
    if package is None:
        return None
    options = {"layers": selected[0], "model2_layers": selected[1], "progress": False}
    return quietly(lambda: package.compute_cka(*models, loader, **options)[0])


def of_ckatorch(models, selected, loader):
    """It takes 3-D activations alone, and dict batches alone are right in it."""
    package = module("ckatorch")
    if package is None:
        return None
    cka = quietly(lambda: package.CKA(*models, *selected, "one", "other", device="cpu"))()
    return quietly(lambda: cka(loader, epochs=1))


def test_convolutional_networks(beside):
    """In-place ReLUs follow the norms, as nearly everywhere."""
    torch.manual_seed(0)
    models = [ps.models.build(name, num_classes=10).eval() for name in ("cifar_resnet8", "cifar_resnet14")]
    twins = [ps.models.build(name, num_classes=10).eval() for name in ("cifar_resnet8", "cifar_resnet14")]
    for model, twin in zip(models, twins, strict=True):
        twin.load_state_dict(model.state_dict())
    selected = [names(model, LAYERS) for model in models]
    pictures = torch.randn(BATCH * BATCHES, 3, PIXELS, PIXELS)
    loader = DataLoader(TensorDataset(pictures), batch_size=BATCH)

    def call(model, batch):
        return model(batch[0])

    truth = in_float64(models, selected, loader, call)
    contenders = {
        "pyscale": lambda: ps.compare(*models, loader, layers=list(LAYERS), progress=False).values,
        "pytorch-cka compute_cka": of_pytorch_cka(models, selected, loader),
        "torch_cka CKA": of_torch_cka(twins, selected, loader),
    }
    errors = {name: largest(compare(), truth) for name, compare in contenders.items() if compare is not None}
    assert errors["pyscale"] < 1e-4
    beside(
        "models",
        {"op": "compare", "models": "CIFAR ResNet-8 with 14", "layers": layers(selected), "batch": BATCH},
        contenders.pop("pyscale"),
        {"forward passes": lambda: forwards(models, loader, call), **contenders},
        errors=errors,
    )


class Encoder(nn.Module):
    """A transformer on tokens that are vectors already, called with keywords."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True) for _ in range(blocks))
        )

    def forward(self, tokens):
        return self.blocks(tokens)


class Named(torch.utils.data.Dataset):
    """Tokens as dictionaries."""

    def __init__(self, tokens):
        self.tokens = tokens

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"tokens": self.tokens[i]}


def test_transformers(beside):
    """ckatorch compares the tokens within each sample, not the samples: its numbers answer another question."""
    torch.manual_seed(0)
    models, types = [Encoder(BLOCKS).eval(), Encoder(2 * BLOCKS).eval()], (nn.Linear,)
    twins = [Encoder(BLOCKS).eval(), Encoder(2 * BLOCKS).eval()]
    for model, twin in zip(models, twins, strict=True):
        twin.load_state_dict(model.state_dict())
    selected = [[name for name in names(model, types) if name.endswith("linear1")] for model in models]
    loader = DataLoader(Named(torch.randn(BATCH * BATCHES, TOKENS, WIDTH)), batch_size=BATCH)

    def call(model, batch):
        return model(**batch)

    truth = in_float64(models, selected, loader, call)
    contenders = {
        "pyscale": lambda: ps.compare(*models, loader, layers=selected[0], layers_y=selected[1], progress=False).values,
        "ckatorch CKA": of_ckatorch(twins, selected, loader),
    }
    errors = {name: largest(compare(), truth) for name, compare in contenders.items() if compare is not None}
    assert errors["pyscale"] < 1e-4
    beside(
        "models",
        {"op": "compare", "models": f"transformers of {BLOCKS}, {2 * BLOCKS} blocks", "layers": layers(selected)}
        | {"batch": BATCH},
        contenders.pop("pyscale"),
        {"forward passes": lambda: forwards(models, loader, call), **contenders},
        errors=errors,
    )


def layers(selected):
    return " × ".join(str(len(side)) for side in selected)
