"""Small networks the tests compress."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def perceptron(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 15), nn.ReLU(), nn.Linear(15, 4))


def convolutional(seed=0, width=8):
    """Convolutions, norms with statistics of their own, and a classifier behind flattened pixels."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 6, 1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    shake(model)
    return model.eval()


def shake(model):
    """Give norms the statistics and weights of trained ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


class Regression:
    """A training loop that can be passed as ``finetune`` and counts its calls."""

    def __init__(self, steps=5, lr=0.05, watch=lambda model: None, **options):
        self.steps, self.lr, self.watch, self.options = steps, lr, watch, options
        self.calls = 0

    def __call__(self, model):
        self.calls += 1
        generator = torch.Generator().manual_seed(self.calls)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, **self.options)
        for _ in range(self.steps):
            optimizer.zero_grad()
            inputs = torch.randn(16, 20, generator=generator)
            functional.mse_loss(model(inputs), inputs[:, :4]).backward()
            optimizer.step()
            self.watch(model)
