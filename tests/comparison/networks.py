"""Small networks, each with one habit that has broken comparison tools."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn


class InPlaceNet(nn.Module):
    """A residual CNN whose ReLUs and addition overwrite what the layers before them returned."""

    def __init__(self, width=6, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(0.5, inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(4 * width, 5)
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.normal_(norm.bias)
                nn.init.normal_(norm.running_mean)

    def forward(self, x):
        a = self.relu(self.bn(self.conv(x)))
        b = self.conv2(a)
        b += a
        b = self.dropout(self.relu(b))
        return self.fc(self.pool(b).flatten(1))


INPLACE_ROWS = ["conv", "bn", "relu", "conv2", "relu#1", "pool", "fc"]


@dataclass
class Output:
    """What foreign models like to return."""

    loss: object
    hidden: torch.Tensor


class Structured(nn.Module):
    """Layers that return tuples, dicts and objects, the tensor not always first."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a = Returns(lambda h: (None, [h, h + 1]))
        self.b = Returns(lambda h: OrderedDict(note="text", hidden=h))
        self.c = Returns(lambda h: Output(None, h))
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.turned = nn.LSTM(5, 4)

    def forward(self, x):  # (n, time, 4)
        x = self.a(x)[1][0]
        x = self.b(x)["hidden"]
        x = self.c(x).hidden
        x, _ = self.lstm(x)
        x, _ = self.turned(x.transpose(0, 1))
        return x


class Returns(nn.Module):
    """A linear layer whose output is wrapped."""

    def __init__(self, wrap):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x @ self.weight)


class Keywords(nn.Module):
    """Takes its inputs by name, as Hugging Face's models do."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask=None, labels=None):
        hidden = self.norm(self.embedding(input_ids))
        if attention_mask is not None:
            hidden = hidden * attention_mask[..., None]
        return {"loss": None, "logits": self.head(hidden.mean(1))}


class Fickle(nn.Module):
    """Runs a layer only for some inputs."""

    def __init__(self):
        super().__init__()
        self.always = nn.Linear(4, 4)
        self.sometimes = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)

    def forward(self, x):
        x = self.always(x)
        return self.sometimes(x) if x.shape[0] > 8 else x


def mlp(*widths, seed=0):
    torch.manual_seed(seed)
    layers = []
    for p, q in pairwise(widths):
        layers += [nn.Linear(p, q), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def pictures(*sizes, seed=0, side=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, side, side, generator=generator, dtype=dtype) for n in sizes]


def vectors(*sizes, p=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, p, generator=generator) for n in sizes]
