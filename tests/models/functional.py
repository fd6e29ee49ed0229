"""Forward passes from the papers, as plain function calls over a state dict: the oracle for what networks compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

State = dict[str, Tensor]


def norm(state: State, key: str, x: Tensor, eps: float) -> Tensor:
    mean, var, weight, bias = (
        state[f"{key}.{name}"].view(-1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def conv(state: State, key: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{key}.weight"]
    bias = state.get(f"{key}.bias")
    return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=x.shape[1] // weight.shape[1])


def classify(state: State, key: str, x: Tensor) -> Tensor:
    return x.mean((2, 3)) @ state[f"{key}.weight"].T + state[f"{key}.bias"]


def count(state: State, prefix: str) -> int:
    """How many numbered children a prefix has."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def resnet(state: State, x: Tensor) -> Tensor:
    x = norm(state, "bn1", conv(state, "conv1", x, 2), 1e-5).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    convolutions = 3 if "layer1.0.conv3.weight" in state else 2
    for stage in (1, 2, 3, 4):
        for block in range(count(state, f"layer{stage}.")):
            key = f"layer{stage}.{block}"
            strided = 2 if convolutions == 3 else 1  # the convolution that carries the stride
            out = x
            for index in range(1, convolutions + 1):
                stride = 2 if stage > 1 and block == 0 and index == strided else 1
                out = norm(state, f"{key}.bn{index}", conv(state, f"{key}.conv{index}", out, stride), 1e-5)
                out = out.relu() if index < convolutions else out
            if f"{key}.downsample.0.weight" in state:
                stride = 2 if stage > 1 else 1
                x = norm(state, f"{key}.downsample.1", conv(state, f"{key}.downsample.0", x, stride), 1e-5)
            x = (out + x).relu()
    return classify(state, "fc", x)


def mean_of_quads(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; where a row or column is left over, of those there are."""
    padding = (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)

    def total(padded: Tensor) -> Tensor:
        return sum(padded[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))

    return total(F.pad(x, padding)) / total(F.pad(torch.ones_like(x), padding))


def resnet_rs(state: State, x: Tensor) -> Tensor:
    x = norm(state, "conv1.1", conv(state, "conv1.0", x, 2), 1e-5).relu()
    x = norm(state, "conv1.4", conv(state, "conv1.3", x), 1e-5).relu()
    x = norm(state, "bn1", conv(state, "conv1.6", x), 1e-5).relu()
    x = norm(state, "maxpool.1", conv(state, "maxpool.0", x, 2), 1e-5).relu()
    for stage in (1, 2, 3, 4):
        for block in range(count(state, f"layer{stage}.")):
            key, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = norm(state, f"{key}.bn1", conv(state, f"{key}.conv1", x), 1e-5).relu()
            out = norm(state, f"{key}.bn2", conv(state, f"{key}.conv2", out, stride), 1e-5).relu()
            out = norm(state, f"{key}.bn3", conv(state, f"{key}.conv3", out), 1e-5)
            gate = conv(state, f"{key}.se.fc2", conv(state, f"{key}.se.fc1", out.mean((2, 3), keepdim=True)).relu())
            if block == 0:
                x = mean_of_quads(x) if stride == 2 else x
                x = norm(state, f"{key}.downsample.2", conv(state, f"{key}.downsample.1", x), 1e-5)
            x = (out * torch.sigmoid(gate) + x).relu()
    return classify(state, "fc", x)


def cifar_resnet(state: State, x: Tensor) -> Tensor:
    x = norm(state, "bn1", conv(state, "conv1", x), 1e-5).relu()
    for stage in (1, 2, 3):
        for block in range(count(state, f"layer{stage}.")):
            key, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = norm(state, f"{key}.bn1", conv(state, f"{key}.conv1", x, stride), 1e-5).relu()
            out = norm(state, f"{key}.bn2", conv(state, f"{key}.conv2", out), 1e-5)
            shortcut = torch.zeros_like(out)
            start = (out.shape[1] - x.shape[1]) // 2
            shortcut[:, start : start + x.shape[1]] = x[:, :, ::stride, ::stride]
            x = (out + shortcut).relu()
    return classify(state, "linear", x)


def mobilenet_v1(state: State, x: Tensor) -> Tensor:
    x = norm(state, "model.0.1", conv(state, "model.0.0", x, 2), 1e-5).relu()
    for index in range(1, count(state, "model.")):
        key, stride = f"model.{index}", 2 if index in {2, 4, 6, 12} else 1  # at depth 1
        x = norm(state, f"{key}.1", conv(state, f"{key}.0", x, stride), 1e-5).relu()
        x = norm(state, f"{key}.4", conv(state, f"{key}.3", x), 1e-5).relu()
    return classify(state, "fc", x)


def mobilenet_v2(state: State, x: Tensor) -> Tensor:
    def relu6(x: Tensor) -> Tensor:
        return x.clamp(0, 6)

    def unit(key: str, x: Tensor, stride: int = 1) -> Tensor:
        return relu6(norm(state, f"{key}.1", conv(state, f"{key}.0", x, stride), 1e-5))

    x = unit("features.0", x, 2)
    last = count(state, "features.") - 1
    strided = {2, 4, 7, 14}  # first blocks of the stages that halve the resolution, at depth 1
    for index in range(1, last):
        key, out = f"features.{index}.conv", x
        expanded = f"{key}.3.weight" in state
        if expanded:
            out = unit(f"{key}.0", out)
        part = int(expanded)
        stride = 2 if index in strided else 1
        out = unit(f"{key}.{part}", out, stride)
        out = norm(state, f"{key}.{part + 2}", conv(state, f"{key}.{part + 1}", out), 1e-5)
        x = x + out if stride == 1 and x.shape[1] == out.shape[1] else out
    return classify(state, "classifier.1", unit(f"features.{last}", x))


def mobilenet_v3(state: State, x: Tensor, strided: set[int], swish_from: int) -> Tensor:
    """``strided``: blocks that halve the resolution; blocks from ``swish_from`` on use hard swish instead of ReLU."""

    def hard_sigmoid(x: Tensor) -> Tensor:
        return (x + 3).clamp(0, 6) / 6

    def hard_swish(x: Tensor) -> Tensor:
        return x * hard_sigmoid(x)

    def unit(key: str, x: Tensor, stride: int = 1) -> Tensor:
        return norm(state, f"{key}.1", conv(state, f"{key}.0", x, stride), 1e-3)

    x = hard_swish(unit("features.0", x, 2))
    last = count(state, "features.") - 1
    for index in range(1, last):
        activate = hard_swish if index >= swish_from else torch.relu
        key, out, part = f"features.{index}.block", x, 0
        stride = 2 if index in strided else 1
        if state[f"{key}.0.0.weight"].shape[1] > 1:  # not depthwise
            out, part = activate(unit(f"{key}.0", out)), 1
        out = activate(unit(f"{key}.{part}", out, stride))
        if f"{key}.{part + 1}.fc1.weight" in state:
            part += 1
            gate = conv(state, f"{key}.{part}.fc1", out.mean((2, 3), keepdim=True)).relu()
            out = out * hard_sigmoid(conv(state, f"{key}.{part}.fc2", gate))
        out = unit(f"{key}.{part + 1}", out)
        x = x + out if stride == 1 and x.shape[1] == out.shape[1] else out
    x = hard_swish(unit(f"features.{last}", x)).mean((2, 3))
    x = hard_swish(x @ state["classifier.0.weight"].T + state["classifier.0.bias"])
    return x @ state["classifier.3.weight"].T + state["classifier.3.bias"]


def efficientnet(state: State, x: Tensor, eps: float) -> Tensor:
    def silu(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def unit(key: str, x: Tensor, stride: int = 1) -> Tensor:
        return norm(state, f"{key}.1", conv(state, f"{key}.0", x, stride), eps)

    x = silu(unit("features.0", x, 2))
    for stage, first in enumerate((1, 2, 2, 2, 1, 2, 1), start=1):
        for block in range(count(state, f"features.{stage}.")):
            key, out = f"features.{stage}.{block}.block", x
            expanded = f"{key}.3.0.weight" in state
            if expanded:
                out = silu(unit(f"{key}.0", out))
            part = int(expanded)
            stride = first if block == 0 else 1
            out = silu(unit(f"{key}.{part}", out, stride))
            gate = conv(state, f"{key}.{part + 1}.fc1", out.mean((2, 3), keepdim=True))
            out = out * torch.sigmoid(conv(state, f"{key}.{part + 1}.fc2", silu(gate)))
            out = unit(f"{key}.{part + 2}", out)
            x = x + out if stride == 1 and x.shape[1] == out.shape[1] else out
    return classify(state, "classifier.1", silu(unit("features.8", x)))
